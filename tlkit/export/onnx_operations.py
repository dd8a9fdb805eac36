"""The same network in operations that ONNX has and that ONNX Runtime computes as they are written."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


def in_onnx_operations(model: keras.Model) -> keras.Model:
    """Returns the model, rebuilt where a layer of it would be refused or computed otherwise; weights are shared.

    Keras writes an exact GELU by the complement of the error function, which tf2onnx does not know: it is written by
    the function itself. ONNX Runtime (its `Pad_Fusion`, up to 1.31 at least) makes zeros around a maximum pooling the
    pooling's own padding, which counts as minus infinity: such zeros are joined on, piece by piece.
    """
    replacements: dict[int, Any] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            replacements[id(layer)] = in_onnx_operations(layer)
        elif _has_gelu(layer):
            replacements[id(layer)] = _without_activation(layer)
        elif _pads_a_maximum(layer):
            replacements[id(layer)] = _ZerosAround(layer.padding)
    if all(replacements.get(id(layer), layer) is layer for layer in model.layers):
        return model

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        given = replacements.get(id(layer), layer)(*args, **kwargs)
        return _gelu(given) if _has_gelu(layer) else given

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


class _ZerosAround:
    """Joins zeros to images of shape (batch, height, width, channels): `padding` of them, by axis, before and after."""

    def __init__(self, padding: tuple[tuple[int, int], tuple[int, int]]) -> None:
        self.padding = padding

    def __call__(self, x: Any) -> Any:
        for axis, (before, after) in zip((1, 2), self.padding, strict=True):
            line = ops.zeros_like(x[:, :1] if axis == 1 else x[:, :, :1])
            x = ops.concatenate([*[line] * before, x, *[line] * after], axis=axis)
        return x


def _pads_a_maximum(layer: keras.Layer) -> bool:
    consumers = (node.operation for node in layer._outbound_nodes)
    return isinstance(layer, keras.layers.ZeroPadding2D) and any(
        isinstance(consumer, keras.layers.MaxPooling2D) for consumer in consumers
    )


def _has_gelu(layer: keras.Layer) -> bool:
    return getattr(layer, "activation", None) is keras.activations.gelu


def _without_activation(layer: keras.Layer) -> keras.Layer:
    made = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    made.build(layer.input.shape)
    made.set_weights(layer.get_weights())
    return made


def _gelu(x: Any) -> Any:
    """`x * Phi(x)`, with Phi the normal distribution function (D. Hendrycks, K. Gimpel, arXiv:1606.08415)."""
    return x * (0.5 * (1.0 + ops.erf(x * math.sqrt(0.5))))
