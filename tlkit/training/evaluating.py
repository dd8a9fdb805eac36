"""Judging a classifier on data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tlkit.evaluation import evaluate_probabilities
from tlkit.features import predict_in_order
from tlkit.training.checks import checked_labels
from tlkit.training.compiling import gives_probabilities


def evaluate(
    model: keras.Model, data: Any, *, class_names: Sequence[str] | None = None, seed: int = 0
) -> dict[str, Any]:
    """Predicts `data` and measures the predictions: accuracy, log-loss, calibration and more, with 95 % intervals.

    Args:
        model: A classifier that gives probabilities or logits of shape (batch, classes).
        data: What `keras.Model.fit` takes, with integer (or one-hot) labels.
        class_names: Names of the classes in index order; `"0"`, `"1"`, ... when None.
        seed: Seed of the bootstrap.

    Returns:
        The dict of `tlkit.evaluate_probabilities`.
    """
    outputs, labels = predict_in_order(model, data)
    if not gives_probabilities(model):
        outputs = np.asarray(keras.ops.softmax(outputs))
    names = [str(index) for index in range(outputs.shape[1])] if class_names is None else class_names
    return evaluate_probabilities(checked_labels(labels, outputs.shape[1], "test"), outputs, names, seed=seed)
