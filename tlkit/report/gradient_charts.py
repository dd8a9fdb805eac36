"""The flow of gradients in a run's phases: read from gradients.json and drawn along the depth of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tlkit.report.figures import Line, chart, decades_axis, number_axis
from tlkit.report.files import damaged, read_json

SERIES = (
    ("Gradient of the weights, root mean square", "gradient_rms"),
    ("Update over weights, norms", "update_ratio"),
)
MOST_DOTS = 40


def read_flows(path: Path) -> dict[str, dict[str, Any]]:
    """Reads gradients.json, where it is there, by phase.

    Raises:
        InputError: It is damaged.
    """
    if not path.is_file():
        return {}
    found = {}
    for flow in read_json(path).get("phases", []):
        try:
            shape = len(flow["steps"]), len(flow["layers"])
            for _, name in SERIES:
                if (len(flow[name]), *{len(row) for row in flow[name]}) != shape:
                    raise damaged(path, f"{name} of another number of steps or layers than told in {flow['phase']}")
            found[str(flow["phase"])] = {**flow, "message": str(flow["message"])}
        except (KeyError, TypeError) as error:
            raise damaged(path, f"a phase without {error}") from None
    return found


def flow_charts(flow: dict[str, Any]) -> list[tuple[str, Markup]]:
    """Returns (caption, SVG): the first record of a phase against the last, from the input's layer to the output's."""
    place = "layer with a kernel, from the input"
    charts = [
        along_depth(caption, place, {"train": flow[name][0], "validation": flow[name][-1]}) for caption, name in SERIES
    ]
    return [one for one in charts if one is not None]


def along_depth(caption: str, place: str, rows: Mapping[str, Sequence[float | None]]) -> tuple[str, Markup] | None:
    """Returns (caption, SVG) of values from the input to the output on an axis of decades; None where there are none.

    Args:
        caption: What is drawn.
        place: What the values belong to, on the horizontal axis.
        rows: One value a place, or None, by the colour class of the line.
    """
    lines = [
        Line(points, css, dots=len(points) < MOST_DOTS) for css, row in rows.items() if len(points := _points(row)) > 1
    ]
    if not lines:
        return None
    x = number_axis(place, [1, max(map(len, rows.values()))])
    y = decades_axis([value for line in lines for _, value in line.points])
    return caption, chart(caption, x, y, lines)


def _points(values: Sequence[float | None]) -> list[tuple[float, float]]:
    return [(float(at + 1), math.log10(value)) for at, value in enumerate(values) if value]
