"""The gradient of the loss with respect to what layers put out: the signal that flows back through a network."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlkit.analysis.gradients import value_and_gradients
from tlkit.analysis.trace import require_graph, run, trace

MOST_LAYERS = 16  # The gradients of all of them are in memory at once.
MOST_IMAGES = 8


@dataclass(frozen=True)
class SignalFlow:
    """The signal at layers, from the input to the output.

    Attributes:
        layers: Names of layers with a matrix or filters: all of them, or 16 spread evenly.
        norm: Norm of the gradient of the loss with respect to each one's output, over the whole batch.
    """

    layers: tuple[str, ...]
    norm: NDArray[np.float64]


def signal_flow(
    model: keras.Model, x: Any, y: Any, loss: Callable[[Any, Any], Any], *, training: bool = True
) -> SignalFlow:
    """Measures how the gradient grows or shrinks on its way back through a model.

    Zeros are added to the outputs of the layers, and the gradient is taken with respect to these zeros. Nothing of the
    model changes.

    Args:
        model: A functional model, flat or nested.
        x: One batch of inputs; the first 8 are used.
        y: Its targets.
        loss: Called as `loss(y, outputs)`.
        training: Whether BatchNormalization and Dropout act as in `fit`.

    Raises:
        InputError: A subclassed model.
    """
    require_graph(model)
    x = keras.ops.cast(x[:MOST_IMAGES], model.inputs[0].dtype)
    y = keras.ops.convert_to_tensor(y[:MOST_IMAGES])
    names = _spread([step.name for step in trace(model) if _has_kernel(step.operation)])
    variables = model.variables
    values = [variable.value for variable in variables]

    def loss_of(zeros: list[Any], values: list[Any], x: Any, y: Any) -> Any:
        added = dict(zip(names, zeros, strict=True))
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            outputs = _run(model, x, training, lambda name, out: out + added[name] if name in added else out)
            return keras.ops.mean(loss(y, outputs))

    zeros = [np.zeros(shape, "float32") for shape in _shapes(model, x, names, training)]
    _, gradients = value_and_gradients(loss_of)(zeros, values, x, y)
    found = [np.linalg.norm(np.asarray(keras.ops.convert_to_numpy(gradient), np.float64)) for gradient in gradients]
    return SignalFlow(tuple(names), np.array(found))


def _spread(names: Sequence[str]) -> list[str]:
    places = np.linspace(0, len(names) - 1, min(len(names), MOST_LAYERS))
    return [names[place] for place in places.round().astype(int)]


def _has_kernel(operation: Any) -> bool:
    return any(len(weight.shape) > 1 for weight in getattr(operation, "weights", []))


def _run(model: keras.Model, x: Any, training: bool, change: Callable[[str, Any], Any]) -> Any:
    """Runs a model in the mode given, every output of a step going through `change`."""

    def visit(name: str, operation: Any, args: tuple, kwargs: dict) -> Any:
        if "training" in inspect.signature(operation.call).parameters:
            kwargs = {"training": training, **kwargs}
        return change(name, operation(*args, **kwargs))

    return run(model, x, visit)


def _shapes(model: keras.Model, x: Any, names: Sequence[str], training: bool) -> list[tuple[int, ...]]:
    """Returns the shapes of the outputs, which the symbols alone do not tell where sizes are open."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, output: Any) -> Any:
        if name in names:
            shapes[name] = tuple(output.shape)
        return output

    with keras.StatelessScope():
        _run(model, x, training, note)
    return [shapes[name] for name in names]
