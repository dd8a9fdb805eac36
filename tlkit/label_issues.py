"""Confident learning: which labels are likely wrong, told by the predictions of models that have not seen the image.

Source: C. Northcutt, L. Jiang, I. Chuang, "Confident learning: estimating uncertainty in dataset labels", Journal of
Artificial Intelligence Research 70, 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelIssues:
    """Images whose label is likely wrong, the likeliest first.

    Attributes:
        rows: Positions of the images, int64 (issues,).
        suggested: The class that each is likelier of, int64 (issues,).
        confidence: Probability of the suggested class, float64 (issues,).
        given: Probability of the class it is labelled with, float64 (issues,).
    """

    rows: NDArray[np.int64]
    suggested: NDArray[np.int64]
    confidence: NDArray[np.float64]
    given: NDArray[np.float64]


def find_label_issues(labels: NDArray[np.int64], probabilities: NDArray) -> LabelIssues:
    """Finds the images off the diagonal of the confident joint.

    A class claims an image when it is given at least the mean probability that images labelled so are given for it.
    That asks more of classes that the model is sure of and less of those it is not. An image is likely mislabelled
    where the most probable of the classes that claim it is not its label's.

    Args:
        labels: Class of each image as labelled, int64 (n,), values 0 to classes - 1.
        probabilities: Out-of-sample, float (n, classes): no row from a model that was fitted to that image.

    Returns:
        The images, by how much more probable the suggested class is than the labelled one.
    """
    probabilities = np.asarray(probabilities, np.float64)
    own = probabilities[np.arange(len(labels)), labels]
    num_classes = probabilities.shape[1]
    count = np.bincount(labels, minlength=num_classes)
    thresholds = np.full(num_classes, np.inf)  # A class without images claims none.
    np.divide(np.bincount(labels, own, minlength=num_classes), count, out=thresholds, where=count > 0)
    claimed = np.where(probabilities >= thresholds, probabilities, -1.0)
    suggested = claimed.argmax(axis=1)
    confidence = claimed.max(axis=1)
    rows = np.flatnonzero((confidence >= 0) & (suggested != labels) & (confidence > own))
    order = rows[np.argsort(own[rows] - confidence[rows], kind="stable")]
    return LabelIssues(order, suggested[order], confidence[order], own[order])
