"""Intervals for figures measured on a sample of images: the bootstrap, and Wilson's for proportions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 1000
NORMAL_QUANTILE = 1.959963984540054  # Two-sided 95 % of the standard normal distribution.

Statistics = dict[str, NDArray[np.float64]]


def wilson_interval(hits: float, trials: float) -> tuple[float, float] | None:
    """Returns the 95 % score interval of a proportion, or None without a trial.

    It stays honest where the bootstrap collapses: 20 right of 20 gives 0.84 to 1, not 1 to 1.
    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.

    Args:
        hits: Number of successes, 0 to `trials`.
        trials: Number of trials.
    """
    if trials <= 0:
        return None
    square = NORMAL_QUANTILE**2
    share = hits / trials
    centre = (share + square / (2 * trials)) / (1 + square / trials)
    half = NORMAL_QUANTILE * np.sqrt(share * (1 - share) / trials + square / (4 * trials**2)) / (1 + square / trials)
    low = 0.0 if hits <= 0 else max(0.0, centre - half)
    high = 1.0 if hits >= trials else min(1.0, centre + half)
    return float(low), float(high)


def percentile_interval(replicates: NDArray[np.float64]) -> tuple[float, float] | None:
    """Returns the 95 % percentile interval of bootstrap replicates; undefined replicates are left out."""
    defined = replicates[np.isfinite(replicates)]
    if defined.size == 0:
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def resample_weights(
    num_images: int, unit_of_image: NDArray[np.int64] | None, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Returns how often each image occurs in one bootstrap sample, as float64 of shape (num_images,).

    Args:
        num_images: Number of images.
        unit_of_image: Group number of each image, 0 to G-1, or None to resample images one by one.
            Images of one group are drawn together, for they are not independent.
        generator: Source of randomness.
    """
    num_units = num_images if unit_of_image is None else int(unit_of_image.max()) + 1
    draws = generator.integers(num_units, size=num_units)
    counts = np.bincount(draws, minlength=num_units).astype(np.float64)
    return counts if unit_of_image is None else counts[unit_of_image]


def number_groups(groups: Sequence[str] | None) -> NDArray[np.int64] | None:
    """Numbers the groups of images from 0, as `resample_weights` takes them.

    Args:
        groups: Name of the group of each image, `""` for none: such an image is a group of its own.

    Returns:
        int64 (n,), or None where nothing is grouped.
    """
    if groups is None or not any(groups):
        return None
    names = [("group", name) if name else ("image", str(index)) for index, name in enumerate(groups)]
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def mean_replicates(
    values: NDArray[np.float64], unit_of_image: NDArray[np.int64] | None = None, seed: int = 0
) -> NDArray[np.float64]:
    """Returns the means of several figures over bootstrap samples of the same images, and so paired.

    Args:
        values: One row a figure, one column an image: (figures, n).
        unit_of_image: As `resample_weights` takes it.
        seed: Seed of the resampling.

    Returns:
        float64 (figures, resamples).
    """
    generator = np.random.default_rng(seed)
    replicates = np.empty((len(values), RESAMPLES))
    for index in range(RESAMPLES):
        weights = resample_weights(values.shape[1], unit_of_image, generator)
        replicates[:, index] = values @ weights / weights.sum()
    return replicates


@dataclass(frozen=True)
class Counts:
    """What bootstrap samples keep of the confusion matrix, each float64 of shape (resamples, classes).

    Accuracy, precision, recall, F1, kappa and Matthews' correlation need no more than these, so memory
    does not grow with the number of images nor with the square of the number of classes.
    """

    hits: NDArray[np.float64]  # Images of the class that were named right.
    support: NDArray[np.float64]  # Images of the class.
    predicted: NDArray[np.float64]  # Images named as the class.


def divide(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divides, giving NaN, without a warning, where the denominator is zero."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator != 0)


def mean_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Averages the last axis over its defined values; NaN where there is none."""
    defined = np.isfinite(values)
    return divide(np.where(defined, values, 0.0).sum(-1), defined.sum(-1).astype(np.float64))


def count_statistics(counts: Counts) -> Statistics:
    """Computes the figures that follow from the counts, one a resample (shape (resamples,)).

    Averages over classes leave out classes without images, as scikit-learn's balanced accuracy does; a class that
    has images and is never predicted counts with precision 0.
    """
    total = counts.support.sum(-1)
    present = counts.support > 0
    precision = np.where(present, np.nan_to_num(divide(counts.hits, counts.predicted)), np.nan)
    f1 = np.where(present, divide(2 * counts.hits, counts.support + counts.predicted), np.nan)
    agreement = counts.hits.sum(-1) * total
    chance = (counts.support * counts.predicted).sum(-1)
    spread = (total**2 - (counts.support**2).sum(-1)) * (total**2 - (counts.predicted**2).sum(-1))
    return {
        "accuracy": divide(counts.hits.sum(-1), total),
        "balanced_accuracy": mean_defined(divide(counts.hits, counts.support)),
        "macro_precision": mean_defined(precision),
        "macro_f1": mean_defined(f1),
        "cohen_kappa": divide(agreement - chance, total**2 - chance),
        # Gorodkin's multi-class form, "Comparing two K-category assignments by a K-category correlation", 2004.
        "matthews_correlation": divide(agreement - chance, np.sqrt(spread)),
    }


def bootstrap(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    num_classes: int,
    per_image: Statistics,
    *,
    extra: dict[str, Callable[[NDArray[np.float64]], float]],
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> tuple[Counts, Statistics]:
    """Draws bootstrap samples of images (of groups, where given) and measures each.

    Args:
        labels: True class of each image, int64 of shape (n,).
        predicted: Predicted class of each image, int64 of shape (n,).
        num_classes: Number of classes.
        per_image: Figures that are means over images, each float64 of shape (n,).
        extra: Figures that need the images' weights (float64 of shape (n,)) to be computed.
        groups: Group number of each image, or None.
        seed: Seed of the resampling.

    Returns:
        The counts of every resample, and by name the figures of every resample, shape (resamples,).
    """
    generator = np.random.default_rng(seed)
    counts = Counts(*(np.zeros((RESAMPLES, num_classes)) for _ in range(3)))
    figures = {name: np.full(RESAMPLES, np.nan) for name in (*per_image, *extra)}
    right = labels == predicted
    for index in range(RESAMPLES):
        weights = resample_weights(len(labels), groups, generator)
        counts.hits[index] = np.bincount(labels[right], weights[right], minlength=num_classes)
        counts.support[index] = np.bincount(labels, weights, minlength=num_classes)
        counts.predicted[index] = np.bincount(predicted, weights, minlength=num_classes)
        for name, values in per_image.items():
            figures[name][index] = weights @ values / weights.sum()
        for name, measure in extra.items():
            figures[name][index] = measure(weights)
    return counts, {**count_statistics(counts), **figures}
