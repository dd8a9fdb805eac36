"""Makes the HTML page of a comparison of runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from markupsafe import Markup

import tlkit.report.words as words
from tlkit import run as run_folder
from tlkit.errors import InputError
from tlkit.report.charts import place_of
from tlkit.report.comparing import Comparison, Difference
from tlkit.report.figures import Line, chart, number_axis, power_axis, share_axis, whole_axis
from tlkit.report.templating import NO_PICTURES, render

COLOURS = 5
EVIDENT = 0.05
TITLE = "<title>Comparison of runs · tlkit</title>"  # Of the page; tells it from files that are not ours.

SECTIONS = [("difference", "Difference"), ("runs", "Runs"), ("settings", "Settings"), ("curves", "Curves")]


def write_comparison(comparison: Comparison, output: str | Path) -> Path:
    """Writes the page of a comparison and returns its path.

    Args:
        comparison: From `compare_runs`.
        output: The HTML file to write; an earlier comparison there is replaced.

    Raises:
        InputError: Another file is there.
    """
    path = Path(output)
    if path.exists() and TITLE not in path.read_text(encoding="utf-8", errors="replace"):
        raise InputError(
            f"Expected a new file, or an earlier comparison. Received: --html {path}, which holds something else."
        )
    run_folder.write_text(path, render_comparison(comparison))
    return path


def render_comparison(comparison: Comparison) -> str:
    """Returns a comparison as one HTML page: no network, everything escaped."""
    return render(
        "comparison.html.j2",
        sections=SECTIONS,
        data=NO_PICTURES,
        comparison=comparison,
        verdicts=[tell_difference(one, comparison.names[0]) for one in comparison.differences],
        curves=overlaid_curves(comparison),
        colours=[f"run-{index % COLOURS}" for index in range(len(comparison.names))],
    )


def tell_difference(difference: Difference, reference: str) -> str:
    """Returns in one sentence whether a run is shown to be better than the reference."""
    name, other = (words.quoted(one) for one in (difference.run, reference))
    if difference.accuracy_interval is None:
        return f"{name} and {other} are right and wrong on the same images."
    low, high = difference.accuracy_interval
    gain, least, most = (words.signed(share * 100, 1) for share in (difference.accuracy, low, high))
    points = f"{gain} points (95 % interval {least} to {most})"
    if low <= 0 <= high or difference.p_value > EVIDENT:
        return f"No difference in accuracy is shown between {name} and {other}: {points}."
    return f"{name} is {'better' if difference.accuracy > 0 else 'worse'} than {other}: {points}."


def overlaid_curves(comparison: Comparison) -> list[tuple[str, Markup]]:
    """Returns (caption, SVG) of the validation figures of all runs, penalties and epochs apart."""
    charts = []
    for kind, axis in (("penalties", power_axis), ("epochs", whole_axis)):
        for caption, name, write_axis in (
            ("Validation loss", "val_loss", lambda values: number_axis("", values, from_zero=True)),
            ("Validation accuracy, %", "val_accuracy", lambda values: share_axis("", values)),
        ):
            lines = [
                Line(points, f"run-{index % COLOURS}")
                for index, facts in enumerate(comparison.facts)
                if (points := _points(facts, kind, name))
            ]
            if lines:
                charts.append(_overlay(caption, kind, axis, write_axis, lines))
    return charts


def _overlay(
    caption: str, kind: str, axis: Callable[..., Any], write_axis: Callable[..., Any], lines: list[Line]
) -> tuple[str, Markup]:
    label = "penalty, strong to weak" if kind == "penalties" else "epoch"
    x = axis(label, [place for line in lines for place, _ in line.points])
    y = write_axis([value for line in lines for _, value in line.points])
    return f"{caption} by {'penalty' if kind == 'penalties' else 'epoch'}", chart(caption, x, y, lines)


def _points(facts: dict[str, Any], kind: str, name: str) -> list[tuple[float, float]]:
    """Points of all phases of a kind; epochs of later phases follow on those of earlier ones."""
    phases = [phase for phase in facts["training"]["phases"] if phase["kind"] == kind]
    points: list[tuple[float, float]] = []
    for phase in phases:
        start = points[-1][0] if points and kind == "epochs" else 0
        rows = [(place_of(row, kind == "penalties"), row[name]) for row in phase["rows"]]
        points += [(start + place, value) for place, value in rows if place is not None and value is not None]
    return points
