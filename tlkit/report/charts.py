"""The charts of a report, drawn from its facts: learning curves, penalty path, calibration, ROC."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from tlkit.report.figures import Axis, Line, chart, nice_ticks, number_axis, power_axis, share_axis, whole_axis

Row = dict[str, Any]
SHARE = Axis("", 0.0, 1.0, nice_ticks(0, 1), lambda value: f"{value * 100:g}")


def phase_charts(phase: dict[str, Any]) -> list[tuple[str, Markup]]:
    """Returns (caption, SVG) of loss, accuracy and, where it changes, learning rate of one phase."""
    by_penalty = phase["kind"] == "penalties"
    placed = [(place, row) for row in phase["rows"] if (place := place_of(row, by_penalty)) is not None]
    places, rows = [place for place, _ in placed], [row for _, row in placed]
    if not rows:
        return []
    x = power_axis("penalty, strong to weak", places) if by_penalty else whole_axis("epoch", places)
    mark = None if phase["best"] is None else place_of(phase["rows"][phase["best"]], by_penalty)
    charts = []
    for caption, name in (("Loss", "loss"), ("Accuracy, %", "accuracy")):
        train, validation = (_points(places, rows, prefix + name) for prefix in ("", "val_"))
        values = [value for _, value in (*train, *validation)]
        if values:
            y = share_axis("", values) if name == "accuracy" else number_axis("", values, from_zero=True)
            lines = [Line(train, "train"), Line(validation, "validation")]
            charts.append((caption, chart(f"{caption} on training and validation images", x, y, lines, mark=mark)))
    rates = _points(places, rows, "learning_rate")
    if len({rate for _, rate in rates}) > 1:
        y = number_axis("", [rate for _, rate in rates], from_zero=True)
        charts.append(("Learning rate", chart("Learning rate", x, y, [Line(rates, "validation")], mark=mark)))
    return charts


def place_of(row: Row, by_penalty: bool) -> float | None:
    """Returns where a row of the history lies on the horizontal axis: minus the penalty's exponent, or the epoch."""
    if by_penalty:
        return -math.log10(row["penalty"]) if row["penalty"] and row["penalty"] > 0 else None
    return None if row["epoch"] is None else row["epoch"] + 1


def _points(places: list[float], rows: list[Row], name: str) -> list[tuple[float, float]]:
    return [(place, row[name]) for place, row in zip(places, rows, strict=True) if row[name] is not None]


def reliability_chart(bins: list[dict[str, Any]], title: str) -> Markup:
    """Draws stated confidence against the share of right answers; a calibrated model follows the diagonal."""
    x = Axis("confidence, %", 0.0, 1.0, SHARE.ticks, SHARE.write)
    whiskers = [
        Line([(one["confidence"], one["low"]), (one["confidence"], one["high"])], "whisker-line") for one in bins
    ]
    points = Line([(one["confidence"], one["accuracy"]) for one in bins], "validation", dots=True)
    return chart(title, x, SHARE, [Line([(0, 0), (1, 1)], "diagonal"), *whiskers, points], square=True)


def screening_charts(two_classes: dict[str, Any]) -> list[tuple[str, Markup]]:
    """Returns (caption, SVG) of the ROC and precision-recall curves; none where a class has no image."""
    roc, precision_recall = two_classes.get("roc_curve"), two_classes.get("precision_recall_curve")
    if not roc or not precision_recall:
        return []
    false_alarms = Axis("false alarms, %", 0.0, 1.0, SHARE.ticks, SHARE.write)
    found = Axis("sensitivity, %", 0.0, 1.0, SHARE.ticks, SHARE.write)
    roc_points = list(zip(roc["false_positive_rate"], roc["true_positive_rate"], strict=True))
    other_points = list(zip(precision_recall["recall"], precision_recall["precision"], strict=True))
    chance = Line([(0, 0), (1, 1)], "diagonal")
    return [
        (
            "Sensitivity against false alarms (ROC), %",
            chart("ROC curve", false_alarms, SHARE, [chance, Line(roc_points, "validation")], square=True),
        ),
        (
            "Precision against sensitivity, %",
            chart("Precision-recall curve", found, SHARE, [Line(other_points, "validation")], square=True),
        ),
    ]
