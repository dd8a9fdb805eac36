"""Two classes, as screening has them: a threshold for a wanted sensitivity, ROC and precision-recall curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sklearn.metrics
from numpy.typing import ArrayLike, NDArray

from tlkit.errors import InputError
from tlkit.intervals import wilson_interval

CURVE_POINTS = 200  # More would not show in a figure.


def weighted_roc_auc(
    positive: NDArray[np.bool_], ranks: NDArray[np.int64], num_ranks: int, weights: NDArray[np.float64]
) -> float:
    """Returns the area under the ROC curve of weighted images; NaN where a side is missing.

    Args:
        positive: Whether each image is of the positive class, shape (n,).
        ranks: Rank of each image's score from 0, equal scores sharing one, shape (n,).
        num_ranks: Number of different scores.
        weights: Weight of each image, shape (n,).
    """
    above = np.bincount(ranks[positive], weights[positive], minlength=num_ranks)
    below = np.bincount(ranks[~positive], weights[~positive], minlength=num_ranks)
    pairs = above.sum() * below.sum()
    won = (above * (np.cumsum(below) - below / 2)).sum()
    return float(won / pairs) if pairs else float("nan")


def threshold_for_sensitivity(labels: ArrayLike, scores: ArrayLike, sensitivity: float) -> float:
    """Finds the highest threshold that still finds the wanted share of the positive images.

    Choose it on validation images and judge it on test images with `evaluate_threshold`.

    Args:
        labels: 1 for positive images, 0 for the others, shape (n,).
        scores: Probability of the positive class, shape (n,). An image is called positive at `score >= threshold`.
        sensitivity: Wanted share of positive images found, above 0, up to 1.

    Raises:
        InputError: If `sensitivity` is out of range or there is no positive image.
    """
    positive = np.sort(np.asarray(scores, np.float64)[np.asarray(labels) == 1])[::-1]
    if not 0 < sensitivity <= 1:
        raise InputError(f"Expected a sensitivity above 0 and up to 1. Received: {sensitivity}.")
    if positive.size == 0:
        raise InputError("Expected at least one image of the positive class to choose a threshold. Received: none.")
    needed = int(np.ceil(sensitivity * positive.size - 1e-9))  # 0.95 × 20 is 19, also in binary fractions.
    return float(positive[needed - 1])


def screen(
    labels: Mapping[str, ArrayLike], probabilities: Mapping[str, NDArray[Any]], sensitivity: float
) -> dict[str, Any]:
    """Chooses the threshold for a wanted sensitivity on the validation part and judges it on every part.

    Args:
        labels: True classes, 0 or 1, by split.
        probabilities: Float of shape (n, 2) by split; `"validation"` is needed.
        sensitivity: Wanted share of the images of class 1 that are found, above 0, up to 1.

    Returns:
        `wanted_sensitivity`, and by split what `evaluate_threshold` gives.

    Raises:
        InputError: If there are not two classes, or no validation image of class 1.
    """
    num_classes = {values.shape[1] for values in probabilities.values()}
    if num_classes != {2} or "validation" not in probabilities:
        raise InputError(
            "Expected two classes and a validation part to reach a wanted sensitivity. "
            f"Received: {max(num_classes, default=0)} classes, parts {', '.join(probabilities) or 'none'}."
        )
    threshold = threshold_for_sensitivity(labels["validation"], probabilities["validation"][:, 1], sensitivity)
    judged = {
        split: evaluate_threshold(labels[split], values[:, 1], threshold) for split, values in probabilities.items()
    }
    return {"wanted_sensitivity": sensitivity, **judged}


def evaluate_threshold(labels: ArrayLike, scores: ArrayLike, threshold: float) -> dict[str, Any]:
    """Judges a decision threshold for two classes, and gives the ROC and precision-recall curves.

    Args:
        labels: 1 for positive images, 0 for the others, shape (n,).
        scores: Probability of the positive class, shape (n,).
        threshold: An image is called positive at `score >= threshold`.

    Returns:
        A dict ready for JSON: sensitivity, specificity and precision with their 95 % Wilson intervals, the four
        counts, and the curves (None where a class is missing).
    """
    truth, scores = np.asarray(labels) == 1, np.asarray(scores, np.float64)
    called = scores >= threshold
    found, missed = int((truth & called).sum()), int((truth & ~called).sum())
    cleared, alarmed = int((~truth & ~called).sum()), int((~truth & called).sum())
    result: dict[str, Any] = {
        "positive_class": 1,
        "threshold": float(threshold),
        "true_positives": found,
        "false_negatives": missed,
        "true_negatives": cleared,
        "false_positives": alarmed,
    }
    shares = {
        "sensitivity": (found, found + missed),
        "specificity": (cleared, cleared + alarmed),
        "precision": (found, found + alarmed),
    }
    for name, (hits, trials) in shares.items():
        result[name] = hits / trials if trials else None
        result[f"{name}_interval"] = wilson_interval(hits, trials)
    return result | _curves(truth, scores)


def _curves(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> dict[str, Any]:
    if truth.all() or not truth.any():
        return {"roc_curve": None, "precision_recall_curve": None}
    false_positive_rate, true_positive_rate, _ = sklearn.metrics.roc_curve(truth, scores)
    precision, recall, _ = sklearn.metrics.precision_recall_curve(truth, scores)
    return {
        "roc_curve": {
            "false_positive_rate": _thinned(false_positive_rate),
            "true_positive_rate": _thinned(true_positive_rate),
        },
        "precision_recall_curve": {"recall": _thinned(recall), "precision": _thinned(precision)},
    }


def _thinned(values: NDArray[np.float64]) -> list[float]:
    kept = np.unique(np.linspace(0, len(values) - 1, min(CURVE_POINTS, len(values))).round().astype(int))
    return values[kept].tolist()
