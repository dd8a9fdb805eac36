"""Figures as inline SVG, coloured by the page's style sheet. Text from data never enters them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 360, 216
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 38
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes:
        label: What it measures; a fixed English word, never text from data.
        low: Value at the left or the bottom.
        high: Value at the right or the top.
        ticks: Where to draw ticks.
        write: Turns a tick into text.
    """

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]
    write: Callable[[float], str]


@dataclass(frozen=True)
class Line:
    """Points joined by a line; `css` names its colour class."""

    points: Points
    css: str
    dots: bool = False


def nice_ticks(low: float, high: float, most: int = 5) -> tuple[float, ...]:
    """Returns at most `most` + 1 round numbers from `low` to `high`."""
    if high <= low:
        return (low,)
    rough = (high - low) / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(index * step, 12) for index in range(first, last + 1))


def number_axis(label: str, values: Sequence[float], *, from_zero: bool = False) -> Axis:
    """Returns an axis that holds all values."""
    low, high = (0.0 if from_zero else min(values)), max(values)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return Axis(label, low, high, nice_ticks(low, high), lambda value: f"{value:g}")


def whole_axis(label: str, values: Sequence[float]) -> Axis:
    """Returns an axis for counts, such as epochs, with ticks at whole numbers only."""
    axis = number_axis(label, values)
    whole = tuple(tick for tick in axis.ticks if tick == int(tick))
    return Axis(label, axis.low, axis.high, whole or (round(values[0]),), lambda value: f"{value:.0f}")


def share_axis(label: str, values: Sequence[float]) -> Axis:
    """Returns an axis in per cent that ends at 100 and begins below the lowest value."""
    low = math.floor(min([*values, 0.95]) * 10) / 10
    return Axis(label, low, 1.0, nice_ticks(low, 1.0), lambda value: f"{value * 100:g}")


def power_axis(label: str, values: Sequence[float]) -> Axis:
    """Returns an axis over negative decimal exponents, for penalties from strong to weak."""
    low, high = min(values), max(values)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    ticks = tuple(float(tick) for tick in range(math.ceil(low), math.floor(high) + 1))
    spaced = ticks[:: max(1, math.ceil(len(ticks) / 6))]
    return Axis(label, low, high, spaced, lambda value: "10" + f"{-int(value)}".translate(SUPERSCRIPTS))


def decades_axis(values: Sequence[float]) -> Axis:
    """Returns an axis without a name over decimal exponents."""
    low, high = math.floor(min(values)), math.ceil(max(values))
    high = high + 1 if high == low else high
    step = max(1, math.ceil((high - low) / 6))
    ticks = tuple(float(tick) for tick in range(low, high + 1, step))
    return Axis("", float(low), float(high), ticks, lambda value: "10" + f"{int(value)}".translate(SUPERSCRIPTS))


def chart(
    title: str, x: Axis, y: Axis, lines: Sequence[Line], *, mark: float | None = None, square: bool = False
) -> Markup:
    """Draws a line chart.

    Args:
        title: What the figure shows, for screen readers; a fixed English sentence.
        x: Horizontal axis.
        y: Vertical axis.
        lines: What to draw, in order.
        mark: Horizontal value to mark with an upright line, such as the best epoch.
        square: Whether the plot is as high as it is wide.
    """
    height = WIDTH - LEFT - RIGHT + TOP + BOTTOM if square else HEIGHT

    def across(value: float) -> str:
        return f"{LEFT + (value - x.low) / (x.high - x.low) * (WIDTH - LEFT - RIGHT):.1f}"

    def up(value: float) -> str:
        return f"{height - BOTTOM - (value - y.low) / (y.high - y.low) * (height - TOP - BOTTOM):.1f}"

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img"><title>{Markup.escape(title)}</title>']
    for tick in y.ticks:
        parts.append(f'<path class="grid" d="M{LEFT} {up(tick)}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 6}" y="{up(tick)}" dy="3.5" text-anchor="end">{y.write(tick)}</text>'
        )
    parts.append(f'<path class="axis" d="M{LEFT} {height - BOTTOM}H{WIDTH - RIGHT}"/>')
    for tick in x.ticks:
        place = f'x="{across(tick)}" y="{height - BOTTOM + 15}"'
        parts.append(f'<text class="tick" {place} text-anchor="middle">{x.write(tick)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="label" x="{middle}" y="{height - 5}" text-anchor="middle">{x.label}</text>')
    if mark is not None:
        parts.append(f'<path class="mark" d="M{across(mark)} {TOP}V{height - BOTTOM}"/>')
    for line in lines:
        places = [(across(a), up(b)) for a, b in line.points]
        if len(places) > 1:
            parts.append(f'<path class="line {line.css}" d="M{"L".join(f"{a} {b}" for a, b in places)}"/>')
        if line.dots or len(places) == 1:
            parts.extend(f'<circle class="dot {line.css}" cx="{a}" cy="{b}" r="3"/>' for a, b in places)
    return Markup("".join(parts) + "</svg>")


def interval_strip(value: float, interval: Sequence[float] | None, baseline: float | None) -> Markup:
    """Draws a share with its interval and the baseline on a scale from 0 to 100 %."""
    width, margin = 480, 8
    across = lambda share: f"{margin + share * (width - 2 * margin):.1f}"  # noqa: E731
    parts = [
        f'<svg class="strip" viewBox="0 0 {width} 44" role="img"><title>Accuracy with its interval, and the baseline'
        f'</title><path class="track" d="M{margin} 16H{width - margin}"/>'
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        anchor = {0.0: "start", 1.0: "end"}.get(tick, "middle")
        place = {0.0: "0", 1.0: str(width)}.get(tick, across(tick))
        parts.append(f'<text class="tick" x="{place}" y="38" text-anchor="{anchor}">{tick * 100:.0f}&#8239;%</text>')
    if baseline is not None:
        parts.append(f'<path class="baseline" d="M{across(baseline)} 6V26"/>')
    if interval:
        parts.append(f'<path class="band" d="M{across(interval[0])} 16H{across(interval[1])}"/>')
    parts.append(f'<circle class="point" cx="{across(value)}" cy="16" r="5"/></svg>')
    return Markup("".join(parts))


def whisker(value: float | None, interval: Sequence[float] | None) -> Markup:
    """Draws a share with its interval at the size of a table cell; nothing where it is not defined."""
    if value is None:
        return Markup("")
    band = f'<path class="band" d="M{interval[0] * 90 + 5:.1f} 7H{interval[1] * 90 + 5:.1f}"/>' if interval else ""
    return Markup(
        '<svg class="whisker" viewBox="0 0 100 14" aria-hidden="true"><path class="track" d="M5 7H95"/>'
        f'{band}<circle class="point" cx="{value * 90 + 5:.1f}" cy="7" r="3.5"/></svg>'
    )


def share_bar(share: float) -> Markup:
    """Draws a share from 0 to 1 as a bar at the size of a table cell."""
    return Markup(
        f'<svg class="share" viewBox="0 0 100 10" aria-hidden="true"><path d="M0 1H{share * 100:.1f}V9H0Z"/></svg>'
    )
