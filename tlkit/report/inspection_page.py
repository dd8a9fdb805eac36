"""Makes the page of an inspection: a network's build, its costs, what it sees and what it does to pictures."""

from __future__ import annotations

from typing import Any

import tlkit.report.words as words
from tlkit.report.figures import share_bar
from tlkit.report.inspection_figures import blocks_figure, cost_bar, depth_charts, fields_figure, gradient_charts
from tlkit.report.inspection_pictures import drawn_maps, field_picture, filter_sheet, photograph
from tlkit.report.templating import NO_PICTURES, render

SHADES = 10
TIMES = "\u202f×\u202f"  # With spaces that do not break.
THOUSANDS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def render_inspection(facts: dict[str, Any], drawn: dict[str, Any]) -> str:
    """Returns an inspection as one HTML page: no network, everything escaped.

    Args:
        facts: The numbers, as the JSON of an inspection holds them.
        drawn: The arrays to draw; empty without measurements. `images` uint8 (n, height, width, channels), `filters`
            (weights, whether in pixels) or None, `effective` a list of (height, width), `maps` tuples of (layer,
            channels, maps), `strongest` a list of images.
    """
    measured = facts["measured"]
    shown = _measured(facts, drawn) if measured else None
    return render(
        "inspection.html.j2",
        sections=_sections(facts, shown),
        data=NO_PICTURES,
        facts=facts,
        sentence=_sentence(facts),
        tiles=_tiles(facts),
        blocks=blocks_figure(facts["stages"], facts["input_shape"]),
        fields=fields_figure(facts["stages"], facts["image_size"]) if facts["image_size"] else "",
        charts=depth_charts(facts["layers"], facts["image_size"]),
        stages=_stage_rows(facts["stages"]),
        layers=[_layer_row(one) for one in facts["layers"]],
        shown=shown,
    )


def _sections(facts: dict[str, Any], shown: dict[str, Any] | None) -> list[tuple[str, str]]:
    parts = shown or {}
    every = (
        ("notes", "Notes", facts["notes"]),
        ("build", "Build", True),
        ("sight", "What it sees", True),
        ("filters", "Filters", parts.get("filters")),
        ("answers", "Answers", parts.get("maps")),
        ("excite", "What excites it", parts.get("strongest")),
        ("neighbours", "Neighbours", parts.get("agreement")),
        ("symmetry", "Symmetry", parts.get("symmetry")),
        ("gradients", "Gradients", parts.get("gradients")),
        ("layers", "All steps", True),
    )
    return [(anchor, label) for anchor, label, there in every if there]


def amount(value: float | None) -> str:
    """Returns a large count in three digits with its unit, such as 3.86 G."""
    if value is None:
        return words.UNDEFINED
    for size, unit in THOUSANDS:
        if value >= size:
            return f"{value / size:.{2 if value < 10 * size else 1}f}{words.NARROW_SPACE}{unit}"
    return f"{value:,.0f}"


def sides(shape: list[int | None] | None) -> str:
    """Returns a shape, such as 7 × 7 × 512."""
    if shape is None:
        return words.UNDEFINED
    return TIMES.join("?" if side is None else f"{side:,}" for side in shape) or "1"


def sight(field: dict[str, Any]) -> str:
    """Returns in words what a unit sees."""
    if field["size"]:
        equal = len(set(field["size"])) == 1
        told = f"{field['size'][0]:,}" if equal else " × ".join(f"{side:,}" for side in field["size"])
        return f"{told}{words.NARROW_SPACE}px" + (" + whole" if field["whole"] else "")
    if field["unknown"]:
        return "?"
    return "whole" if field["whole"] else words.UNDEFINED


def _sentence(facts: dict[str, Any]) -> str:
    """Returns what the network does, in one or two sentences."""
    totals = facts["totals"]
    steps = words.counted(totals["layers"], "step")
    parameters = f"{amount(totals['parameters'])} parameters"
    if facts["input_shape"] is None:
        return f"A model of {steps} and {parameters} that cannot be followed from layer to layer."
    last = facts["layers"][-1]
    work = f" and {amount(totals['multiply_adds'])} multiply-adds" if totals["multiply_adds"] else ""
    values = f"{sides(facts['input_shape'])} values into {sides(last['output_shape'])}"
    text = f"{steps} turn {values}, with {parameters}{work}."
    maps = [stage for stage in facts["stages"] if stage["field"]["size"] and len(stage["output_shape"] or []) == 3]
    if maps and facts["image_size"]:
        size = max(maps[-1]["field"]["size"])
        more = "more than the whole picture" if size > facts["image_size"] else "less than the whole picture"
        text += f" A unit of the last map can see {sight(maps[-1]['field']).removesuffix(' + whole')}, {more}"
        text += ", and all of it through a gate." if maps[-1]["field"]["whole"] else "."
    return text


def _tiles(facts: dict[str, Any]) -> list[tuple[str, str, str]]:
    totals = facts["totals"]
    cuts = sum(one["cut"] for one in facts["layers"])
    without = totals["unshared_parameters"]
    tiles = [
        ("Parameters", amount(totals["parameters"]), f"{amount(totals['trainable_parameters'])} of them train"),
        ("Without weight sharing", amount(without), "filters of its own at every place"),
        (
            "Multiply-adds",
            amount(totals["multiply_adds"]),
            f"{amount(totals['operations'])} FLOPs, a multiply-add being 2",
        ),
        (
            "Weights",
            words.size(totals["weight_bytes"]),
            words.counted(totals["weighted_layers"], "layer") + " with weights",
        ),
        ("Outputs, peak", words.size(totals["peak_bytes"]), "one image at inference"),
        ("Outputs, all kept", words.size(totals["activation_bytes"]), "one image in training"),
        ("Cuts", f"{cuts:,}", "places where one tensor passes"),
    ]
    return [tile for tile in tiles if tile[1] != words.UNDEFINED]


def _stage_rows(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    costs = ("parameters", "multiply_adds", "activation_bytes")
    totals = {cost: sum(stage[cost] for stage in stages) for cost in costs}
    for stage in stages:
        bars = {cost: cost_bar(stage[cost] / totals[cost] if totals[cost] else 0.0) for cost in costs}
        told = {cost: words.size(stage[cost]) if cost == "activation_bytes" else amount(stage[cost]) for cost in costs}
        rows.append(
            {"name": stage["name"] or "all", "steps": stage["steps"], "cuts": stage["cuts"], "bars": bars, "told": told}
            | {"output": sides(stage["output_shape"]), "sight": sight(stage["field"])}
        )
    return rows


def _layer_row(layer: dict[str, Any]) -> dict[str, Any]:
    values = ("parameters", "multiply_adds", "operations", "activation_bytes")
    return {
        **{name: layer[name] for name in ("name", "kind", "stage", "cut")},
        "output": sides(layer["output_shape"]),
        "cells": [
            (
                layer[name] if layer[name] is not None else -1,
                words.size(layer[name]) if "bytes" in name else amount(layer[name]),
            )
            for name in values
        ],
        "sight": sight(layer["field"]),
        "sight_value": max(layer["field"]["size"] or [0]),
        "stride": _first(layer["field"]["stride"]),
        "centre": _first(layer["field"]["centre"]),
    }


def _first(values: list[float] | None) -> str:
    return f"{values[0]:g}" if values else words.UNDEFINED


def _measured(facts: dict[str, Any], drawn: dict[str, Any]) -> dict[str, Any]:
    """Returns what the sections on measurements show."""
    measured, images = facts["measured"], drawn["images"]
    return {
        "filters": filter_sheet(*drawn["filters"]) if drawn["filters"] else "",
        "maps": drawn_maps(drawn["maps"]),
        "first": photograph(images[0]),
        "effective": _effective(measured["effective_fields"], drawn["effective"], images[0]),
        "strongest": _strongest(measured["strongest"], drawn["strongest"]),
        "agreement": _agreement(measured["neighbours"]["agreement"]),
        "pairs": _pairs(measured, images),
        "symmetry": _symmetry(measured["symmetry"]),
        "gradients": gradient_charts(measured["gradients"]) if measured["gradients"] else [],
    }


def _effective(fields: list[dict[str, Any]], masses: list[Any], image: Any) -> list[dict[str, Any]]:
    rows = []
    for field, mass in zip(fields, masses, strict=True):
        radius = field["radius"].get("0.9")
        told = f"90{words.NARROW_SPACE}% within {radius:.0f}{words.NARROW_SPACE}px" if radius else "no gradient arrives"
        rows.append({"layer": field["layer"], "picture": field_picture(image, mass, field["box"]), "told": told})
    return rows


def _strongest(rows: list[dict[str, Any]], images: list[Any]) -> list[dict[str, Any]]:
    made = []
    for row, pictures in zip(rows, images, strict=True):
        boxes = row["boxes"] or [None] * len(pictures)
        drawn = [photograph(picture, box) for picture, box in zip(pictures, boxes, strict=True)]
        made.append(row | {"drawn": list(zip(drawn, row["classes"], row["values"], strict=True))})
    return made


def _agreement(agreement: dict[str, float]) -> list[tuple[str, str, Any]]:
    return [(layer, words.percent(share), share_bar(share)) for layer, share in agreement.items()]


def _pairs(measured: dict[str, Any], images: Any) -> list[list[tuple[str, str]]]:
    labels = measured["labels"]
    return [[(photograph(images[one]), labels[one]) for one in pair] for pair in measured["neighbours"]["parted_pairs"]]


def _symmetry(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns a table for each of the two errors: transformations down, layers across, with shades."""
    made = []
    for error, title in (("equivariance", "Does the map move along?"), ("invariance", "Does the answer stay?")):
        there = [row for row in rows if row[error] is not None]
        if not there:
            continue
        layers = list(dict.fromkeys(row["layer"] for row in there))
        cells = {(row["transformation"], row["layer"]): row[error] for row in rows}
        names = list(dict.fromkeys(row["transformation"] for row in rows))
        same = _same_class(rows) if error == "invariance" else {}
        body = [(name, [_cell(cells.get((name, layer))) for layer in layers], same.get(name)) for name in names]
        made.append({"title": title, "error": error, "layers": layers, "rows": body, "same": bool(same)})
    return made


def _same_class(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Returns by transformation how many pictures keep the strongest answer of the last layer."""
    if not rows or rows[-1]["agreement"] is None:
        return {}
    last = rows[-1]["layer"]
    return {row["transformation"]: words.percent(row["agreement"]) for row in rows if row["layer"] == last}


def _cell(value: float | None) -> tuple[str, str]:
    if value is None:
        return "", ""
    return f"{value:.2f}", f"miss q{min(round(SHADES * value), SHADES)}"
