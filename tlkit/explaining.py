"""Why a run's model is right and wrong, written into the run folder for its report.

Heat maps of mistakes, a map of the images, labels that look wrong, and what the convex head reaches in k folds.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from tlkit import results, run
from tlkit.activations import DEFAULT
from tlkit.analysis.gradcam import grad_cam
from tlkit.analysis.heat_maps import HeatMaps
from tlkit.analysis.occlusion import occlusion
from tlkit.config import ExtractionConfig
from tlkit.console import OnProgress
from tlkit.cross_validation import CrossValidation, cross_validate
from tlkit.data.division import divide
from tlkit.data.manifest import Manifest
from tlkit.data.store import Store
from tlkit.embedding import embed
from tlkit.errors import InputError
from tlkit.label_issues import LabelIssues, find_label_issues
from tlkit.pooled import PooledFeatures, features_for_map
from tlkit.probe import fit_probe
from tlkit.report.pictures import least_sure_hits, worst_mistakes

NUM_HEAT_MAPS = 24
NUM_HITS = 8  # Of those, the least sure right answers; more where there are few mistakes.
PICTURE_SIZE = 160  # Pixels of a heat map's longer side: readable at twice the size of a thumbnail.
GLOW = np.array([232, 110, 30])  # On grey, told apart by those who see no red or green, too.
FOLDS = 5


def write_explanations(
    folder: Path,
    model: keras.Model,
    manifest: Manifest,
    store: Store,
    table: pd.DataFrame,
    features: PooledFeatures | None = None,
    on_progress: OnProgress | None = None,
    extraction: ExtractionConfig = DEFAULT,
    shown: PooledFeatures | None = None,
) -> None:
    """Writes explanations.json and what belongs to it: explanations/*.jpg, embedding.csv, label_issues.csv.

    What a model does not allow (a heat map without a feature map, an embedding without pooled features) is left out,
    and explanations.json says why.

    Args:
        folder: The run folder, with history.csv.
        model: The trained classifier.
        manifest: With its split.
        store: Its images.
        table: From `results.prediction_table`.
        features: From `pooled.pooled_features`, called before training; without them no label is judged.
        on_progress: Called with (steps done, steps in all).
        extraction: How features are computed, where they are.
        shown: What the trained model's head read of the images on the map, those of `rows_on_map`; computed where None.
    """
    judged = results.judged_part(table)
    notes: list[str] = []
    told = on_progress or (lambda done, total: None)
    if shown is None:
        try:
            shown = features_for_map(model, manifest, store, judged, extraction)
        except InputError as error:
            notes.append(f"There is no map of the images. {error}")
    facts: dict[str, Any] = dict.fromkeys(("heat_maps", "embedding", "cross_validation", "label_issues"))
    # t-SNE keeps one core busy. Threads of BLAS would wait for it in a busy loop: what can be shared out has its own.
    with threadpool_limits(1), ThreadPoolExecutor(1) as thread:
        placing = None if shown is None else thread.submit(_write_embedding, folder, manifest, shown, len(judged))
        facts["heat_maps"] = _write_heat_maps(folder, model, manifest, store, judged, notes)
        told(1, 3)
        if features is not None:
            facts |= _write_label_issues(folder, manifest, store, features)
        told(2, 3)
        facts["embedding"] = placing and placing.result()
        told(3, 3)
    run.write_json(folder / run.EXPLANATIONS, facts | {"notes": notes})


# --- Heat maps ---


def _write_heat_maps(
    folder: Path, model: keras.Model, manifest: Manifest, store: Store, judged: pd.DataFrame, notes: list[str]
) -> dict[str, Any] | None:
    mistakes, hits = worst_mistakes(judged), least_sure_hits(judged)
    num_mistakes = min(len(mistakes), NUM_HEAT_MAPS - min(NUM_HITS, len(hits)))
    shown = pd.concat([mistakes.head(num_mistakes), hits.head(NUM_HEAT_MAPS - num_mistakes)])
    if shown.empty:
        return None
    rows = shown.index.to_numpy(np.int64)
    images = store.images(rows)
    class_index = {name: index for index, name in enumerate(manifest.class_names)}
    classes = np.array([class_index[name] for name in shown["predicted"]], np.int64)
    maps = _draw(model, images, classes, notes)
    digests = manifest.items["digest"].to_numpy()[rows]
    (folder / run.HEAT_MAPS).mkdir(exist_ok=True)
    for image, heat, digest in zip(images, maps.resized(*images.shape[1:3]), digests, strict=True):
        run.write_bytes(folder / run.HEAT_MAPS / f"{digest[:32]}.jpg", overlay(image, heat), durable=False)
    return {"method": maps.method, "layer": maps.layer, "grid": list(maps.maps.shape[1:]), "images": len(rows)}


def _draw(model: keras.Model, images: np.ndarray, classes: np.ndarray, notes: list[str]) -> HeatMaps:
    try:
        return grad_cam(model, images, classes)
    except InputError as error:
        notes.append(f"Grad-CAM does not fit this model, so that parts of the image were covered instead. {error}")
        return occlusion(model, images, classes)


def overlay(image: np.ndarray, heat: np.ndarray) -> bytes:
    """Draws a heat map over a picture: grey, glowing where the map is high.

    Args:
        image: uint8 (height, width, 3).
        heat: float (height, width), 0 to 1.

    Returns:
        A small JPEG.
    """
    from PIL import Image

    grey = np.asarray(Image.fromarray(image).convert("L"), np.float32)[..., None]
    share = 0.65 * heat[..., None]  # A third of the picture shines through where the map is highest.
    drawn = Image.fromarray((grey * (1 - share) + GLOW * share).round().astype(np.uint8))
    drawn.thumbnail((PICTURE_SIZE, PICTURE_SIZE))
    return results.jpeg(drawn)


# --- The map of images ---


def _write_embedding(folder: Path, manifest: Manifest, shown: PooledFeatures, num_judged: int) -> dict[str, Any]:
    places, method = embed(shown.values)
    items = manifest.items["item"].to_numpy()[shown.rows]
    cells = [(run.safe_cell(item), f"{x:.4f}", f"{y:.4f}") for item, (x, y) in zip(items, places, strict=True)]
    _write_csv(folder / run.EMBEDDING, ("item", "x", "y"), cells)
    return {"method": method, "images": len(items), "of": num_judged}


# --- Labels ---


def _write_label_issues(folder: Path, manifest: Manifest, store: Store, features: PooledFeatures) -> dict[str, Any]:
    rows = features.rows
    labels = manifest.labels()[rows]
    items = manifest.items.iloc[rows].reset_index(drop=True)
    folds = divide(items, {str(fold): 1 / FOLDS for fold in range(FOLDS)}, seed=0)[0].astype(np.int64)
    penalty = _chosen_penalty(folder) or _best_penalty(features.values, labels, folds, manifest.num_classes)
    judged = cross_validate(features.values, labels, folds, num_classes=manifest.num_classes, penalty=penalty)
    issues = find_label_issues(labels, judged.probabilities)
    names = manifest.class_names
    columns = ("item", "split", "label", "suggested", "confidence", "label_probability")
    cells = [
        (*map(run.safe_cell, (items["item"][row], items["split"][row], names[labels[row]], names[suggested])), *shares)
        for row, suggested, *shares in _issue_rows(issues)
    ]
    _write_csv(folder / run.LABEL_ISSUES, columns, cells)
    results.save_thumbnails(folder, rows[issues.rows[: results.KEPT_FOR_LABEL_ISSUES]].tolist(), manifest, store)
    told = {"images": len(rows), "issues": len(issues.rows)}
    return {"cross_validation": _cross_validation_facts(judged, len(rows)), "label_issues": told}


def _issue_rows(issues: LabelIssues) -> zip:
    shares = (issues.confidence.round(4), issues.given.round(4))
    return zip(*(column.tolist() for column in (issues.rows, issues.suggested, *shares)), strict=True)


def _cross_validation_facts(judged: CrossValidation, num_images: int) -> dict[str, Any]:
    return {
        "folds": len(judged.fold_accuracies),
        "images": num_images,
        "accuracy": round(judged.accuracy, 6),
        "standard_error": round(judged.standard_error, 6),
        "fold_accuracies": [round(value, 6) for value in judged.fold_accuracies],
        "penalty": judged.penalty,
    }


def _chosen_penalty(folder: Path) -> float | None:
    """Returns the penalty that training chose, or None where no convex head was fitted."""
    with open(folder / run.HISTORY, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = [float(row["penalty"]) for row in rows if row.get("penalty") and row["best"].lower() == "true"]
    return chosen[-1] if chosen else None


def _best_penalty(values: np.ndarray, labels: np.ndarray, folds: np.ndarray, num_classes: int) -> float:
    held_out = folds == 0
    parts = (values[~held_out], labels[~held_out], values[held_out], labels[held_out])
    return fit_probe(*parts, num_classes=num_classes).penalty


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    run.write_text(path, pd.DataFrame(rows, columns=list(columns)).to_csv(index=False, lineterminator="\n"))
