"""Which inputs an output reads, along one axis: an interval for every output, repeating itself with a period."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from tlkit.analysis.arithmetic import Padding, padding_amounts, transposed_padding, window_extent


@dataclass(frozen=True)
class AxisMap:
    """For every output index the interval of input indices that it depends on, padding included.

    Output `i = period * m + r` reads the inputs from `low[r] + advance * m` to `high[r] + advance * m`. Convolutions
    have period 1; transposed convolutions and enlargements give neighbouring outputs intervals of their own, which
    repeat after `period` outputs. Indices below 0 and beyond the end are padding: nothing is cut off at the borders.

    Attributes:
        advance: Inputs by which the interval moves on when the output moves on by one period.
        low: First input of each of the outputs 0 to period - 1.
        high: Last input of each of them.
    """

    advance: int
    low: tuple[int, ...]
    high: tuple[int, ...]

    @property
    def period(self) -> int:
        return len(self.low)

    @property
    def size(self) -> int:
        """Inputs in the interval, holes of dilation included; the largest where outputs differ."""
        return max(high - low + 1 for low, high in zip(self.low, self.high, strict=True))

    @property
    def stride(self) -> Fraction:
        """Inputs from one output to the next."""
        return Fraction(self.advance, self.period)

    @property
    def centre(self) -> float:
        """Middle of the interval of output 0, where input 0 has its middle at 0."""
        return (self.low[0] + self.high[0]) / 2

    def interval(self, index: int) -> tuple[int, int]:
        """Returns the first and the last input that an output reads."""
        turn, place = divmod(index, self.period)
        return self.low[place] + self.advance * turn, self.high[place] + self.advance * turn

    def after(self, earlier: AxisMap) -> AxisMap:
        """Returns the map through two layers: this one reads the outputs of the earlier one."""
        turns = earlier.period // math.gcd(self.advance, earlier.period)
        outputs = [self.interval(index) for index in range(self.period * turns)]
        return AxisMap(
            int(self.advance * turns * earlier.stride),
            tuple(earlier.interval(low)[0] for low, _ in outputs),
            tuple(earlier.interval(high)[1] for _, high in outputs),
        )

    def union(self, other: AxisMap) -> AxisMap | None:
        """Returns the smallest interval that holds both for every output; None where the strides differ."""
        if self.stride != other.stride:
            return None
        period = math.lcm(self.period, other.period)
        both = [(*self.interval(index), *other.interval(index)) for index in range(period)]
        return AxisMap(
            int(self.stride * period),
            tuple(min(low, other_low) for low, _, other_low, _ in both),
            tuple(max(high, other_high) for _, high, _, other_high in both),
        )


IDENTITY = AxisMap(1, (0,), (0,))


def shifted(offset: int) -> AxisMap:
    """Output i reads input i + offset: cropping (positive) and padding (negative)."""
    return AxisMap(1, (offset,), (offset,))


def sliding(size: int, kernel: int, stride: int, padding: Padding, dilation: int = 1) -> AxisMap:
    """The map of a convolution or pooling over `size` inputs; arguments as for `arithmetic.output_size`."""
    before, _ = padding_amounts(size, kernel, stride, padding, dilation)
    return AxisMap(stride, (-before,), (window_extent(kernel, dilation) - 1 - before,))


def transposed(kernel: int, stride: int, padding: str, dilation: int = 1, output_padding: int | None = None) -> AxisMap:
    """The map of a transposed convolution; an output between the windows is given the input before it."""
    front, _ = transposed_padding(kernel, stride, padding, dilation, output_padding)
    extent = window_extent(kernel, dilation)
    high = [(index + front) // stride for index in range(stride)]
    low = [-((extent - 1 - index - front) // stride) for index in range(stride)]
    return AxisMap(1, tuple(min(pair) for pair in zip(low, high, strict=True)), tuple(high))


def enlarged(factor: int, *, interpolated: bool) -> AxisMap:
    """The map of an enlargement: values repeated, or blended with the nearer neighbour."""
    if not interpolated:
        return AxisMap(1, (0,) * factor, (0,) * factor)
    return resized(1, factor, interpolated=True)


def resized(size: int, new_size: int, *, interpolated: bool) -> AxisMap:
    """The map of a resizing from `size` to `new_size` values by the nearest or by blending the two nearest."""
    shrink = math.gcd(size, new_size)
    advance, period = size // shrink, new_size // shrink
    places = [Fraction(2 * index + 1, 2) * Fraction(size, new_size) for index in range(period)]
    if not interpolated:
        nearest = tuple(math.floor(place) for place in places)
        return AxisMap(advance, nearest, nearest)
    places = [place - Fraction(1, 2) for place in places]
    return AxisMap(advance, tuple(map(math.floor, places)), tuple(map(math.ceil, places)))


def binned(size: int, bins: int) -> AxisMap:
    """The map of an adaptive pooling of `size` values into `bins`."""
    low = tuple(index * size // bins for index in range(bins))
    high = tuple(-(-(index + 1) * size // bins) - 1 for index in range(bins))
    return AxisMap(size, low, high)
