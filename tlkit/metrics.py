"""The figures of one part of the data: per image, per class and over all, each with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import sklearn.metrics
from numpy.typing import NDArray

from tlkit import intervals
from tlkit.intervals import Counts, Statistics, wilson_interval
from tlkit.screening import weighted_roc_auc

TOP_K = (2, 3, 5)
LOG_FLOOR = float(np.finfo(np.float32).eps)  # As scikit-learn clips float32 probabilities.
PROPORTIONS = ("accuracy", "balanced_accuracy", "macro_precision", "macro_f1")


@dataclass(frozen=True)
class Part:
    """The checked input of an evaluation.

    Attributes:
        labels: True classes, int64 of shape (n,).
        probabilities: Any float type, shape (n, classes); may be a memory map.
        predicted: The class with the highest probability, int64 of shape (n,).
        groups: Group numbers from 0, int64 of shape (n,), or None.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[Any]
    predicted: NDArray[np.int64]
    groups: NDArray[np.int64] | None

    @property
    def num_classes(self) -> int:
        return int(self.probabilities.shape[1])

    @property
    def num_units(self) -> int:
        """Number of units that are resampled: groups where there are groups, else images."""
        return len(self.labels) if self.groups is None else int(self.groups.max()) + 1


def image_figures(part: Part) -> Statistics:
    """Figures that are means over images: log-loss, Brier score and whether the truth is among the first k."""
    rows = np.arange(len(part.labels))
    own = np.asarray(part.probabilities[rows, part.labels], np.float64)
    squares = np.einsum("ij,ij->i", part.probabilities, part.probabilities, dtype=np.float64)
    figures = {"log_loss": -np.log(np.maximum(own, LOG_FLOOR)), "brier_score": squares - 2 * own + 1}
    better = _rank_of_truth(part)
    for k in TOP_K:
        if k < part.num_classes:
            figures[f"top_{k}_accuracy"] = (better < k).astype(np.float64)
    return figures


def _rank_of_truth(part: Part) -> NDArray[np.int64]:
    """Returns how many classes come before the true one; of equal probabilities the lower index does, as in argmax."""
    rank = np.zeros(len(part.labels), np.int64)
    own = part.probabilities[np.arange(len(part.labels)), part.labels]
    for index in range(part.num_classes):
        column = part.probabilities[:, index]
        rank += (column > own) | ((column == own) & (index < part.labels))
    return rank


def resample(part: Part, per_image: Statistics, seed: int) -> tuple[Counts, Statistics]:
    extra: dict[str, Callable[[NDArray[np.float64]], float]] = {}
    if part.num_classes == 2:
        values, ranks = np.unique(part.probabilities[:, 1], return_inverse=True)
        extra["roc_auc"] = partial(weighted_roc_auc, part.labels == 1, ranks, len(values))
    return intervals.bootstrap(
        part.labels, part.predicted, part.num_classes, per_image, extra=extra, groups=part.groups, seed=seed
    )


def headline_figures(part: Part, per_image: Statistics) -> dict[str, Any]:
    present = np.unique(part.labels)
    figures: dict[str, Any] = {
        "accuracy": sklearn.metrics.accuracy_score(part.labels, part.predicted),
        "balanced_accuracy": sklearn.metrics.recall_score(
            part.labels, part.predicted, labels=present, average="macro", zero_division=0
        ),
        **{name: float(values.mean()) for name, values in per_image.items()},
    }
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = sklearn.metrics.precision_recall_fscore_support(
            part.labels, part.predicted, labels=present, average=average, zero_division=0
        )
        figures |= {f"{average}_precision": precision, f"{average}_recall": recall, f"{average}_f1": f1}
    one_class_all_over = len(np.union1d(present, part.predicted)) == 1
    kappa = None if one_class_all_over else sklearn.metrics.cohen_kappa_score(part.labels, part.predicted)
    figures["cohen_kappa"] = kappa
    figures["matthews_correlation"] = (
        None if one_class_all_over else sklearn.metrics.matthews_corrcoef(part.labels, part.predicted)
    )
    return figures


def figure_intervals(part: Part, replicates: Statistics) -> dict[str, Any]:
    """Returns the interval of each figure by name: percentiles of the resamples.

    Where every resample agrees, they cannot tell the doubt that is left: a proportion then gets Wilson's interval
    over the units, any other figure none.
    """
    found: dict[str, Any] = {}
    for name, values in replicates.items():
        interval = intervals.percentile_interval(values)
        if interval is not None and interval[0] == interval[1]:
            is_proportion = name in PROPORTIONS or name.startswith("top_")
            hits = round(interval[0] * part.num_units)
            interval = wilson_interval(hits, part.num_units) if is_proportion else None
        found[name] = interval
    return found


def class_figures(part: Part, class_names: Sequence[str], counts: Counts) -> list[dict[str, Any]]:
    """Returns one row a class: counts, precision, recall, F1, intervals, and figures of one class against the rest."""
    every = np.arange(part.num_classes)
    precision, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(
        part.labels, part.predicted, labels=every, zero_division=np.nan
    )
    predicted = np.bincount(part.predicted, minlength=part.num_classes)
    hits = np.bincount(part.labels[part.labels == part.predicted], minlength=part.num_classes)
    rows = []
    for index, name in enumerate(class_names):
        row = {
            "class_name": name,
            "support": int(support[index]),
            "predicted": int(predicted[index]),
            "precision": precision[index],
            "recall": recall[index],
            "f1": f1[index],
        }
        if part.groups is None:
            row["precision_interval"] = wilson_interval(hits[index], predicted[index])
            row["recall_interval"] = wilson_interval(hits[index], support[index])
        else:
            hit_replicates = counts.hits[:, index]
            row["precision_interval"] = _share_interval(hit_replicates, counts.predicted[:, index])
            row["recall_interval"] = _share_interval(hit_replicates, counts.support[:, index])
        rows.append(row | _one_against_rest(part, index))
    return rows


def _share_interval(hits: NDArray[np.float64], trials: NDArray[np.float64]) -> tuple[float, float] | None:
    return intervals.percentile_interval(intervals.divide(hits, trials))


def _one_against_rest(part: Part, index: int) -> dict[str, float | None]:
    truth = part.labels == index
    if truth.all() or not truth.any():
        return {"roc_auc": None, "average_precision": None}
    scores = part.probabilities[:, index]
    return {
        "roc_auc": sklearn.metrics.roc_auc_score(truth, scores),
        "average_precision": sklearn.metrics.average_precision_score(truth, scores),
    }


def mean_of(per_class: list[dict[str, Any]], name: str) -> float | None:
    values = [row[name] for row in per_class if row[name] is not None]
    return float(np.mean(values)) if values else None


def confusion_matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Counts images by true class (rows) and predicted class (columns), int64 of shape (classes, classes)."""
    cells = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)
