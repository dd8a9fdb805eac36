"""What each kind of layer does to space: reads windows, looks at single places, or sees the whole image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tlkit.analysis import intervals, kinds
from tlkit.analysis.intervals import AxisMap
from tlkit.analysis.kinds import keras_kind
from tlkit.analysis.trace import Shape, Step

WHOLE = "whole"
Reach = tuple[AxisMap, ...] | str
"""A map for each axis of space; `WHOLE`; or, in words, why it cannot be told."""


def reach(step: Step) -> Reach:
    """Returns what the outputs of a step read of its inputs.

    Args:
        step: From `trace`; sizes of the inputs must be known for windows with "same" padding.
    """
    layer = step.operation
    if step.kind == "SpectralNormalization":
        layer = layer.layer
    kind = keras_kind(layer)
    shape = step.input_shapes[0] if step.input_shapes else step.output_shape
    if kind in kinds.WHOLE_LAYERS:
        return WHOLE
    if kind in kinds.POINTWISE_LAYERS or (not isinstance(layer, keras.Layer) and kind in kinds.POINTWISE_OPERATIONS):
        return (intervals.IDENTITY,) * max(len(step.output_shape) - 2, 0)
    if kind in kinds.NORMALISATIONS_ALONG_AXIS or (kind in kinds.REDUCTIONS and not isinstance(layer, keras.Layer)):
        return _along_axis(getattr(layer, "axis", None), shape)
    if kind in kinds.REARRANGING:
        return _rearranged(layer.axis, shape)
    rule = next((rule for names, rule in RULES if kind in names), None)
    if rule is None:
        return f"{step.kind} is not a layer whose reach is known"
    if None in space(layer, shape):
        return "the size of the image is not known"
    return rule(layer, space(layer, shape), space(layer, step.output_shape))


def space(layer: Any, shape: Shape) -> tuple[int, ...]:
    """Returns the sizes of the axes of space."""
    first = getattr(layer, "data_format", keras.config.image_data_format()) == "channels_first"
    return shape[2:] if first else shape[1:-1]  # type: ignore[return-value]


def _along_axis(axis: Any, shape: Shape) -> Reach:
    axes = range(len(shape)) if axis is None else [axis] if isinstance(axis, int) else axis
    channels = 1 if keras.config.image_data_format() == "channels_first" else len(shape) - 1
    if all(one % len(shape) == channels for one in axes):
        return (intervals.IDENTITY,) * (len(shape) - 2)
    return WHOLE


def _rearranged(axis: Any, shape: Shape) -> Reach:
    along = _along_axis(axis, shape)
    return "maps are joined or turned in space" if along == WHOLE and len(shape) > 2 else along


def _convolution(layer: Any, space: tuple[int, ...], _: tuple[int, ...]) -> Reach:
    settings = zip(space, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True)
    return tuple(intervals.sliding(n, k, s, layer.padding, d) for n, k, s, d in settings)


def _transposed(layer: Any, space: tuple[int, ...], _: tuple[int, ...]) -> Reach:
    added = layer.output_padding or (None,) * len(space)
    settings = zip(layer.kernel_size, layer.strides, layer.dilation_rate, added, strict=True)
    return tuple(intervals.transposed(k, s, layer.padding, d, p) for k, s, d, p in settings)


def _pooling(layer: Any, space: tuple[int, ...], _: tuple[int, ...]) -> Reach:
    settings = zip(space, layer.pool_size, layer.strides, strict=True)
    return tuple(intervals.sliding(n, k, s, layer.padding) for n, k, s in settings)


def _pairs(amounts: Any) -> list[tuple[int, int]]:
    """Returns (before, after) for each axis; layers of one dimension keep a single pair."""
    return [amounts] if isinstance(amounts[0], int) else list(amounts)


def _zero_padding(layer: Any, space: tuple[int, ...], _: tuple[int, ...]) -> Reach:
    return tuple(intervals.shifted(-before) for before, _ in _pairs(layer.padding))


def _cropping(layer: Any, space: tuple[int, ...], _: tuple[int, ...]) -> Reach:
    return tuple(intervals.shifted(before) for before, _ in _pairs(layer.cropping))


def _enlargement(layer: Any, space: tuple[int, ...], _: tuple[int, ...]) -> Reach:
    factors = layer.size if isinstance(layer.size, tuple | list) else (layer.size,)
    method = getattr(layer, "interpolation", "nearest")
    if method not in ("nearest", "bilinear"):
        return f"resizing by {method} reads windows that are not followed here"
    return tuple(intervals.enlarged(factor, interpolated=method == "bilinear") for factor in factors)


def _resizing(layer: Any, space: tuple[int, ...], new_space: tuple[int, ...]) -> Reach:
    method = layer.interpolation
    keeps_ratio = getattr(layer, "crop_to_aspect_ratio", False) or getattr(layer, "pad_to_aspect_ratio", False)
    if method not in ("nearest", "bilinear") or layer.antialias or keeps_ratio:
        return "this resizing reads windows that are not followed here"
    return tuple(
        intervals.resized(n, m, interpolated=method == "bilinear") for n, m in zip(space, new_space, strict=True)
    )


def _centre_crop(layer: Any, space: tuple[int, ...], new_space: tuple[int, ...]) -> Reach:
    if any(new > old for old, new in zip(space, new_space, strict=True)):
        return "a crop larger than the image resizes it"
    return tuple(intervals.shifted((old - new) // 2) for old, new in zip(space, new_space, strict=True))


def _adaptive_pooling(layer: Any, space: tuple[int, ...], new_space: tuple[int, ...]) -> Reach:
    return tuple(intervals.binned(n, m) for n, m in zip(space, new_space, strict=True))


def _reshape(layer: Any, space: tuple[int, ...], new_space: tuple[int, ...]) -> Reach:
    if space == new_space:
        return (intervals.IDENTITY,) * len(space)
    return "the axes of space are rearranged"


Rule = Callable[[Any, tuple[int, ...], tuple[int, ...]], Reach]
RULES: tuple[tuple[frozenset[str], Rule], ...] = (
    (kinds.DIRECT_CONVOLUTIONS | kinds.SEPARABLE_CONVOLUTIONS, _convolution),
    (kinds.TRANSPOSED_CONVOLUTIONS, _transposed),
    (kinds.POOLING, _pooling),
    (kinds.ADAPTIVE_POOLING, _adaptive_pooling),
    (kinds.ZERO_PADDING, _zero_padding),
    (kinds.CROPPING, _cropping),
    (kinds.UP_SAMPLING, _enlargement),
    (kinds.RESIZING, _resizing),
    (frozenset(["CenterCrop"]), _centre_crop),
    (frozenset(["Reshape"]), _reshape),
)
