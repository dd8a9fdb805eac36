"""The road from a picture of any size to the network's pixels, as part of the graph.

Keras's own resizing layer will not do: without antialiasing it differs from the packed images by up to 102 grey levels,
and with it no other runtime takes it. Here the triangle filter is written as two matrix products, one for each axis.
The matrices are made in the graph from the picture's size with built-in operations only, so that the saved model loads
without tlkit, and in whole numbers as far as they go: positions are counted in 1 / (2 * size) of a pixel, weights are
rounded to 1 / 32768. Sums of such weights times whole grey levels are exact in float32, in whatever order they are
added up, so that all runtimes give the same pixels, and rounding to grey levels falls the same way everywhere.

Pillow rounds its weights to 1 / 4194304, takes the axes in the order that costs it least, and rounds once more where it
averages blocks of a large picture first: its pixels are one grey level away at most, two on the odd pixel of noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.data.resample import REDUCING_GAP
from tlkit.data.transform import Transform
from tlkit.errors import InputError

WEIGHT_STEPS = 32768.0  # 255 * 32768 is below 2 ** 24: sums of weighted grey levels stay exact in float32.
SUPPORTED_RESAMPLERS = ("bilinear", "bilinear-simd")


@dataclass(frozen=True)
class _Axis:
    """One axis of a picture: all values are Keras tensors of whole numbers, or plain ones.

    Attributes:
        index: 0, 1, 2, ... along the axis, shape (1, length).
        length: Pixels of the picture.
        start: Twice the first pixel of the part that is kept.
        span: Pixels of the part that is kept.
        size: Pixels that the part becomes.
        offset: Of those, the one that the network's first pixel is; negative where black lies before.
    """

    index: Any
    length: Any
    start: Any
    span: Any
    size: Any
    offset: Any


def with_raw_input(model: keras.Model, transform: Transform) -> keras.Model:
    """Puts a transform's resizing in front of a model.

    Args:
        model: Takes float32 (batch, image_size, image_size, 3), values 0 to 255.
        transform: With a triangle filter (`bilinear`).

    Returns:
        A model that takes decoded pictures, float32 (batch, height, width, 3), of any one size, upright and in RGB.
        Its pixels are within one grey level of what Pillow makes of the same picture.

    Raises:
        InputError: The transform's filter is another one.
    """
    if transform.resampler not in SUPPORTED_RESAMPLERS:
        raise InputError(
            f"Expected a run resized by a bilinear filter for raw input. Received: {transform.resampler}. "
            "Export with resized input."
        )
    image = keras.Input((None, None, 3), dtype="float32", name="image")
    return keras.Model(image, model(_resize(image, transform)), name=f"{model.name}_raw")


def _resize(image: Any, transform: Transform) -> Any:
    rows, columns = _axes(image, transform)
    factor = _block_size(rows, columns)
    down, across = (_weights(axis, factor, transform.image_size) for axis in (rows, columns))
    # Columns first, rounded to grey levels in between, as Pillow does to most pictures.
    resized = _round(ops.einsum("nhwc,ow->nhoc", image, across))
    return _round(ops.einsum("nhoc,ph->npoc", resized, down))


def _round(pixels: Any) -> Any:
    return ops.clip(ops.floor(pixels + 0.5), 0.0, 255.0)


def _axes(image: Any, transform: Transform) -> tuple[_Axis, _Axis]:
    indices = [
        ops.reshape(ops.cumsum(ops.ones_like(line), axis=1), (1, -1)) - 1.0
        for line in (image[:1, :, 0, 0], image[:1, 0, :, 0])
    ]
    lengths = [ops.max(index) + 1.0 for index in indices]
    shorter, longer = ops.minimum(*lengths), ops.maximum(*lengths)
    margin = (transform.store_size - transform.image_size) // 2
    axes = []
    for index, length in zip(indices, lengths, strict=True):
        if transform.geometry == "crop":
            axes.append(_Axis(index, length, length - shorter, shorter, transform.store_size, margin))
        elif transform.geometry == "squash":
            axes.append(_Axis(index, length, 0.0, length, transform.store_size, margin))
        else:
            size = ops.maximum(ops.round(length * float(transform.image_size) / longer), 1.0)
            offset = margin - ops.floor((transform.store_size - size) / 2.0)
            axes.append(_Axis(index, length, 0.0, length, size, offset))
    return axes[0], axes[1]


def _block_size(rows: _Axis, columns: _Axis) -> Any:
    """Returns the side of the square blocks that are averaged first, as `data.resample.resize` chooses it."""
    scale = ops.minimum(rows.span / rows.size, columns.span / columns.size)
    return ops.maximum(ops.floor(scale / REDUCING_GAP), 1.0)


def _weights(axis: _Axis, factor: Any, outputs: int) -> Any:
    """Returns the share of each pixel in each output, shape (outputs, length): a triangle over blocks of pixels."""
    block = ops.floor(axis.index / factor)
    pixels_in_block = ops.minimum(axis.length - block * factor, factor)
    output = np.arange(outputs, dtype="float32")[:, None]
    output = output + axis.offset if isinstance(axis.offset, int) else ops.add(axis.offset, output)
    # In 1 / (2 * size) of a pixel everything below is a whole number.
    centre = ops.multiply(axis.span, 2.0 * output + 1.0) + axis.size * axis.start
    block_centre = (2.0 * block + 1.0) * factor * axis.size
    half_width = ops.maximum(2.0 * axis.span, 2.0 * axis.size * factor)
    triangle = ops.maximum(half_width - ops.absolute(block_centre - centre), 0.0) * (factor / pixels_in_block)
    total = ops.maximum(ops.sum(triangle, axis=1, keepdims=True), 1.0)
    weights = ops.floor(triangle / total * WEIGHT_STEPS + 0.5) / WEIGHT_STEPS
    if isinstance(axis.offset, int):  # The picture fills the square.
        return weights
    inside = ops.logical_and(output >= 0.0, output < axis.size)
    return weights * ops.cast(inside, "float32")
