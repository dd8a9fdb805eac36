"""Evaluation: what a classifier's probabilities are worth, with intervals, as one dict that is the same every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlkit import intervals
from tlkit.calibration import calibrate, calibration_error, reliability_bins
from tlkit.errors import InputError
from tlkit.metrics import (
    Part,
    class_figures,
    confusion_matrix,
    figure_intervals,
    headline_figures,
    image_figures,
    mean_of,
    resample,
)
from tlkit.screening import evaluate_threshold, screen

DIGITS = 6  # Decimals kept: far below the sampling noise, above what differs between processors.


def evaluate_probabilities(
    labels: ArrayLike,
    probabilities: ArrayLike,
    class_names: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures predictions against the truth.

    Args:
        labels: True class of each image as an index into `class_names`, int of shape (n,).
        probabilities: Predicted probabilities, float of shape (n, classes), rows summing to 1.
        class_names: Names of the classes in index order.
        groups: Name of the group (patient, site, film) of each image, `""` for none. Intervals then resample groups.
        seed: Seed of the bootstrap.

    Returns:
        A dict ready for JSON, the same for the same input: None where a figure is not defined, never NaN.
        `intervals` holds the 95 % interval of each figure that has one. Without an image every figure is None.

    Raises:
        InputError: If shapes disagree, a label is out of range or a row is no probability distribution.
    """
    part = _checked(labels, probabilities, class_names, groups)
    if len(part.labels) == 0:
        return _nothing_measured(class_names)
    per_image = image_figures(part)
    counts, replicates = resample(part, per_image, seed)
    bins = reliability_bins(part.probabilities.max(axis=1), part.predicted == part.labels)
    per_class = class_figures(part, class_names, counts)
    result = {
        "num_images": len(part.labels),
        "num_groups": None if part.groups is None else part.num_units,
        "class_names": list(class_names),
        **headline_figures(part, per_image),
        "roc_auc": mean_of(per_class, "roc_auc"),
        "average_precision": mean_of(per_class, "average_precision"),
        "expected_calibration_error": calibration_error(bins),
        "baseline": majority_baseline(part.labels, part.labels, class_names),
        "intervals": figure_intervals(part, replicates),
        "interval_method": {
            "level": intervals.LEVEL,
            "resamples": intervals.RESAMPLES,
            "unit": "image" if part.groups is None else "group",
            "seed": seed,
        },
        "per_class": per_class,
        "confusion_matrix": confusion_matrix(part.labels, part.predicted, part.num_classes).tolist(),
        "reliability_bins": bins,
        "two_classes": _two_classes(part),
    }
    return ready_for_json(result)


def _two_classes(part: Part) -> dict[str, Any] | None:
    return evaluate_threshold(part.labels, part.probabilities[:, 1], 0.5) if part.num_classes == 2 else None


def _checked(
    labels: ArrayLike, probabilities: ArrayLike, class_names: Sequence[str], groups: Sequence[str] | None
) -> Part:
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise InputError(
            "Expected labels of shape (n,) and probabilities of shape (n, classes). "
            f"Received: {labels.shape} and {probabilities.shape}."
        )
    if probabilities.shape[1] != len(class_names):
        raise InputError(
            f"Expected one column of probabilities for each of {len(class_names)} classes. "
            f"Received: {probabilities.shape[1]} columns."
        )
    if labels.size and not (labels.min() >= 0 and labels.max() < len(class_names)):
        raise InputError(
            f"Expected labels from 0 to {len(class_names) - 1}. Received: {labels.min()} to {labels.max()}."
        )
    _check_distributions(probabilities)
    predicted = probabilities.argmax(axis=1) if labels.size else np.zeros(0)
    return Part(labels.astype(np.int64), probabilities, predicted.astype(np.int64), _group_numbers(groups, len(labels)))


def _check_distributions(probabilities: NDArray[Any]) -> None:
    sums = probabilities.sum(axis=1, dtype=np.float64)
    lowest = probabilities.min() if probabilities.size else 0.0
    if not np.isfinite(sums).all() or lowest < 0 or (np.abs(sums - 1) > 1e-3).any():
        raise InputError(
            "Expected rows of probabilities, each from 0 to 1 and summing to 1 (apply softmax to logits first). "
            f"Received: a lowest value of {lowest} and sums from {sums.min():.4g} to {sums.max():.4g}."
        )


def _group_numbers(groups: Sequence[str] | None, num_images: int) -> NDArray[np.int64] | None:
    if groups is not None and any(groups) and len(groups) != num_images:
        raise InputError(f"Expected a group for each of {num_images} images. Received: {len(groups)} groups.")
    return intervals.number_groups(groups)


def majority_baseline(train_labels: ArrayLike, labels: ArrayLike, class_names: Sequence[str]) -> dict[str, Any]:
    """Returns what naming the commonest class of the training images for every image would reach.

    Args:
        train_labels: True classes of the training images, int of shape (m,).
        labels: True classes of the images to judge, int of shape (n,).
        class_names: Names of the classes in index order.

    Returns:
        `class_name` and `accuracy`, None where there is no image.
    """
    train_labels, labels = np.asarray(train_labels, np.int64), np.asarray(labels, np.int64)
    if train_labels.size == 0:
        return {"class_name": None, "accuracy": None}
    commonest = int(np.bincount(train_labels, minlength=len(class_names)).argmax())
    accuracy = round(float((labels == commonest).mean()), DIGITS) if labels.size else None
    return {"class_name": class_names[commonest], "accuracy": accuracy}


def evaluate_splits(
    labels: Mapping[str, ArrayLike],
    probabilities: Mapping[str, ArrayLike],
    class_names: Sequence[str],
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    sensitivity: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures validation and test part, the baseline, and calibration before and after temperature scaling.

    Args:
        labels: True classes by split; `"train"` serves the baseline, `"validation"` the temperature.
        probabilities: Predicted probabilities by split, for `"validation"` and `"test"`.
        class_names: Names of the classes in index order.
        groups: Group names by split, where there are groups.
        sensitivity: Wanted share of the images of the second of two classes that are found, above 0, up to 1. The
            threshold that reaches it is chosen on validation and judged on test.
        seed: Seed of the bootstrap.

    Returns:
        The content of metrics.json: `validation` and `test` (None where there is no image), `baseline`, `calibration`
        (None without validation images) and `screening` (None without a wanted sensitivity).

    Raises:
        InputError: As `evaluate_probabilities`, or a sensitivity is wanted that cannot be had.
    """
    parts: dict[str, Any] = {}
    for split in ("validation", "test"):
        names = (groups or {}).get(split)
        empty = split not in probabilities or len(np.asarray(labels[split])) == 0
        parts[split] = None
        if not empty:
            parts[split] = evaluate_probabilities(
                labels[split], probabilities[split], class_names, groups=names, seed=seed
            )
    judged = next((split for split in ("test", "validation") if parts[split] is not None), None)
    truth: ArrayLike = labels[judged] if judged else []
    parts["baseline"] = majority_baseline(labels.get("train", truth), truth, class_names)
    arrays = {split: np.asarray(one) for split, one in probabilities.items()}
    parts["calibration"] = calibrate(labels, arrays) if parts["validation"] is not None else None
    parts["screening"] = screen(labels, arrays, sensitivity) if sensitivity is not None else None
    return ready_for_json(parts)


def _nothing_measured(class_names: Sequence[str]) -> dict[str, Any]:
    """The result without an image: the same keys, no figure."""
    certain = np.eye(len(class_names))
    measured = evaluate_probabilities(np.arange(len(class_names)), certain, class_names)
    kept = {"num_images": 0, "class_names": list(class_names), "per_class": [], "reliability_bins": [], "intervals": {}}
    return {name: kept.get(name) for name in measured}


def ready_for_json(value: Any) -> Any:
    """Turns NumPy values into Python's, rounds floats, and turns NaN and infinities into None."""
    if isinstance(value, dict):
        return {key: ready_for_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [ready_for_json(one) for one in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return round(float(value), DIGITS) + 0.0 if np.isfinite(value) else None
    return value
