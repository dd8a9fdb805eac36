"""Calibration: whether a stated confidence is met by the share of right answers, and temperature scaling to mend it.

Sources: C. Guo et al., "On calibration of modern neural networks", ICML 2017; equal-mass bins after
K. Nguyen and B. O'Connor, "Posterior calibration and exploratory analysis for natural language processing
models", EMNLP 2015.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import scipy.optimize
import scipy.special
from numpy.typing import ArrayLike, NDArray

from tlkit.errors import InputError
from tlkit.intervals import wilson_interval

MOST_BINS = 15  # The number the literature uses.
IMAGES_A_BIN = 20  # With fewer a bin's share of right answers is mostly noise.
ROWS_AT_ONCE = 4096  # Bounds the float64 copies, whatever the number of images.
TEMPERATURES = (0.05, 20.0)
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)


def reliability_bins(confidence: ArrayLike, correct: ArrayLike) -> list[dict[str, Any]]:
    """Sorts images into bins of (nearly) equal number by confidence and measures each.

    Equal confidences always share a bin, so the order of the images has no influence.

    Args:
        confidence: Probability of the predicted class, 0 to 1, shape (n,).
        correct: Whether the prediction was right, bool of shape (n,).

    Returns:
        One dict a bin in order of confidence: `count`, `confidence` (mean), `accuracy`, `low` and `high` (its 95 %
        Wilson interval).
    """
    confidence = np.asarray(confidence, np.float64)
    correct = np.asarray(correct, bool)
    if confidence.size == 0:
        return []
    num_bins = int(np.clip(confidence.size // IMAGES_A_BIN, 1, MOST_BINS))
    inner_edges = np.unique(np.quantile(confidence, np.arange(1, num_bins) / num_bins))
    bin_of_image = np.searchsorted(inner_edges, confidence, side="right")
    counts = np.bincount(bin_of_image, minlength=len(inner_edges) + 1)
    confidences = np.bincount(bin_of_image, confidence, minlength=len(counts))
    hits = np.bincount(bin_of_image, correct, minlength=len(counts))
    bins = []
    for count, total_confidence, total_hits in zip(counts, confidences, hits, strict=True):
        interval = wilson_interval(total_hits, count)
        if interval is not None:
            figures = {"confidence": total_confidence / count, "accuracy": total_hits / count}
            bins.append({"count": int(count), **figures, "low": interval[0], "high": interval[1]})
    return bins


def calibration_error(bins: list[dict[str, Any]]) -> float | None:
    """Returns the expected calibration error of reliability bins, 0 (best) to 1; None without images."""
    total = sum(one["count"] for one in bins)
    if not total:
        return None
    return float(sum(one["count"] * abs(one["confidence"] - one["accuracy"]) for one in bins) / total)


def log_probabilities(probabilities: NDArray[Any]) -> NDArray[np.float32]:
    """Returns log(p), with zeros lifted to the smallest float32, so that every value is finite."""
    return np.log(np.maximum(probabilities, SMALLEST_PROBABILITY)).astype(np.float32)


def _blocks(scores: NDArray[Any], labels: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    for start in range(0, len(scores), ROWS_AT_ONCE):
        stop = start + ROWS_AT_ONCE
        yield np.asarray(scores[start:stop], np.float64), labels[start:stop]


def fit_temperature(logits_or_log_probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Finds the temperature T for which softmax(logits / T) has the lowest log-loss, with little evidence left near 1.

    The logarithm of T has a normal prior of mean 0 and deviation 1: some hundred images overrule it, but ten that are
    all right no longer make a model arbitrarily sure of itself.

    Log-probabilities serve as well as logits, for softmax does not see a constant added to a row. T above 1 means
    that the model is too sure of itself. Fit it on validation images, never on test images.

    Args:
        logits_or_log_probabilities: Scores, finite, shape (n, classes).
        labels: True class of each image, shape (n,).

    Returns:
        The temperature, between 0.05 and 20.

    Raises:
        InputError: If there is no image, or a score is not finite.
    """
    scores = np.asarray(logits_or_log_probabilities)
    labels = np.asarray(labels, np.int64)
    if scores.ndim != 2 or len(scores) == 0 or len(scores) != len(labels):
        raise InputError(
            f"Expected scores (n, classes) and labels (n,), n > 0. Received: {scores.shape}, {labels.shape}."
        )
    if not np.isfinite(scores).all():
        raise InputError("Expected finite logits or log-probabilities to fit a temperature. Received: NaN or infinity.")

    def log_loss(log_temperature: float) -> float:
        total = log_temperature**2 / 2
        for block, block_labels in _blocks(scores, labels):
            scaled = block * np.exp(-log_temperature)
            own = scaled[np.arange(len(block)), block_labels]
            total += float((scipy.special.logsumexp(scaled, axis=1) - own).sum())
        return total / len(labels)

    bounds = (float(np.log(TEMPERATURES[0])), float(np.log(TEMPERATURES[1])))
    found = scipy.optimize.minimize_scalar(log_loss, bounds=bounds, method="bounded", options={"xatol": 1e-5})
    return float(np.exp(found.x))


def apply_temperature(probabilities: NDArray[Any], temperature: float) -> NDArray[np.float32]:
    """Returns the probabilities softmax(log(p) / T), float32 of the same shape; the ranking is unchanged."""
    scaled = np.empty(probabilities.shape, np.float32)
    for start in range(0, len(probabilities), ROWS_AT_ONCE):
        block = log_probabilities(probabilities[start : start + ROWS_AT_ONCE])
        scaled[start : start + ROWS_AT_ONCE] = scipy.special.softmax(block.astype(np.float64) / temperature, axis=1)
    return scaled


def measure_calibration(labels: ArrayLike, probabilities: NDArray[Any]) -> dict[str, Any]:
    """Measures calibration: `log_loss`, `expected_calibration_error` and the reliability `bins`."""
    labels = np.asarray(labels, np.int64)
    if len(labels) == 0:
        return {"log_loss": None, "expected_calibration_error": None, "bins": []}
    own = np.asarray(probabilities[np.arange(len(labels)), labels], np.float64)
    bins = reliability_bins(np.max(probabilities, axis=1), np.argmax(probabilities, axis=1) == labels)
    return {
        "log_loss": float(-np.log(np.maximum(own, np.finfo(np.float32).eps)).mean()),
        "expected_calibration_error": calibration_error(bins),
        "bins": bins,
    }


def calibrate(labels: Mapping[str, ArrayLike], probabilities: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Fits the temperature on the validation part and measures calibration before and after on each part.

    Returns:
        `temperature`, and by split `before` and `after` (see `measure_calibration`).
    """
    temperature = fit_temperature(log_probabilities(probabilities["validation"]), labels["validation"])
    result: dict[str, Any] = {"temperature": temperature}
    for split in ("validation", "test"):
        if split in probabilities and len(np.asarray(labels[split])):
            scaled = apply_temperature(probabilities[split], temperature)
            result[split] = {
                "before": measure_calibration(labels[split], probabilities[split]),
                "after": measure_calibration(labels[split], scaled),
            }
    return result
