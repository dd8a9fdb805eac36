"""The arithmetic of convolution and pooling: sizes, parameters, multiplications. Plain numbers, along any axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tlkit.errors import InputError, unknown_name

Padding = str | int | tuple[int, int]
PADDINGS = ("valid", "same", "causal")


def window_extent(kernel: int, dilation: int = 1) -> int:
    """Returns how many inputs a window spans, holes included: d (k - 1) + 1."""
    _require_positive(kernel=kernel, dilation=dilation)
    return dilation * (kernel - 1) + 1


def padding_amounts(
    size: int, kernel: int, stride: int = 1, padding: Padding = "valid", dilation: int = 1
) -> tuple[int, int]:
    """Returns how many values are laid before and after an axis.

    Args:
        size: Inputs along the axis.
        kernel: Weights along the axis.
        stride: Step of the window.
        padding: `"valid"` (none), `"same"` (as TensorFlow and Keras do it: ceil(size / stride) outputs, the odd one
            after), `"causal"` (all before), or a number for both sides, or (before, after).
        dilation: Distance between neighbouring weights.
    """
    extent = window_extent(kernel, dilation)
    if isinstance(padding, str):
        if padding not in PADDINGS:
            raise unknown_name("padding", padding, PADDINGS)
        if padding == "valid":
            return 0, 0
        if padding == "causal":
            return extent - 1, 0
        total = max((math.ceil(size / stride) - 1) * stride + extent - size, 0)
        return total // 2, total - total // 2
    before, after = (padding, padding) if isinstance(padding, int) else padding
    if before < 0 or after < 0:
        raise InputError(f"Expected a padding of at least 0. Received: {padding}.")
    return before, after


def output_size(size: int, kernel: int, stride: int = 1, padding: Padding = "valid", dilation: int = 1) -> int:
    """Returns the outputs of a convolution or pooling along one axis: floor((n + p - d (k - 1) - 1) / s) + 1.

    Args:
        size: Inputs along the axis, n.
        kernel: Weights along the axis, k.
        stride: Step of the window, s.
        padding: As for `padding_amounts`; p is what is laid on both sides together.
        dilation: Distance between neighbouring weights, d.

    Raises:
        InputError: The window does not fit into the padded input, or a value is out of range.

    Example:
        output_size(256, 3, stride=2, padding=1)  # 128
    """
    _require_positive(size=size, stride=stride)
    padded = size + sum(padding_amounts(size, kernel, stride, padding, dilation))
    extent = window_extent(kernel, dilation)
    if extent > padded:
        raise InputError(
            f"Expected a window no larger than the padded input. Received: {extent} over {padded} values "
            f"(size={size}, kernel={kernel}, dilation={dilation}, padding={padding!r}). Use a smaller one, or padding."
        )
    return (padded - extent) // stride + 1


def transposed_padding(
    kernel: int, stride: int = 1, padding: str = "valid", dilation: int = 1, output_padding: int | None = None
) -> tuple[int, int]:
    """Returns what a transposed convolution cuts from the front of its full output, and adds at its end.

    The full output of n inputs has (n - 1) s + extent values, input i reaching outputs i s to i s + extent - 1. The
    second number is negative where values are cut from the end too. These are the conventions of Keras, which under
    TensorFlow and JAX agree.

    Args:
        kernel: Weights along the axis.
        stride: Step between the places that neighbouring inputs reach.
        padding: `"valid"` or `"same"`.
        dilation: Distance between neighbouring weights.
        output_padding: As Keras has it: None, or values added to the end.
    """
    extent = window_extent(kernel, dilation)
    if padding not in ("valid", "same"):
        raise unknown_name("padding of a transposed convolution", padding, ("valid", "same"))
    if padding == "valid":
        return 0, max(stride - extent, 0) if output_padding is None else output_padding
    added = stride - extent % 2 if output_padding is None else output_padding
    total = extent + extent % 2 - 2 + added
    left = min(total // 2 + total % 2, extent - 1)
    return extent - 1 - left, total - left - (extent - 1)


def transposed_output_size(
    size: int,
    kernel: int,
    stride: int = 1,
    padding: str = "valid",
    dilation: int = 1,
    output_padding: int | None = None,
) -> int:
    """Returns the outputs of a transposed convolution along one axis: with `"same"`, n s.

    Args:
        size: Inputs along the axis, n.
        kernel: Weights along the axis.
        stride: s.
        padding: `"valid"` or `"same"`.
        dilation: Distance between neighbouring weights.
        output_padding: As Keras has it: None, or values added to the end.
    """
    _require_positive(size=size, stride=stride)
    front, end = transposed_padding(kernel, stride, padding, dilation, output_padding)
    return (size - 1) * stride + window_extent(kernel, dilation) - front + end


def convolution_parameters(
    in_channels: int, out_channels: int, kernel: Sequence[int], groups: int = 1, *, bias: bool = True
) -> int:
    """Returns the weights of a convolution whose filters are shared by all positions: k C_in / g C_out + C_out.

    Args:
        in_channels: Channels of the input.
        out_channels: Filters.
        kernel: Weights along each axis, such as (3, 3).
        groups: Into how many parts the channels are divided; `in_channels` for a depthwise convolution.
        bias: Whether each filter has a bias.
    """
    _require_positive(in_channels=in_channels, out_channels=out_channels, groups=groups)
    if in_channels % groups or out_channels % groups:
        raise InputError(
            f"Expected channels that {groups} groups divide. Received: {in_channels} in and {out_channels} out."
        )
    return math.prod(kernel) * (in_channels // groups) * out_channels + out_channels * bias


def unshared_parameters(positions: int, parameters: int) -> int:
    """Returns the weights if every output position had filters of its own.

    Args:
        positions: Output positions, such as 55 * 55.
        parameters: Weights of the layer with sharing, biases included or not, as they are to be counted.
    """
    return positions * parameters


def convolution_multiplications(
    out_positions: int, in_channels: int, out_channels: int, kernel: Sequence[int], groups: int = 1
) -> int:
    """Returns the multiply-adds of a convolution of one image: one for each weight at each output position.

    For a transposed convolution give the input's positions: there each input value meets each weight once. Products
    with padded zeros are counted, as papers do.
    """
    return out_positions * convolution_parameters(in_channels, out_channels, kernel, groups, bias=False)


def cross_correlate(
    image: NDArray, kernel: NDArray, stride: int = 1, padding: Padding = "valid", dilation: int = 1
) -> NDArray:
    """Slides a filter over an array: what a convolution layer computes, written as the definition says.

    Args:
        image: Any number of axes.
        kernel: As many axes.
        stride: Step along every axis.
        padding: As for `padding_amounts`, along every axis.
        dilation: Distance between neighbouring weights.

    Returns:
        One value a position, of the type that the product of both has.
    """
    image, kernel = np.asarray(image), np.asarray(kernel)
    if image.ndim != kernel.ndim:
        raise InputError(f"Expected a filter of {image.ndim} axes, as the image has. Received: {kernel.ndim}.")
    sizes = [output_size(n, k, stride, padding, dilation) for n, k in zip(image.shape, kernel.shape, strict=True)]
    widths = [padding_amounts(n, k, stride, padding, dilation) for n, k in zip(image.shape, kernel.shape, strict=True)]
    padded = np.pad(image, widths)
    result = np.zeros(sizes, np.result_type(image, kernel))
    for place in product(*(range(k) for k in kernel.shape)):
        window = tuple(
            slice(at * dilation, at * dilation + stride * (size - 1) + 1, stride)
            for at, size in zip(place, sizes, strict=True)
        )
        result += kernel[place] * padded[window]
    return result


def _require_positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise InputError(f"Expected {name} of at least 1. Received: {value}.")
