"""How gradients flow: norms by layer and step, updates against weights, and a verdict with its thresholds told."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlkit.analysis.gradients import loss_and_gradients, model_loss, value_and_gradients
from tlkit.analysis.signal_flow import SignalFlow
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


@dataclass(frozen=True)
class Thresholds:
    """When gradients are said to vanish or explode.

    Attributes:
        vanishing: The layers next to the input learn this much slower than the last one: the largest gradient (root
            mean square over weights) among the first quarter of layers over that of the last layer.
        exploding: The signal (see `signal_flow`) grows this much from the last layer to the median of the first
            quarter. Untrained networks with BatchNormalization reach a few hundred between layers, and train well.
        update: A step that changes a layer by more than this share of its weights.
    """

    vanishing: float = 1e-2
    exploding: float = 1e3
    update: float = 0.1


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a record.

    Attributes:
        kind: `"healthy"`, `"vanishing"`, `"exploding"`, `"blocked"` (no gradient arrives at all) or `"not finite"`.
        step: The record that it was seen in, in training steps.
        layers: The layers it is about.
        ratio: Gradient next to the input over that next to the output; None where it has no meaning.
        message: One or two sentences, with the threshold.
    """

    kind: str
    step: int
    layers: tuple[str, ...]
    ratio: float | None
    message: str


@dataclass(frozen=True)
class _Moment:
    """The layers with kernels at one record."""

    step: int
    names: tuple[str, ...]
    rms: NDArray[np.float64]
    update: NDArray[np.float64]


def judge(
    record: FlowRecord,
    signal: SignalFlow | None = None,
    thresholds: Thresholds = Thresholds(),
) -> Verdict:
    """Says whether gradients vanish or explode on their way from the output to the input.

    The gravest of all records is told, the last of equals: not finite, then exploding, blocked, vanishing.

    Args:
        record: From `gradient_flow`, or from the callback `GradientFlow`.
        signal: From `signal_flow`; without it only steps that are too large are called exploding.
        thresholds: What counts as vanishing and exploding.
    """
    verdicts = [_judge_moment(_moment(record, at), thresholds) for at in range(len(record.steps))]
    if not verdicts:
        raise InputError("Expected a record with at least one step. Received: none; nothing was measured.")
    if signal is not None and (grown := _judge_signal(signal, verdicts[-1].step, thresholds)):
        verdicts.append(grown)
    gravity = ("healthy", "vanishing", "blocked", "exploding", "not finite")
    return max(reversed(verdicts), key=lambda verdict: gravity.index(verdict.kind))


def _moment(record: FlowRecord, at: int) -> _Moment:
    chosen = record.has_kernel if record.has_kernel.any() else np.ones(len(record.layers), bool)
    return _Moment(
        int(record.steps[at]),
        _chosen(record.layers, chosen),
        record.gradient_rms[at, chosen],
        record.update_ratio[at, chosen],
    )


def _first_quarter(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[: max(len(values) // 4, 1)]


def _chosen(names: tuple[str, ...], chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, one in zip(names, chosen, strict=True) if one)


def _judge_signal(signal: SignalFlow, step: int, limits: Thresholds) -> Verdict | None:
    growth = float(np.median(_first_quarter(signal.norm)) / max(signal.norm[-1], np.finfo(float).tiny))
    if not np.isfinite(signal.norm).all() or growth <= limits.exploding:
        return None  # What is not finite shows in the gradients of the weights too.
    message = (
        f"Gradients explode: the signal next to the input is {growth:,.0f} times that at the last layer (limit "
        f"{limits.exploding:,.0f}). Smaller initial weights or normalisation mend it; clipping the norm tames it."
    )
    return Verdict(
        "exploding", step, _chosen(signal.layers, signal.norm > limits.exploding * signal.norm[-1]), growth, message
    )


def _judge_moment(now: _Moment, limits: Thresholds) -> Verdict:
    def verdict(kind: str, chosen: NDArray[np.bool_], ratio: float | None, message: str) -> Verdict:
        return Verdict(kind, now.step, _chosen(now.names, chosen), ratio, message)

    bad, early = ~np.isfinite(now.rms), _first_quarter(now.rms)
    if bad.any():
        return verdict("not finite", bad, None, "Gradients are not finite: the loss has overflowed.")
    wild = now.update > limits.update
    if wild.any():
        return verdict("exploding", wild, None, _wild_steps(float(np.nanmax(now.update)), limits))
    if now.rms[-1] == 0 or early.max() == 0:
        message = "No gradient arrives: zero weights or dead units lie between these layers and the loss."
        return verdict("blocked", now.rms == 0, None, message)
    ratio = float(early.max() / now.rms[-1])
    if ratio < limits.vanishing:
        return verdict("vanishing", now.rms < limits.vanishing * now.rms[-1], ratio, _vanishing(ratio, limits))
    message = (
        f"Gradients flow: next to the input weights are pulled {ratio:.3g} times as hard as in the last layer "
        f"(below {limits.vanishing:g} they would be said to vanish)."
    )
    return verdict("healthy", np.zeros(len(now.names), bool), ratio, message)


def _vanishing(ratio: float, limits: Thresholds) -> str:
    return (
        f"Gradients vanish: next to the input they are {1 / ratio:,.0f} times smaller than at the last layer "
        f"(limit {1 / limits.vanishing:,.0f}). ReLU, He initialisation, normalisation or skip connections mend it."
    )


def _wild_steps(largest: float, limits: Thresholds) -> str:
    return (
        f"Steps explode: one changes a layer by {100 * largest:,.0f} % of its weights (limit "
        f"{100 * limits.update:.0f} %). Lower the learning rate, or clip the norm, which keeps the direction."
    )
