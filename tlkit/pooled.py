"""What the head of a model reads of some images: before training, to judge labels; after it, for the report's map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit import results
from tlkit.activations import DEFAULT, Activations, activations
from tlkit.config import ExtractionConfig
from tlkit.console import OnProgress
from tlkit.data.loader import ImageDataset
from tlkit.data.manifest import Manifest
from tlkit.data.store import Store
from tlkit.graph import feature_layer, split_model
from tlkit.large_arrays import large_array
from tlkit.strategies import Phase, apply_phase

PARTS = {"training": "train", "validation": "validation"}
COPIED = 4096  # Rows of features that are in memory at a time.
MOST_ON_MAP = 2000  # t-SNE takes 7 s for so many, and a page could not show more of them apart.


@dataclass(frozen=True)
class PooledFeatures:
    """What the head reads of some images.

    Attributes:
        rows: Rows of the manifest, int64 (n,).
        values: float32 (n, features).
        notes: What the user should know of what was kept, one line each; why nothing could be is for training to say.
        extractions: How the features of each part were had, JSON-able.
    """

    rows: np.ndarray
    values: np.ndarray
    notes: tuple[str, ...] = ()
    extractions: tuple[dict[str, Any], ...] = ()


def pooled_features(
    model: keras.Model,
    manifest: Manifest,
    store: Store,
    on_progress: OnProgress | None = None,
    extraction: ExtractionConfig = DEFAULT,
) -> PooledFeatures:
    """Computes the features of the training and validation images, for judging labels.

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
    rows = {name: manifest.indices(split) for name, split in PARTS.items() if len(manifest.indices(split))}
    parts = [_activations(model, manifest, store, one, on_progress, extraction) for one in rows.values()]
    shape = sum(len(part.labels) for part in parts), math.prod(parts[0].rows.shape[1:])
    values, start = large_array(shape, np.float32), 0
    for part in parts:
        for first in range(0, len(part.labels), COPIED):
            some = part.rows[first : first + COPIED]
            values[start : start + len(some)] = some.reshape(len(some), -1)
            start += len(some)
        part.close()
    notes = tuple(note for part in parts if part.facts for note in part.notes)
    told = [{"phase": "before training", "part": name} | part.facts for name, part in zip(rows, parts, strict=True)]
    return PooledFeatures(np.concatenate(list(rows.values())), values, notes, tuple(told))


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


def rows_on_map(judged: pd.DataFrame) -> np.ndarray:
    """Returns the rows of the images to lay out: all, or the first 2,000 as thumbnails are chosen, then by chance."""
    if len(judged) <= MOST_ON_MAP:
        return judged.index.to_numpy(np.int64)
    pictures = results.chosen_pictures(judged)
    others = judged.index.difference(pictures).to_numpy()
    chosen = np.random.default_rng(0).choice(others, MOST_ON_MAP - len(pictures), replace=False)
    return np.sort(np.concatenate([pictures, chosen])).astype(np.int64)


def features_for_map(
    model: keras.Model, manifest: Manifest, store: Store, judged: pd.DataFrame, extraction: ExtractionConfig = DEFAULT
) -> PooledFeatures | None:
    """Computes what the head of a trained model reads of the images to lay out; None where there are none.

    Raises:
        InputError: As for `pooled_features`.
    """
    rows = rows_on_map(judged)
    if not len(rows):
        return None
    found = _activations(model, manifest, store, rows, None, extraction)
    values = np.array(found.rows).reshape(len(rows), -1)
    found.close()
    return PooledFeatures(rows, values)
