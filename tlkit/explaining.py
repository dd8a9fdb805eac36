"""Why a run's model is right and wrong, written into the run folder for its report.

Heat maps of mistakes, a map of the images, labels that look wrong, and what the convex head reaches in k folds.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit import results, run
from tlkit.activations import DEFAULT, Activations, activations
from tlkit.analysis.gradcam import grad_cam
from tlkit.analysis.heat_maps import HeatMaps
from tlkit.analysis.occlusion import occlusion
from tlkit.config import ExtractionConfig
from tlkit.console import OnProgress
from tlkit.cross_validation import CrossValidation, cross_validate
from tlkit.data.division import divide
from tlkit.data.loader import ImageDataset
from tlkit.data.manifest import Manifest
from tlkit.data.store import Store
from tlkit.embedding import embed
from tlkit.errors import InputError
from tlkit.graph import feature_layer, split_model
from tlkit.label_issues import LabelIssues, find_label_issues
from tlkit.large_arrays import large_array
from tlkit.probe import fit_probe
from tlkit.report.pictures import least_sure_hits, worst_mistakes
from tlkit.strategies import Phase, apply_phase

NUM_HEAT_MAPS = 24
NUM_HITS = 8  # Of those, the least sure right answers; more where there are few mistakes.
PICTURE_SIZE = 160  # Pixels of a heat map's longer side: readable at twice the size of a thumbnail.
GLOW = np.array([232, 110, 30])  # On grey, told apart by those who see no red or green, too.
MOST_ON_MAP = 2000  # t-SNE takes 7 s for so many, and a page could not show more of them apart.
FOLDS = 5
COPIED = 4096  # Rows of features that are in memory at a time.


@dataclass(frozen=True)
class PooledFeatures:
    """What the head reads of some images.

    Attributes:
        rows: Rows of the manifest, int64 (n,).
        values: float32 (n, features).
    """

    rows: np.ndarray
    values: np.ndarray


def pooled_features(
    model: keras.Model,
    manifest: Manifest,
    store: Store,
    on_progress: OnProgress | None = None,
    extraction: ExtractionConfig = DEFAULT,
) -> PooledFeatures:
    """Computes the features of the training and validation images, for `write_explanations`.

    Call it before training: features that were trained on a label fit that label, right or wrong. The cache keeps them,
    and the first phase of training finds them there. Layers are set as in that phase: all but the head do not train.

    Args:
        model: A classifier, not trained on these images yet.
        manifest: With its split.
        store: Its images.
        on_progress: Called with (images done, images in all) of each part in turn.
        extraction: How they are computed and kept.

    Raises:
        InputError: The model has no global pooling or Flatten layer before its head.
    """
    apply_phase(model, Phase("features"))
    rows = [manifest.indices(split) for split in ("train", "validation")]
    parts = [_activations(model, manifest, store, one, on_progress, extraction) for one in rows if len(one)]
    shape = sum(len(part.labels) for part in parts), math.prod(parts[0].rows.shape[1:])
    values, start = large_array(shape, np.float32), 0
    for part in parts:
        for first in range(0, len(part.labels), COPIED):
            some = part.rows[first : first + COPIED]
            values[start : start + len(some)] = some.reshape(len(some), -1)
            start += len(some)
        part.close()
    return PooledFeatures(np.concatenate(rows), values)


def _activations(
    model: keras.Model,
    manifest: Manifest,
    store: Store,
    rows: np.ndarray,
    on_progress: OnProgress | None,
    extraction: ExtractionConfig,
) -> Activations:
    prefix, _ = split_model(model, feature_layer(model))
    return activations(prefix, ImageDataset(store, rows, manifest.labels()[rows]), on_progress, extraction)


def write_explanations(
    folder: Path,
    model: keras.Model,
    manifest: Manifest,
    store: Store,
    table: pd.DataFrame,
    features: PooledFeatures | None = None,
    on_progress: OnProgress | None = None,
    extraction: ExtractionConfig = DEFAULT,
    judged_features: PooledFeatures | None = None,
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
        features: From `pooled_features`, called before training; without them no label is judged.
        on_progress: Called with (steps done, steps in all).
        extraction: As for `pooled_features`.
        judged_features: What the trained model's head read of the judged images; computed where None.
    """
    judged = results.judged_part(table)
    notes: list[str] = []
    told = on_progress or (lambda done, total: None)
    facts: dict[str, Any] = {"heat_maps": _write_heat_maps(folder, model, manifest, store, judged, notes)}
    told(1, 3)
    facts["embedding"] = None
    if len(rows := rows_on_map(judged)):
        try:
            seen = judged_features or _features_after_training(model, manifest, store, rows, extraction)
            facts["embedding"] = _write_embedding(folder, manifest, rows, seen, len(judged))
        except InputError as error:
            notes.append(f"There is no map of the images. {error}")
    told(2, 3)
    facts |= {"cross_validation": None, "label_issues": None}
    if features is not None:
        facts |= _write_label_issues(folder, manifest, store, features)
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
        run.write_bytes(folder / run.HEAT_MAPS / f"{digest[:32]}.jpg", overlay(image, heat))
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


def _features_after_training(
    model: keras.Model, manifest: Manifest, store: Store, rows: np.ndarray, extraction: ExtractionConfig
) -> PooledFeatures:
    found = _activations(model, manifest, store, rows, None, extraction)
    try:
        return PooledFeatures(rows, np.array(found.rows).reshape(len(rows), -1))
    finally:
        found.close()


def _write_embedding(
    folder: Path, manifest: Manifest, rows: np.ndarray, features: PooledFeatures, num_judged: int
) -> dict[str, Any]:
    places, method = embed(features.values[np.searchsorted(features.rows, rows)])
    items = manifest.items["item"].to_numpy()[rows]
    cells = [(run.safe_cell(item), f"{x:.4f}", f"{y:.4f}") for item, (x, y) in zip(items, places, strict=True)]
    _write_csv(folder / run.EMBEDDING, ("item", "x", "y"), cells)
    return {"method": method, "images": len(rows), "of": num_judged}


def rows_on_map(judged: pd.DataFrame) -> np.ndarray:
    """Returns the rows of the images to lay out: all, or the first 2,000 as thumbnails are chosen, then by chance."""
    if len(judged) <= MOST_ON_MAP:
        return judged.index.to_numpy(np.int64)
    pictures = results.chosen_pictures(judged)
    others = judged.index.difference(pictures).to_numpy()
    chosen = np.random.default_rng(0).choice(others, MOST_ON_MAP - len(pictures), replace=False)
    return np.sort(np.concatenate([pictures, chosen])).astype(np.int64)


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
