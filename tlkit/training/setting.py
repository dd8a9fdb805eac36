"""What decides a training, so that a saved one is taken up only by the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import keras
import numpy as np

from tlkit.activations import RowDataset
from tlkit.augment.batches import AugmentedDataset
from tlkit.data.loader import ImageDataset
from tlkit.phases import Phase
from tlkit.training.recipe import Recipe


def setting_of(
    model: keras.Model, phases: Sequence[Phase], recipe: Recipe, seed: int, data: Sequence[Any]
) -> dict[str, Any]:
    """Returns what decides a training, JSON-able.

    Pictures themselves are not looked at: labels, their order and their number stand for them.

    Args:
        model: Before training.
        phases: In order.
        recipe: Of all phases.
        seed: Of shuffling and dropout.
        data: Training and validation data.
    """
    setting = {
        "phases": [phase.to_dict() for phase in phases],
        "recipe": asdict(recipe),
        "seed": seed,
        "backend": keras.backend.backend(),
        "model": _digest([tuple(variable.shape) for variable in model.weights]),
        "training_data": described(data[0]),
        "validation_data": described(data[1]),
    }
    return json.loads(json.dumps(setting))


def described(data: Any) -> dict[str, Any]:
    """Returns what is known of data without reading them, JSON-able."""
    if isinstance(data, tuple | list):
        return {"kind": "arrays", "shape": list(np.shape(data[0])), "labels": _digest(np.asarray(data[1]).tolist())}
    if isinstance(data, AugmentedDataset):
        return described(data.dataset) | {"layers": [repr(layer) for layer in data.layers], "views": data.views}
    if isinstance(data, ImageDataset):
        rows = _digest(data.indices.tolist())
        return {"kind": "images", "rows": rows, "labels": _labels(data), "batch_size": data.batch_size}
    if isinstance(data, RowDataset):
        return {"kind": "rows", "labels": _labels(data), "batch_size": data.batch_size}
    return {"kind": type(data).__name__}


def _labels(data: Any) -> str:
    return "" if data.labels is None else _digest(np.asarray(data.labels).tolist())


def _digest(value: Any) -> str:
    return hashlib.blake2b(repr(value).encode(), digest_size=8).hexdigest()
