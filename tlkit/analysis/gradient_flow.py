"""How gradients flow: norms by layer and step, and updates against weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlkit.analysis.gradients import loss_and_gradients, model_loss, value_and_gradients
from tlkit.analysis.trace import is_graph, trace
from tlkit.errors import InputError

Arrays = Sequence[NDArray]


@dataclass(frozen=True)
class WeightedLayer:
    """A layer with weights that train.

    Attributes:
        name: As in the layer table.
        positions: Positions of its weights in `model.trainable_variables`.
        has_kernel: Whether one of them is a matrix or a filter. Layers without one (normalisation, scales) have
            gradients of another kind and are left out of verdicts.
    """

    name: str
    positions: tuple[int, ...]
    has_kernel: bool


def weighted_layers(model: keras.Model) -> tuple[WeightedLayer, ...]:
    """Lists the layers whose weights train, from the input to the output."""
    position = {id(variable): index for index, variable in enumerate(model.trainable_variables)}
    if is_graph(model):
        named = [(step.name, step.operation) for step in trace(model) if not step.repeated]
    else:
        named = [(layer.name, layer) for layer in model.layers]
    layers = []
    for name, layer in named:
        variables = getattr(layer, "trainable_variables", [])
        found = tuple(position[id(variable)] for variable in variables if id(variable) in position)
        if found:
            layers.append(WeightedLayer(name, found, any(len(variable.shape) > 1 for variable in variables)))
    return tuple(layers)


def norms(arrays: Arrays, layers: Sequence[WeightedLayer]) -> NDArray[np.float64]:
    """Returns the Euclidean norm of each layer's arrays, float64 (layers,)."""
    squares = [float(np.square(array, dtype=np.float64).sum()) for array in arrays]
    return np.sqrt([sum(squares[position] for position in layer.positions) for layer in layers])


def sizes(arrays: Arrays, layers: Sequence[WeightedLayer]) -> NDArray[np.int64]:
    """Returns the number of weights of each layer, int64 (layers,)."""
    return np.array([sum(arrays[position].size for position in layer.positions) for layer in layers], np.int64)


@dataclass(frozen=True)
class FlowRecord:
    """Gradients and updates of every layer, step by step.

    Attributes:
        layers: Names, from the input to the output.
        has_kernel: Whether each has a matrix or a filter, bool (layers,).
        weight_count: Weights of each, int64 (layers,).
        steps: Training steps done before each record, int64 (records,).
        loss: Loss on the probe, float64 (records,).
        gradient_norm: Norm of the loss's gradient by layer, float64 (records, layers).
        weight_norm: Norm of the weights, likewise.
        update_norm: Norm of what the step changed, likewise; NaN where it was not measured.
    """

    layers: tuple[str, ...]
    has_kernel: NDArray[np.bool_]
    weight_count: NDArray[np.int64]
    steps: NDArray[np.int64]
    loss: NDArray[np.float64]
    gradient_norm: NDArray[np.float64]
    weight_norm: NDArray[np.float64]
    update_norm: NDArray[np.float64]

    @property
    def judged(self) -> NDArray[np.bool_]:
        """The layers to judge by, bool (layers,): those with a kernel, or all where none has one."""
        return self.has_kernel if self.has_kernel.any() else np.ones(len(self.layers), bool)

    @property
    def gradient_rms(self) -> NDArray[np.float64]:
        """Root mean square of the gradient over the weights of a layer: comparable between layers of any size."""
        return self.gradient_norm / np.sqrt(self.weight_count)

    @property
    def update_ratio(self) -> NDArray[np.float64]:
        """Norm of the update over the norm of the weights; about 0.001 is usual. NaN where weights are zero."""
        missing = np.full_like(self.update_norm, np.nan)
        return np.divide(self.update_norm, self.weight_norm, out=missing, where=self.weight_norm > 0)

    def rows(self) -> list[dict[str, Any]]:
        """Returns one dict for each record and layer, with None for what was not measured."""
        columns = {
            "gradient_norm": self.gradient_norm,
            "gradient_rms": self.gradient_rms,
            "weight_norm": self.weight_norm,
            "update_norm": self.update_norm,
            "update_ratio": self.update_ratio,
        }
        return [
            {"step": int(step), "loss": _plain(self.loss[at]), "layer": layer}
            | {name: _plain(values[at, place]) for name, values in columns.items()}
            for at, step in enumerate(self.steps)
            for place, layer in enumerate(self.layers)
        ]


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def gradient_flow(
    model: keras.Model, x: Any, y: Any, loss: Callable[[Any, Any], Any] | None = None, *, training: bool = True
) -> FlowRecord:
    """Measures the gradients of one batch, at the model's present weights. Nothing of the model changes.

    Args:
        model: A Keras model.
        x: One batch of inputs.
        y: Its targets.
        loss: Called as `loss(y, outputs)`; the loss that the model was compiled with when None.
        training: Whether BatchNormalization and Dropout act as in `fit`.

    Raises:
        InputError: The model has no loss, or no weights that train.
    """
    require_trainable(model, loss)
    layers = weighted_layers(model)
    differentiated = value_and_gradients(model_loss(model, loss, training=training))
    value, gradients = loss_and_gradients(differentiated, model, x, y)
    weights = [keras.ops.convert_to_numpy(variable.value) for variable in model.trainable_variables]
    return make_record(
        layers, sizes(weights, layers), [(0, value, norms(gradients, layers), norms(weights, layers), None)]
    )


def require_trainable(model: keras.Model, loss: Any) -> None:
    """Raises InputError where a model has nothing whose gradient could be taken."""
    if not model.trainable_variables:
        raise InputError(f"Expected a model with weights that train. Received: {model.name}, all of it frozen.")
    if loss is None and not model.compiled:
        raise InputError(
            f"Expected a compiled model, or a loss. Received: {model.name} and loss=None. Compile the model, or give "
            "loss=keras.losses.sparse_categorical_crossentropy."
        )


Entry = tuple[int, float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]


def make_record(
    layers: Sequence[WeightedLayer], weight_count: NDArray[np.int64], entries: Sequence[Entry]
) -> FlowRecord:
    """Puts entries of (step, loss, gradient norms, weight norms, update norms or None) into arrays."""
    empty = np.full(len(layers), np.nan)
    gradients, weights = (np.array([entry[place] for entry in entries]).reshape(-1, len(layers)) for place in (2, 3))
    updates = np.array([empty if entry[4] is None else entry[4] for entry in entries]).reshape(-1, len(layers))
    return FlowRecord(
        tuple(layer.name for layer in layers),
        np.array([layer.has_kernel for layer in layers], bool),
        weight_count,
        np.array([entry[0] for entry in entries], np.int64),
        np.array([entry[1] for entry in entries], np.float64),
        gradients,
        weights,
        updates,
    )
