"""Figures of an inspection as inline SVG: the network as blocks, fields within fields, curves along the depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

import tlkit.report.words as words
from tlkit.report.figures import Axis, Line, chart, number_axis
from tlkit.report.gradient_charts import along_depth

Row = dict[str, Any]

WIDTH = 360
BLOCKS_HEIGHT = 190
TALLEST = 118
FIELDS_HEIGHT = 250
CANVAS = 238
LABEL_HEIGHT = 15
LARGEST_OVER_IMAGE = 2.2  # A field drawn larger would shrink the picture to a dot.
MOST_LABEL = 13


def _short(text: str, most: int = MOST_LABEL) -> Markup:
    shown = words.visible(text)
    return escape(shown if len(shown) <= most else shown[: most - 1] + "…")


def _text(x: float, y: float, text: str | Markup, anchor: str = "middle") -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def blocks_figure(stages: Sequence[Row], picture: Sequence[int | None] | None) -> Markup:
    """Draws the picture and each stage as a block: as high as its maps, as wide as it has channels, roughly.

    Height goes by the root, width by the logarithm, so that both ends can be seen.
    """
    stages = [{"name": "picture", "output_shape": picture}, *stages]
    maps = [stage for stage in stages if len(stage["output_shape"] or []) == 3 and None not in stage["output_shape"]]
    if len(maps) < 2:
        return Markup("")
    largest = max(stage["output_shape"][0] for stage in maps)
    widths = [2 + 3 * math.log2(max(stage["output_shape"][-1], 2)) for stage in maps]
    gap = min(max((WIDTH - 16 - sum(widths)) / (len(maps) - 1), 4), 26)
    scale = min((WIDTH - 16 - gap * (len(maps) - 1)) / sum(widths), 1.5)
    left = (WIDTH - gap * (len(maps) - 1) - scale * sum(widths)) / 2
    parts = [_opening(BLOCKS_HEIGHT, "The stages of the network as blocks, from the input on the left")]
    for place, (stage, width) in enumerate(zip(maps, widths, strict=True)):
        side, channels = stage["output_shape"][0], stage["output_shape"][-1]
        height = max(TALLEST * math.sqrt(side / largest), 4)
        top, middle = 22 + (TALLEST - height) / 2, left + scale * width / 2
        colour, outline = "band" if place else "soft", f"h{scale * width:.1f}v{height:.1f}h{-scale * width:.1f}Z"
        parts.append(
            f'<path fill="var(--{colour})" stroke="var(--hit)" d="M{left:.1f} {top:.1f}{outline}">'
            f"<title>{escape(words.visible(stage['name']))}</title></path>"
        )
        down = 13 * (place % 2)  # Neighbouring labels need not fit side by side.
        parts += [_text(middle, top - 5, f"{channels:,}"), _text(middle, 22 + TALLEST + 15 + down, f"{side}")]
        left += scale * width + gap
    parts.append(_text(WIDTH / 2, BLOCKS_HEIGHT - 5, "above: channels; below: side of the map"))
    return Markup("".join(parts) + "</svg>")


def cost_bar(share: float) -> Markup:
    """Draws a share from 0 to 1 as a short bar for a cell of a table."""
    return Markup(
        '<svg width="64" height="10" viewBox="0 0 64 10" aria-hidden="true">'
        f'<path fill="var(--band)" d="M0 1H{share * 64:.1f}V9H0Z"/></svg>'
    )


def _opening(height: int, title: str) -> str:
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img"><title>{escape(title)}</title>'


def fields_figure(stages: Sequence[Row], image_size: int) -> Markup:
    """Draws what the unit in the middle of each stage sees, as squares over the picture, largest first."""
    seen = [(stage["name"], stage["field"]["size"][0]) for stage in stages if len(stage["field"]["size"] or []) == 2]
    seen = [(name, size) for name, size in dict(seen).items() if size > 1]
    if not seen:
        return Markup("")
    largest = LARGEST_OVER_IMAGE * image_size
    scale = CANVAS / max([image_size, *(size for _, size in seen if size <= largest)])
    middle = 6 + CANVAS / 2
    parts = [_opening(FIELDS_HEIGHT, "Squares that units of each stage see, over the picture")]
    parts.append(_square(middle, image_size * scale, 'fill="var(--soft)" stroke="var(--muted)" stroke-width="1"'))
    for place, (_, size) in enumerate(sorted(seen, key=lambda one: -one[1])):
        colour = f'fill="var(--hit)" fill-opacity=".07" stroke="var(--{"miss" if size > image_size else "hit"})"'
        if size <= largest:
            parts.append(_square(middle, max(size * scale, 2), colour + f' stroke-width="{1.5 - 0.08 * place:.2f}"'))
    return Markup("".join([*parts, *_field_labels(seen, image_size, scale, middle)]) + "</svg>")


def _square(middle: float, side: float, attributes: str) -> str:
    corner = middle - side / 2
    return f'<path {attributes} d="M{corner:.1f} {corner:.1f}h{side:.1f}v{side:.1f}h{-side:.1f}Z"/>'


def _field_labels(seen: list[tuple[str, int]], image_size: int, scale: float, middle: float) -> list[str]:
    """Writes names at the right, largest on top, each joined to the corner of its square."""
    rows = sorted([*seen, ("picture", image_size)], key=lambda one: -one[1])
    parts = []
    for place, (name, size) in enumerate(rows):
        y = 14 + place * min(LABEL_HEIGHT, (FIELDS_HEIGHT - 24) / len(rows))
        beyond = "" if size <= LARGEST_OVER_IMAGE * image_size else " ↗"
        half = size * scale / 2
        if not beyond:
            corner = f"M{middle + half:.1f} {middle - half:.1f}L{CANVAS + 14} {y - 4:.1f}"
            parts.append(f'<path class="grid" fill="none" d="{corner}"/>')
        parts.append(_text(CANVAS + 17, y, f"{_short(name)} {size:,}{beyond}", "start"))
    return parts


def depth_charts(layers: Sequence[Row], image_size: int | None) -> list[tuple[str, Markup]]:
    """Returns (caption, SVG) of fields, maps and shares of the costs along the depth."""
    charts = []
    fields = [(place, one["field"]["size"][0]) for place, one in enumerate(layers) if one["field"]["size"]]
    x = number_axis("step", [0, max(len(layers) - 1, 1)])
    if len(fields) > 1 and max(size for _, size in fields) > 1:
        lines = [Line(fields, "run-0")]
        if image_size:
            lines.append(Line([(0, image_size), (len(layers) - 1, image_size)], "diagonal"))
        y = number_axis("", [value for line in lines for _, value in line.points], from_zero=True)
        charts.append(("Receptive field, pixels (dotted: the picture)", chart("Receptive field by depth", x, y, lines)))
    sums = [(name, _running_shares(layers, name)) for name in ("parameters", "multiply_adds", "activation_bytes")]
    lines = [Line(points, f"run-{place}") for place, (_, points) in enumerate(sums) if points]
    if lines:
        y = Axis("", 0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), lambda value: f"{value * 100:g}")
        charts.append(("Share so far, %", chart("Parameters, arithmetic and memory by depth", x, y, lines)))
    return charts


def _running_shares(layers: Sequence[Row], name: str) -> list[tuple[float, float]]:
    total = sum(one[name] or 0 for one in layers)
    if not total:
        return []
    points, reached = [], 0
    for place, one in enumerate(layers):
        reached += one[name] or 0
        points.append((float(place), reached / total))
    return points


def gradient_charts(gradients: Row) -> list[tuple[str, Markup]]:
    """Returns (caption, SVG) of the gradients of weights, and of the signal, along the depth."""
    series = (
        ("Gradient of the weights, root mean square", [one["gradient_rms"] for one in gradients["layers"]]),
        ("Signal: gradient of the layers' outputs, norm", list(gradients["signal"].values())),
    )
    charts = [
        along_depth(caption, "layer with weights, from the input", {"run-0": values}) for caption, values in series
    ]
    return [one for one in charts if one is not None]
