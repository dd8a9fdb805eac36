"""Gradients under TensorFlow, JAX and PyTorch alike: the one seam of `tlkit.analysis` that knows the backends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

Tensors = Sequence[Any]
Differentiated = Callable[..., tuple[Any, list[Any]]]


def value_and_gradients(function: Callable[..., Any]) -> Differentiated:
    """Makes a function that returns a scalar and its derivatives.

    Nothing is changed in any model as long as `function` changes nothing; see `model_loss`.

    Args:
        function: Called as `function(tensors, *others)`, `tensors` being a list; returns a scalar tensor. It is
            written with `keras.ops` and layers. Under JAX it is compiled, so that everything that varies from call to
            call must come in as an argument.

    Returns:
        A function called like `function`, with arrays or tensors, that returns `(value, gradients)`: one gradient for
        each of `tensors`, zero where the value does not depend on it.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        return _with_jax(function)
    return _with_torch(function) if backend == "torch" else _with_tensorflow(function)


def _with_tensorflow(function: Callable[..., Any]) -> Differentiated:
    import tensorflow as tf  # Differentiation has no spelling in Keras that serves all backends.

    def differentiated(tensors: Tensors, *others: Any) -> tuple[Any, list[Any]]:
        watched = [tf.convert_to_tensor(tensor) for tensor in tensors]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(watched)
            value = function(watched, *others)
        return value, tape.gradient(value, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    return differentiated


def _with_jax(function: Callable[..., Any]) -> Differentiated:
    import jax

    compiled = jax.jit(jax.value_and_grad(function))

    def differentiated(tensors: Tensors, *others: Any) -> tuple[Any, list[Any]]:
        return compiled([keras.ops.convert_to_tensor(tensor) for tensor in tensors], *others)

    return differentiated


def _with_torch(function: Callable[..., Any]) -> Differentiated:
    import torch

    def differentiated(tensors: Tensors, *others: Any) -> tuple[Any, list[Any]]:
        leaves = [keras.ops.convert_to_tensor(tensor).detach().clone().requires_grad_() for tensor in tensors]
        value = function(leaves, *others)
        gradients = torch.autograd.grad(value, leaves, allow_unused=True)
        filled = [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(gradients, leaves, strict=True)]
        return value.detach(), filled

    return differentiated


def model_loss(model: keras.Model, loss: Callable[[Any, Any], Any] | None = None, *, training: bool = True) -> Any:
    """Makes the loss of a model a function of its trainable weights, for `value_and_gradients`.

    The model is run apart from its state: statistics, seeds and metrics stay as they are, so that a measurement in
    the middle of training leaves no trace.

    Args:
        model: Any Keras model.
        loss: Called as `loss(y, outputs)`, returning one value for each row or their mean; the loss that the model
            was compiled with when None, its weight penalties and layer losses included.
        training: Whether BatchNormalization uses the batch's statistics and Dropout drops, as in `fit`.

    Returns:
        A function of (values of `model.trainable_variables`, values of `model.non_trainable_variables`, x, y).
    """

    def loss_of(weights: list[Any], state: list[Any], x: Any, y: Any) -> Any:
        variables = [*model.trainable_variables, *model.non_trainable_variables]
        with keras.StatelessScope(state_mapping=list(zip(variables, [*weights, *state], strict=True))):
            outputs = model(x, training=training)
            if loss is None:
                return model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=None, training=training)
            return keras.ops.mean(loss(y, outputs))

    return loss_of


def loss_and_gradients(
    differentiated: Differentiated, model: keras.Model, x: Any, y: Any
) -> tuple[float, list[np.ndarray]]:
    """Evaluates what `value_and_gradients(model_loss(model))` made, at the model's present weights.

    Returns:
        The loss, and a float array for each of `model.trainable_variables`.
    """
    weights, state = ([variable.value for variable in group] for group in _variables(model))
    value, gradients = differentiated(weights, state, keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y))
    return float(keras.ops.convert_to_numpy(value)), [_dense(gradient) for gradient in gradients]


def _variables(model: keras.Model) -> tuple[list[Any], list[Any]]:
    return model.trainable_variables, model.non_trainable_variables


def _dense(gradient: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(gradient), np.float32)
