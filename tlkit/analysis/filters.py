"""The filters of convolution layers, as arrays: what the first layer looks for in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlkit.analysis.kinds import DIRECT_CONVOLUTIONS, keras_kind
from tlkit.analysis.trace import Step, find_step, run, trace
from tlkit.errors import InputError


@dataclass(frozen=True)
class Filters:
    """The filters of one layer.

    Attributes:
        layer: Its name.
        weights: Float32 (filters, height, width, channels), or as many axes of space as the layer has; one channel for
            depthwise filters.
        in_pixels: Whether `channels` are those of the raw image: the scaling and reordering before the layer is
            worked into the weights, so that they can be drawn in colour.
    """

    layer: str
    weights: NDArray[np.float32]
    in_pixels: bool


def layer_filters(model: keras.Model, layer: str | None = None) -> Filters:
    """Returns the filters of a convolution layer.

    Args:
        model: A functional model, flat or nested.
        layer: Name of a convolution layer; the first one when None.

    Raises:
        InputError: There is no such layer, or it holds no filters.
    """
    steps = trace(model)
    convolutions = [
        position for position, step in enumerate(steps) if keras_kind(step.operation) in DIRECT_CONVOLUTIONS
    ]
    if not convolutions:
        raise InputError(f"Expected a model with a convolution layer. Received: {model.name}, which has none.")
    position = convolutions[0] if layer is None else find_step(steps, layer)
    step = steps[position]
    if position not in convolutions:
        raise InputError(
            f"Expected a convolution layer. Received: {step.name}, a {step.kind}. The first one is "
            f"{steps[convolutions[0]].name}."
        )
    weights = _weights(step)
    mixing = _pixel_mixing(model, steps, step) if position == convolutions[0] else None
    if mixing is None or mixing.shape[1] != weights.shape[-1]:
        return Filters(step.name, weights, in_pixels=False)
    return Filters(step.name, (weights @ mixing.T).astype(np.float32), in_pixels=True)


def _weights(step: Step) -> NDArray[np.float32]:
    """Returns the kernel with the filters first."""
    kernel = np.asarray(keras.ops.convert_to_numpy(step.operation.kernel), np.float32)
    if "Depthwise" in step.kind:
        return np.moveaxis(kernel.reshape(*kernel.shape[:-2], -1), -1, 0)[..., None]
    return np.moveaxis(kernel, -1, 0)


def _pixel_mixing(model: keras.Model, steps: tuple[Step, ...], step: Step) -> NDArray[np.float64] | None:
    """Returns how the layer's input channels depend on the image's, (image channels, input channels).

    It is read off from images of one colour: all that stands before a first layer multiplies, shifts or reorders.
    None where the image has no fixed number of channels, or more goes on than that.
    """
    image = steps[0].output_shape
    if len(model.inputs) != 1 or image[-1] is None or len(image) != len(step.input_shapes[0]):
        return None
    sides = [side or 32 for side in image[1:-1]]
    probes = np.zeros((image[-1] + 2, *sides, image[-1]), np.float32)
    for channel in range(image[-1]):
        probes[channel + 1, ..., channel] = 1
    probes[-1] = 2
    seen = _inputs_of(model, step.name, probes)
    middle = (slice(None), *(side // 2 for side in seen.shape[1:-1]))
    values = np.asarray(seen[middle], np.float64)
    mixing = values[1:-1] - values[0]
    linear = np.allclose(values[-1] - values[0], 2 * mixing.sum(axis=0), rtol=1e-3, atol=1e-6)
    return mixing if linear else None


def _inputs_of(model: keras.Model, name: str, images: NDArray) -> NDArray:
    found: list[Any] = []

    def visit(step: str, operation: Any, args: tuple, kwargs: dict) -> Any:
        if step == name:
            found.append(args[0])
        return operation(*args, **kwargs)

    run(model, keras.ops.convert_to_tensor(images), visit)
    return keras.ops.convert_to_numpy(found[0])
