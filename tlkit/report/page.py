"""Makes report.html: one file, no network, nothing from data that is not escaped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

import tlkit.report.words as words
from tlkit.report.charts import phase_charts, reliability_chart, screening_charts
from tlkit.report.confusion import Confusion, class_orders, count_cells
from tlkit.report.figures import interval_strip, whisker
from tlkit.report.gradient_charts import flow_charts
from tlkit.report.image_map import image_map
from tlkit.report.pictures import (
    NUM_PAIRS,
    PICTURES_A_SIDE,
    Album,
    gallery,
    judged_images,
    least_sure_hits,
    open_album,
    open_heat_maps,
    show_first_with_picture,
    worst_mistakes,
)
from tlkit.report.reading import Run
from tlkit.report.telling import (
    FIGURES,
    environment_rows,
    figure_cells,
    told_best,
    told_cross_validation,
    told_label_issues,
)
from tlkit.report.templating import render
from tlkit.report.varied import told_augmentation

MOST_TABLE_CLASSES = 40  # A larger matrix is drawn on a canvas: as a table it would be slow and could not be read.
SHADES = 10
MOST_ROWS = 200  # Of files set aside; a longer list is for a spreadsheet.

TILES = (
    ("Accuracy", "accuracy", True),
    ("Balanced accuracy", "balanced_accuracy", True),
    ("Macro F1", "macro_f1", False),
    ("Within the first 3", "top_3_accuracy", True),
    ("Log-loss", "log_loss", False),
    ("Matthews correlation", "matthews_correlation", False),
)


def render_page(run: Run, facts: dict[str, Any]) -> str:
    """Returns the report as one HTML page.

    Args:
        run: From `read_run`; its probabilities and thumbnails are looked at.
        facts: From `gather_facts`.
    """
    images = judged_images(run)
    confusion = count_cells(images["label"].to_numpy(), images["predicted"].to_numpy(), len(run.class_names))
    album = open_album(run)
    shown = [*facts["mistakes"], *facts["unsure_hits"]]
    issues = (facts["explained"]["label_issues"] or {}).get("shown", [])
    sources = {row["digest"]: album.source(row["digest"]) for row in (*shown, *issues)}
    heat_maps = open_heat_maps(run)
    pairs = [_pair(pair, run, images, album) for pair in facts["confused_pairs"][:NUM_PAIRS]]
    judged = facts["results"].get(facts["judged_split"]) if facts["judged_split"] else None
    finding_sources = _finding_sources(run, facts, album)
    data = _script_data(run, facts, images, confusion, album)
    placed = image_map(run.explained.embedding, images, data["gallery"])
    return render(
        "report.html.j2",
        sections=_sections(facts, placed is not None),
        data=data | {"map": placed[1] if placed else []},
        facts=facts,
        heading=_heading(facts),
        strip=_strip(facts, judged),
        tiles=_tiles(judged),
        all_figures=_all_figures(facts),
        matrix_rows=_matrix_rows(confusion) if confusion.num_classes <= MOST_TABLE_CLASSES else None,
        pairs=pairs,
        sources=sources,
        heat_maps={row["digest"]: heat_maps.source(row["digest"]) for row in shown},
        image_map=placed[0] if placed else None,
        told_folds=_told(facts, "cross_validation", told_cross_validation),
        told_issues=_told(facts, "label_issues", told_label_issues),
        finding_sources=finding_sources,
        most_rows=MOST_ROWS,
        whiskers=[_whiskers(row) for row in facts["per_class"]],
        reliability=_reliability(facts),
        screening=screening_charts(facts["two_classes"]) if facts["two_classes"] else [],
        sheet=run.varied.sheet,
        told_augmentation=told_augmentation(facts["augmentation"]) if facts["augmentation"] else [],
        phases=[_phase(phase) for phase in facts["training"]["phases"]],
        environment=environment_rows(facts),
    )


def _flow(phase: dict[str, Any]) -> list[tuple[str, Markup]]:
    return flow_charts(phase["gradients"]) if phase["gradients"] else []


def _told(facts: dict[str, Any], name: str, tell: Callable[[dict[str, Any]], str]) -> str:
    found = facts["explained"][name]
    return tell(found) if found else ""


def _heading(facts: dict[str, Any]) -> str:
    backbone = facts["asked"]["config"].get("model", {}).get("backbone")
    source, evaluated = facts["data"]["source"], facts["evaluated"]
    if evaluated:
        return f"{evaluated['run']} on {evaluated['data'] or 'its own test images'}"
    return f"{backbone} on {_short_path(source)}" if backbone and source else facts["run"]


def _short_path(source: str) -> str:
    """Returns the last two parts of a long path; the data section has the whole."""
    parts = source.replace("\\", "/").rstrip("/").split("/")
    return source if len(parts) <= 3 else "…/" + "/".join(parts[-2:])


def _sections(facts: dict[str, Any], has_map: bool) -> list[tuple[str, str]]:
    judged = facts["judged_split"] is not None
    every = (
        ("hints", "What to look at", bool(facts["hints"])),
        ("results", "Results", True),
        ("confusion", "Confusion", judged),
        ("classes", "Classes", judged),
        ("mistakes", "Mistakes", judged),
        ("image-map-section", "Map", has_map),
        ("calibration", "Calibration", bool((facts["calibration"] or {}).get(facts["judged_split"]))),
        ("screening", "Two classes", bool(facts["two_classes"])),
        ("data-section", "Data", True),
        ("labels", "Labels", facts["explained"]["label_issues"] is not None),
        ("training", "Training", True),
        ("symmetry", "Symmetry", bool(facts["symmetry"])),
        ("again", "How it was made", True),
    )
    return [(anchor, label) for anchor, label, there in every if there]


def _script_data(
    run: Run, facts: dict[str, Any], images: pd.DataFrame, confusion: Confusion, album: Album
) -> dict[str, Any]:
    cells = np.stack([confusion.true, confusion.predicted, confusion.count], axis=1)
    return {
        "split": facts["judged_split"],
        "classes": [words.visible(name) for name in run.class_names],
        "support": confusion.support.tolist(),
        "cells": cells.tolist(),
        "orders": class_orders(confusion, run.class_names),
        "gallery": [[words.visible(item), *rest] for item, *rest in gallery(images, album)],
    }


def _strip(facts: dict[str, Any], judged: dict[str, Any] | None) -> Markup:
    if judged is None:
        return Markup("")
    return interval_strip(judged["accuracy"], judged["intervals"].get("accuracy"), facts["baseline"]["accuracy"])


def _tiles(judged: dict[str, Any] | None) -> list[tuple[str, str, str]]:
    tiles = []
    for label, name, is_share in TILES:
        if judged is not None and judged.get(name) is not None:
            interval = judged["intervals"].get(name)
            write, write_interval = (
                (words.percent, words.percent_interval) if is_share else (words.number, words.number_interval)
            )
            tiles.append((label, write(judged[name]), write_interval(interval) if interval else ""))
    return tiles


def _all_figures(facts: dict[str, Any]) -> list[dict[str, Any]]:
    results = [one for one in facts["results"].values() if one]
    rows = []
    for label, name, kind in FIGURES:
        if any(one.get(name) is not None for one in results):
            rows.append({"label": label, "cells": [text for one in results for text in figure_cells(one, name, kind)]})
    return rows


def _matrix_rows(confusion: Confusion) -> list[list[dict[str, Any]]]:
    """Returns the cells of the matrix with their share of the true class and their shade."""
    support, rows = confusion.support, []
    for true, counts in enumerate(confusion.dense().tolist()):
        row = []
        for predicted, count in enumerate(counts):
            share = count / support[true] if count else 0.0
            shade = round(SHADES * (share if true == predicted else share**0.5))  # The root shows rare mistakes.
            css = f"{'hit' if true == predicted else 'miss'} q{shade}"
            row.append({"count": count, "share": f"{share:.4f}", "css": css})
        rows.append(row)
    return rows


def _pair(pair: dict[str, Any], run: Run, images: pd.DataFrame, album: Album) -> dict[str, Any]:
    true, predicted = (run.class_names.index(pair[name]) for name in ("label", "predicted"))
    mistaken = worst_mistakes(images[(images["label"] == true) & (images["predicted"] == predicted)])
    hits = least_sure_hits(images[images["label"] == predicted])[::-1]
    sides = {"wrong": mistaken, "right": hits}
    chosen = {side: show_first_with_picture(rows, album, PICTURES_A_SIDE) for side, rows in sides.items()}
    return pair | {side: [album.source(digest) for digest in rows["digest"]] for side, rows in chosen.items()}


def _finding_sources(run: Run, facts: dict[str, Any], album: Album) -> list[list[str]]:
    """Returns for each finding the pictures of its first items that have one."""
    digests = dict(zip(run.manifest["item"], run.manifest["digest"], strict=True))
    sources = []
    for finding in facts["data"]["findings"]:
        found = [album.source(digests.get(item, "")) for item in finding["items"]]
        sources.append([source for source in found if source][: 2 * PICTURES_A_SIDE])
    return sources


def _whiskers(row: dict[str, Any]) -> tuple[Markup, Markup]:
    return whisker(row["recall"], row["recall_interval"]), whisker(row["precision"], row["precision_interval"])


def _reliability(facts: dict[str, Any]) -> list[Markup]:
    measured = (facts["calibration"] or {}).get(facts["judged_split"])
    if not measured:
        return []
    titles = {"before": "Reliability as the model stands", "after": "Reliability after temperature scaling"}
    return [reliability_chart(measured[when]["bins"], title) for when, title in titles.items()]


def _phase(phase: dict[str, Any]) -> dict[str, Any]:
    if phase["kind"] == "penalties":
        title, unit = (
            f"Phase “{phase['name']}”: the convex head",
            words.counted(len(phase["rows"]), "penalty", "penalties"),
        )
    else:
        title, unit = f"Phase “{phase['name']}”", words.counted(len(phase["rows"]), "epoch")
    return phase | {
        "title": title,
        "told": f"{unit}. {told_best(phase)}",
        "charts": phase_charts(phase),
        "flow": _flow(phase),
    }
