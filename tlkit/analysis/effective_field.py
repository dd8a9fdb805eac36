"""The effective receptive field: how much each pixel truly moves a unit, measured by gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlkit.analysis.gradients import value_and_gradients
from tlkit.analysis.trace import find_step, run, trace
from tlkit.errors import InputError

SHARES = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class EffectiveField:
    """Where the gradient of one unit falls on the image.

    Attributes:
        layer: The layer's name.
        unit: Position of the unit in its feature map.
        mass: Share of the gradient that falls on each pixel, float32 (height, width), or as many axes as the image
            has; it adds up to 1. All zero where no gradient arrives.
        centre: Middle of the mass, in pixels.
        radius: Distance from that middle, in pixels, within which the share of the mass lies that is the key.
    """

    layer: str
    unit: tuple[int, ...]
    mass: NDArray[np.float32]
    centre: tuple[float, ...]
    radius: dict[float, float]

    def share_within(self, box: Sequence[tuple[int, int]]) -> float:
        """Returns the share of the mass in a box: (first pixel, one past the last) for each axis."""
        return float(self.mass[tuple(slice(*bounds) for bounds in box)].sum())


def effective_fields(
    model: keras.Model, layers: Sequence[str], images: Any, unit: tuple[int, ...] | None = None
) -> tuple[EffectiveField, ...]:
    """Measures the effective receptive field of units of several layers.

    As Luo et al. (2016) do it: the gradient of the unit, summed over its channels, with respect to the pixels; its
    absolute values are summed over the colour channels and averaged over the images. Signs that vary from channel to
    channel, by a fixed draw, keep channels from cancelling out. The model is run in inference mode.

    Args:
        model: A functional model with one image as input, channels last.
        layers: Names of layers whose outputs are feature maps.
        images: Float or integer array (n, height, width, channels), as the model takes them; a few are enough, and
            they are in memory at once.
        unit: Position in the feature map; the middle one of each layer when None.

    Raises:
        InputError: A layer is not there, has no feature map, or the unit lies outside it.
    """
    steps = trace(model)
    names = [steps[find_step(steps, layer)].name for layer in layers]
    images = np.asarray(images, np.float32)
    fields = []
    for name in names:
        shape = _map_shape(model, images[:1], name)
        place = _place(name, shape, unit)
        _, (gradient,) = value_and_gradients(_unit_value(model, name, place, shape[-1]))([images])
        mass = np.abs(np.asarray(keras.ops.convert_to_numpy(gradient), np.float64)).sum(axis=(0, -1))
        fields.append(_field(name, place, mass))
    return tuple(fields)


def _unit_value(model: keras.Model, name: str, place: tuple[int, ...], channels: int) -> Any:
    signs = np.random.default_rng(0).choice([-1.0, 1.0], channels).astype("float32")

    def value(tensors: list[Any]) -> Any:
        found = run_until(model, tensors[0], name)
        return keras.ops.sum(keras.ops.cast(found[(slice(None), *place)], "float32") * signs)

    return value


class _ReachedError(Exception):
    """Carries the output of the step that was asked for out of the run."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


def run_until(model: keras.Model, inputs: Any, name: str) -> Any:
    """Runs a model on tensors up to one step and returns its output."""

    def visit(step: str, operation: Any, args: tuple, kwargs: dict) -> Any:
        outputs = operation(*args, **kwargs)
        if step == name:
            raise _ReachedError(outputs)
        return outputs

    try:
        run(model, inputs, visit)
    except _ReachedError as reached:
        return reached.output
    return inputs  # The step is the input itself, which is given and not run.


def _map_shape(model: keras.Model, image: NDArray, name: str) -> tuple[int, ...]:
    shape = tuple(keras.ops.shape(run_until(model, keras.ops.convert_to_tensor(image), name)))
    if len(shape) != image.ndim:
        raise InputError(
            f"Expected a layer with a feature map of {image.ndim - 2} axes of space. Received: {name}, of shape "
            f"{shape[1:]}. Choose a layer before the pooling."
        )
    return shape


def _place(name: str, shape: tuple[int, ...], unit: tuple[int, ...] | None) -> tuple[int, ...]:
    space = shape[1:-1]
    if unit is None:
        return tuple(side // 2 for side in space)
    if len(unit) != len(space) or any(not 0 <= at < side for at, side in zip(unit, space, strict=True)):
        raise InputError(f"Expected a unit within the {name} map of {space}. Received: {unit}.")
    return unit


def _field(name: str, place: tuple[int, ...], mass: NDArray[np.float64]) -> EffectiveField:
    total = mass.sum()
    if total == 0:
        return EffectiveField(name, place, mass.astype(np.float32), (float("nan"),) * mass.ndim, {})
    mass = mass / total
    pixels = np.indices(mass.shape)
    centre = tuple(float((axis * mass).sum()) for axis in pixels)
    distance = np.sqrt(sum((axis - at) ** 2 for axis, at in zip(pixels, centre, strict=True)))
    order = np.argsort(distance, axis=None, kind="stable")
    reached = np.cumsum(mass.ravel()[order])
    last = {share: min(int(np.searchsorted(reached, share)), len(order) - 1) for share in SHARES}
    radius = {share: float(distance.ravel()[order[place]]) for share, place in last.items()}
    return EffectiveField(name, place, mass.astype(np.float32), centre, radius)
