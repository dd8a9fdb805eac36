"""Makes the page of a search from its search.json: best trials, what mattered, slices, curves, where time went."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

import tlkit.report.words as words
from tlkit import run as run_folder
from tlkit.report.figures import Axis, Line, chart, number_axis, share_axis, share_bar, whole_axis
from tlkit.report.files import read_json
from tlkit.report.templating import NO_PICTURES, render

FACTS = "search.json"
SETTINGS = "settings.json"
PAGE = "search.html"
BEST = 10
COLOURS = 5
MARGIN = 0.04  # Beyond the ends of a range, as a share of it.
SHARES = ("accuracy", "balanced_accuracy")  # Objectives that are told in per cent.
CURVES = {"val_loss": "Validation loss by epoch", "val_accuracy": "Validation accuracy by epoch, %"}
SECTIONS = [
    ("winner", "Winner"),
    ("trials", "Trials"),
    ("importance", "What mattered"),
    ("slices", "Slices"),
    ("curves", "Curves"),
    ("time", "Time"),
]

Points = list[tuple[float, float]]


def write_search_page(folder: str | Path) -> Path:
    """Makes search.html from search.json, again and again with the same result, and returns its path.

    Args:
        folder: Of a search that has ended.

    Raises:
        InputError: search.json is missing or damaged.
    """
    path = Path(folder) / PAGE
    run_folder.write_text(path, render_search_page(read_json(Path(folder) / FACTS)))
    return path


def render_search_page(facts: dict[str, Any]) -> str:
    """Returns the page: one file, no network, everything escaped."""
    objective = facts["settings"]["objective"]
    tried = [one for one in facts["trials"] if one["status"] == "completed" and one["copied_from"] is None]
    sign = -1 if facts["direction"] == "max" else 1
    order = sorted(tried, key=lambda one: (sign * one["metrics"][objective], one["number"]))
    return render(
        "search.html.j2",
        data=NO_PICTURES,
        sections=SECTIONS,
        facts=facts,
        objective=objective,
        changes=[(name, str(value)) for name, value in facts["changes"].items()],
        gains=[(part, gain) for part, gain in facts["gains"].items() if gain and gain["interval"]],
        best=[_row(one, objective) for one in order[:BEST]],
        failed=_failures(facts["trials"]),
        counts=_counts(facts["trials"]),
        shares=[{**one, "bar": share_bar(min(max(one["share"], 0.0), 1.0))} for one in facts["importance"]["shares"]],
        progress=progress_charts(tried, objective, sign),
        slices=slice_charts(facts, tried, objective),
        curves=_curves(facts["curves"]),
        colours=[f"run-{index % COLOURS}" for index in range(len(facts["curves"]))],
        seconds=[(name, value) for name, value in facts["seconds"].items() if value],
    )


def _row(trial: dict[str, Any], objective: str) -> dict[str, Any]:
    values = ", ".join(f"{name} {_short(value)}" for name, value in trial["values"].items()) or "the default recipe"
    return {
        "number": trial["number"],
        "values": values + (f"; {words.counted(trial['epochs'], 'epoch')}" if trial["epochs"] else ""),
        "score": score_text(trial["metrics"][objective], objective),
        "accuracy": trial["metrics"]["accuracy"],
        "log_loss": trial["metrics"]["log_loss"],
        "seconds": sum(trial["seconds"].values()),
    }


def score_text(value: float, objective: str) -> str:
    """Returns a score as people read it."""
    return words.percent(value) if objective in SHARES else words.number(value, 4)


def _short(value: Any) -> str:
    return words.short_number(value) if isinstance(value, float) else str(value)


def _failures(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for one in trials:
        if one["status"] == "failed":
            by_reason.setdefault(one["reason"], []).append(one)
    return [
        {"reason": reason, "numbers": ", ".join(str(one["number"]) for one in failed), "message": failed[0]["message"]}
        for reason, failed in by_reason.items()
    ]


def _counts(trials: list[dict[str, Any]]) -> str:
    copied = sum(one["copied_from"] is not None for one in trials)
    heads = sum(one["kind"] == "head" for one in trials)
    told = f"{words.counted(len(trials), 'trial')}, {heads:,} of them of the head alone on kept features"
    return told + (f"; {words.counted(copied, 'proposal')} had been run before and cost nothing" if copied else "")


def progress_charts(tried: list[dict[str, Any]], objective: str, sign: int) -> list[tuple[str, Markup]]:
    """Returns (caption, SVG) of each trial's score, and the best so far, by the trial's number and by the clock."""
    began = min(one["ended"] - sum(one["seconds"].values()) for one in tried)
    axes = (
        ("Score of each trial; dashed, the best so far", "trial", lambda one: float(one["number"])),
        ("The same by the clock", "minutes", lambda one: (one["ended"] - began) / 60),
    )
    charts = []
    for caption, label, place in axes:
        points: Points = sorted((place(one), one["metrics"][objective]) for one in tried)
        best: Points = []
        for where, value in points:
            before = best[-1][1] if best else value
            best += [(where, before), (where, value if sign * value < sign * before else before)]
        write_axis = whole_axis if label == "trial" else number_axis
        x, y = write_axis(label, [where for where, _ in points]), _score_axis([v for _, v in points], objective)
        dots = [Line([point], "validation") for point in points]
        charts.append((caption, chart("Scores of the trials", x, y, [Line(best, "train"), *dots])))
    return charts


def _score_axis(values: list[float], objective: str) -> Axis:
    return share_axis("", values) if objective in SHARES else number_axis("", values)


def slice_charts(facts: dict[str, Any], tried: list[dict[str, Any]], objective: str) -> list[tuple[str, Markup]]:
    """Returns (name, SVG) for each hyperparameter: the scores of the trials by its value."""
    charts = []
    for parameter in facts["space"]["parameters"]:
        name = parameter["name"]
        own = [one for one in tried if name in one["values"]]
        points = [(place, one["metrics"][objective]) for one in own if (place := _place(parameter, one)) is not None]
        if len(points) < 2:
            continue
        y = _score_axis([value for _, value in points], objective)
        dots = [Line([point], "validation") for point in points]
        charts.append((name, chart("Scores by value", _value_axis(parameter), y, dots)))
    return charts


def _place(parameter: dict[str, Any], trial: dict[str, Any]) -> float | None:
    value = trial["values"][parameter["name"]]
    if parameter["values"]:
        return float(parameter["values"].index(value)) if value in parameter["values"] else None
    return math.log10(value) if parameter["sampling"] == "log" else float(value)


def _value_axis(parameter: dict[str, Any]) -> Axis:
    values = parameter["values"]
    if values:
        names = [str(Markup.escape(words.visible(str(value))[:12])) for value in values]
        ticks = tuple(float(index) for index in range(len(values)))
        return Axis("", -0.5, len(values) - 0.5, ticks, lambda tick: names[int(tick)])
    if parameter["sampling"] == "log":
        axis = number_axis("", [math.log10(parameter["low"]), math.log10(parameter["high"])])
        every = max(1, len(axis.ticks) // 4)
        axis = replace(axis, ticks=axis.ticks[::every], write=lambda tick: words.short_number(10**tick))
    else:
        axis = number_axis("", [parameter["low"], parameter["high"]])
    margin = MARGIN * (axis.high - axis.low)  # A point at an end is seen whole.
    return replace(axis, low=axis.low - margin, high=axis.high + margin)


def _curves(curves: list[dict[str, Any]]) -> list[tuple[str, Markup]]:
    """Returns (caption, SVG) of validation loss and accuracy by epoch, one line a trial."""
    charts = []
    for name, caption in CURVES.items():
        lines = [
            Line([(float(i + 1), point[name]) for i, point in enumerate(one["points"])], f"run-{index % COLOURS}")
            for index, one in enumerate(curves)
        ]
        values = [value for line in lines for _, value in line.points]
        if values:
            x = whole_axis("epoch", [place for line in lines for place, _ in line.points])
            y = share_axis("", values) if name == "val_accuracy" else number_axis("", values, from_zero=True)
            charts.append((caption, chart(caption, x, y, lines)))
    return charts
