"""Which classes are taken for which: cells, pairs, and orders of the classes that bring the pattern out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix as its non-empty cells.

    Attributes:
        num_classes: Number of classes.
        true: True class of each cell, int64 of shape (cells,).
        predicted: Predicted class of each cell, int64 of shape (cells,).
        count: Images in each cell, int64 of shape (cells,).
    """

    num_classes: int
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    count: NDArray[np.int64]

    @property
    def support(self) -> NDArray[np.int64]:
        """Images of each class, int64 of shape (classes,)."""
        return np.bincount(self.true, self.count, minlength=self.num_classes).astype(np.int64)

    def dense(self) -> NDArray[np.int64]:
        """Returns the matrix, true classes down, int64 of shape (classes, classes)."""
        matrix = np.zeros((self.num_classes, self.num_classes), np.int64)
        matrix[self.true, self.predicted] = self.count
        return matrix


def count_cells(labels: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> Confusion:
    """Counts the images of every pair of true and predicted class, both int64 of shape (n,)."""
    cells, count = np.unique(labels * num_classes + predicted, return_counts=True)
    return Confusion(num_classes, cells // num_classes, cells % num_classes, count.astype(np.int64))


def confused_pairs(confusion: Confusion) -> list[tuple[int, int, int]]:
    """Returns (true class, predicted class, images) of the mistakes, most frequent first."""
    wrong = np.flatnonzero(confusion.true != confusion.predicted)
    order = wrong[np.argsort(-confusion.count[wrong], kind="stable")]
    columns = (confusion.true[order], confusion.predicted[order], confusion.count[order])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def class_orders(confusion: Confusion, class_names: tuple[str, ...]) -> dict[str, list[int]]:
    """Returns orders of the classes for the matrix, each a permutation of class indices.

    Args:
        confusion: The matrix.
        class_names: Names by index.

    Returns:
        `index` (as the model has them), `name`, `images` (most first), `recall` (lowest first, classes without images
        last), `alike` (classes taken for one another beside each other).
    """
    support = confusion.support
    hits = np.zeros(confusion.num_classes)
    right = confusion.true == confusion.predicted
    hits[confusion.true[right]] = confusion.count[right]
    recall = np.divide(hits, support, out=np.full(confusion.num_classes, 2.0), where=support > 0)
    every = range(confusion.num_classes)
    return {
        "index": list(every),
        "name": sorted(every, key=lambda index: (class_names[index].casefold(), index)),
        "images": np.argsort(-support, kind="stable").tolist(),
        "recall": np.argsort(recall, kind="stable").tolist(),
        "alike": _order_by_likeness(confusion),
    }


def _order_by_likeness(confusion: Confusion) -> list[int]:
    """Orders the leaves of an average-linkage tree over how often two classes are taken for each other."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    if confusion.num_classes < 3:
        return list(range(confusion.num_classes))
    matrix = confusion.dense().astype(np.float64)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    distance = 1 - (shares + shares.T) / 2
    upper = np.triu_indices(confusion.num_classes, 1)
    return leaves_list(linkage(distance[upper], "average")).tolist()
