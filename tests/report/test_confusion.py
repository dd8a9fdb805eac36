"""The confusion matrix as cells, and orders that bring its pattern out."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import confusion_matrix as reference

from tlkit.report.confusion import class_orders, confused_pairs, count_cells

LABELS = np.array([0, 0, 0, 1, 1, 3, 3, 3, 3])
PREDICTED = np.array([0, 1, 1, 1, 0, 3, 0, 0, 0])
NAMES = ("b", "C", "a", "d")


def test_cells_hold_the_matrix() -> None:
    confusion = count_cells(LABELS, PREDICTED, 4)
    np.testing.assert_array_equal(confusion.dense(), reference(LABELS, PREDICTED, labels=range(4)))
    assert confusion.support.tolist() == [3, 2, 0, 4]


def test_pairs_are_the_mistakes_most_frequent_first() -> None:
    assert confused_pairs(count_cells(LABELS, PREDICTED, 4)) == [(3, 0, 3), (0, 1, 2), (1, 0, 1)]


def test_orders_are_what_they_say() -> None:
    orders = class_orders(count_cells(LABELS, PREDICTED, 4), NAMES)
    assert orders["index"] == [0, 1, 2, 3]
    assert [NAMES[index] for index in orders["name"]] == ["a", "b", "C", "d"]
    assert orders["images"] == [3, 0, 1, 2]
    assert orders["recall"] == [3, 0, 1, 2]  # 1/4, 1/3, 1/2, and last the class without images.
    assert sorted(orders["alike"]) == [0, 1, 2, 3]


def test_classes_mixed_up_lie_side_by_side() -> None:
    labels = np.repeat(np.arange(8), 10)
    predicted = labels.copy()
    predicted[::3] = (labels[::3] + 4) % 8  # 0 with 4, 1 with 5, 2 with 6, 3 with 7.
    order = class_orders(count_cells(labels, predicted, 8), tuple("abcdefgh"))["alike"]
    assert all(abs(order.index(index) - order.index(index + 4)) == 1 for index in range(4))


def test_no_image_and_two_classes() -> None:
    empty = count_cells(np.zeros(0, np.int64), np.zeros(0, np.int64), 2)
    assert confused_pairs(empty) == []
    assert class_orders(empty, ("x", "y"))["alike"] == [0, 1]
