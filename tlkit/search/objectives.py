"""What a search makes better: figures of validation images, and whether more or less of each is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.calibration import calibration_error, log_probabilities, reliability_bins
from tlkit.config import OBJECTIVES
from tlkit.errors import unknown_name
from tlkit.intervals import RESAMPLES, count_statistics, percentile_interval, resample_weights
from tlkit.intervals import Counts as Confusion

Labels = NDArray[np.int64]
Probabilities = NDArray[Any]


@dataclass(frozen=True)
class Objective:
    """One figure.

    Attributes:
        name: As the user names it.
        direction: `"max"` or `"min"`, KerasTuner's words.
    """

    name: str
    direction: str

    def is_better(self, score: float, other: float) -> bool:
        """Tells whether a score is better than another."""
        return score > other if self.direction == "max" else score < other

    def gain(self, score: float, other: float) -> float:
        """Returns by how much a score is better than another; negative where it is worse."""
        return score - other if self.direction == "max" else other - score


def get_objective(name: str) -> Objective:
    """Returns the objective of a name.

    Raises:
        InputError: There is none.
    """
    if name not in OBJECTIVES:
        raise unknown_name("objective", name, OBJECTIVES)
    return Objective(name, "min" if name in ("log_loss", "ece") else "max")


def measure(labels: Labels, probabilities: Probabilities) -> dict[str, float]:
    """Returns all objectives of some predictions.

    Args:
        labels: True classes, int64 (n,).
        probabilities: Float (n, classes).
    """
    return {name: figure(labels, probabilities) for name, figure in FIGURES.items()}


def _accuracy(labels: Labels, probabilities: Probabilities) -> float:
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def _balanced_accuracy(labels: Labels, probabilities: Probabilities) -> float:
    size = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    hits, support, named = (
        np.bincount(one, minlength=size).astype(np.float64) for one in (labels[labels == predicted], labels, predicted)
    )
    return float(count_statistics(Confusion(hits, support, named))["balanced_accuracy"])


def _log_loss(labels: Labels, probabilities: Probabilities) -> float:
    return float(-log_probabilities(probabilities[np.arange(len(labels)), labels]).mean(dtype=np.float64))


def _calibration_error(labels: Labels, probabilities: Probabilities) -> float:
    bins = reliability_bins(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)
    return float(calibration_error(bins) or 0.0)


FIGURES: dict[str, Callable[[Labels, Probabilities], float]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "log_loss": _log_loss,
    "ece": _calibration_error,
}


def paired_gain(
    objective: Objective,
    labels: Labels,
    winners: list[Probabilities],
    defaults: list[Probabilities],
    *,
    units: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> Mapping[str, Any]:
    """Tells by how much one recipe beats another on the same images, with a 95 % interval by a paired bootstrap.

    Both are judged by the mean of their scores over seeds. Each bootstrap sample draws images and, where there are
    several, seeds: the interval holds what other images and other seeds would have changed.

    Args:
        objective: What is measured.
        labels: True classes, int64 (n,).
        winners: Probabilities of the one, float (n, classes), one array a seed.
        defaults: Of the other.
        units: Group number of each image, or None.
        seed: Of the bootstrap.

    Returns:
        `winner`, `default` (mean scores), `gain` and `interval`, JSON-able.
    """
    figure = FIGURES[objective.name]
    generator = np.random.default_rng(seed)
    sides = (winners, defaults)
    replicates = np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        weights = resample_weights(len(labels), units, generator).astype(np.int64)
        rows = np.repeat(np.arange(len(labels)), weights)
        means = []
        for side in sides:
            drawn = generator.integers(len(side), size=len(side))
            counts = np.bincount(drawn, minlength=len(side))
            scores = [count * figure(labels[rows], side[one][rows]) for one, count in enumerate(counts) if count]
            means.append(sum(scores) / len(side))
        replicates[index] = objective.gain(*means)
    scores = [float(np.mean([figure(labels, one) for one in side])) for side in sides]
    interval = percentile_interval(replicates)
    return {
        "winner": scores[0],
        "default": scores[1],
        "gain": objective.gain(*scores),
        "interval": list(interval) if interval else None,
        "images": len(labels),
        "seeds": [len(side) for side in sides],
    }
