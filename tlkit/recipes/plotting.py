"""Lines on one chart, as an SVG file that stands alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from tlkit import run
from tlkit.report.figures import nice_ticks

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 40, 50
# Okabe and Ito's colours, which people of any colour vision can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
Points = Sequence[tuple[float, float]]


def write_chart(
    path: Path,
    title: str,
    axes: tuple[str, str],
    lines: Mapping[str, Points],
    *,
    logarithmic: tuple[bool, bool] = (False, False),
) -> None:
    """Draws lines with dots at their points, and a legend.

    Args:
        path: The SVG file.
        title: Above the chart.
        axes: What x and y are.
        lines: Points (x, y) by the line's name, at least one; above 0 on a logarithmic axis.
        logarithmic: Whether x and y are on logarithmic axes.
    """
    columns = [sorted({point[axis] for points in lines.values() for point in points}) for axis in (0, 1)]
    x, y = (
        _scale(values, log, start, end)
        for values, log, (start, end) in zip(
            columns, logarithmic, ((LEFT, WIDTH - RIGHT), (HEIGHT - BOTTOM, TOP)), strict=True
        )
    )
    parts = [_text(LEFT, 20, title, 15), _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, axes[0], 12, "middle")]
    parts += [_text(LEFT, TOP - 6, axes[1], 12)]
    parts += [f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" stroke="#555" fill="none"/>']
    parts += [
        _text(x(tick), HEIGHT - BOTTOM + 16, f"{tick:g}", 11, "middle") for tick in _ticks(columns[0], logarithmic[0])
    ]
    parts += [_text(LEFT - 6, y(tick) + 4, f"{tick:.3g}", 11, "end") for tick in _ticks(columns[1], logarithmic[1])]
    for number, (name, points) in enumerate(lines.items()):
        colour, dash = COLOURS[number % len(COLOURS)], "" if number < len(COLOURS) else ' stroke-dasharray="6 4"'
        places = [(x(point[0]), y(point[1])) for point in points]
        joined = " ".join(f"{left:.1f},{top:.1f}" for left, top in places)
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        parts += [f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3" fill="{colour}"/>' for left, top in places]
        sample = f'<path d="M{WIDTH - RIGHT + 6} {TOP + 18 * number}h20" stroke="{colour}" stroke-width="2"{dash}/>'
        parts.append(sample + f'<circle cx="{WIDTH - RIGHT + 16}" cy="{TOP + 18 * number}" r="3" fill="{colour}"/>')
        parts.append(_text(WIDTH - RIGHT + 30, TOP + 4 + 18 * number, name, 12))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
    background = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    run.write_text(path, "\n".join((head, background, *parts, "</svg>")) + "\n")


def _scale(values: list[float], logarithmic: bool, start: float, end: float):  # type: ignore[no-untyped-def]
    place = math.log10 if logarithmic else float
    low, high = place(values[0]), place(values[-1])
    span = high - low or 1.0
    return lambda value: start + (place(value) - low) / span * (end - start)


def _ticks(values: list[float], logarithmic: bool) -> list[float]:
    """Returns the values themselves where they are few, else round ones or powers of ten."""
    if len(values) <= 7:
        return values
    if logarithmic:
        low, high = math.ceil(math.log10(values[0])), math.floor(math.log10(values[-1]))
        step = max(1, (high - low) // 5)
        return [10.0**power for power in range(low, high + 1, step)] or [values[0], values[-1]]
    return list(nice_ticks(values[0], values[-1]))


def _text(x: float, y: float, text: str, size: int, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'
