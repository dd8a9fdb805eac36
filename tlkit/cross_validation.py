"""The convex head in k folds: what it says of each image that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from tlkit.console import OnProgress
from tlkit.errors import InputError
from tlkit.logistic import fit, rotate

# A fifth of the steps that a head for use takes. Accuracies and the labels found wrong were the same on digits at 3e-4
# as at 1e-5; a head that starts from nothing and stops early is regularised a little more, not less.
TOLERANCE = 3e-4


@dataclass(frozen=True)
class CrossValidation:
    """What k heads gave, each on the fold that it was not fitted to.

    Attributes:
        probabilities: float32 (images, classes); each row comes from the head that has not seen the image.
        fold_accuracies: Share right in each fold.
        penalty: The penalty of all heads.
    """

    probabilities: np.ndarray
    fold_accuracies: tuple[float, ...]
    penalty: float

    @property
    def accuracy(self) -> float:
        """Mean accuracy of the folds, 0 to 1."""
        return float(np.mean(self.fold_accuracies))

    @property
    def standard_error(self) -> float:
        """Of that mean: the folds' standard deviation over the root of their number. Folds share training images, so
        that it is a little too small."""
        return float(np.std(self.fold_accuracies, ddof=1) / np.sqrt(len(self.fold_accuracies)))


def cross_validate(
    features: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    *,
    num_classes: int,
    penalty: float,
    on_progress: OnProgress | None = None,
) -> CrossValidation:
    """Fits the head of `tlkit.probe` k times, each time to all folds but one, and judges it on that one.

    Features are standardised and rotated once, over all images: labels have no part in that.

    Args:
        features: float (images, features).
        labels: int (images,), values 0 to num_classes - 1.
        folds: Fold of each image, int (images,); images that belong together must share one.
        num_classes: Number of classes.
        penalty: As `tlkit.probe.Probe.penalty`, greater than 0.
        on_progress: Called with (folds done, folds in all).

    Raises:
        InputError: Fewer than two folds or classes.
    """
    numbers = np.unique(folds)
    if len(numbers) < 2 or len(np.unique(labels)) < 2:
        raise InputError(
            "Expected images of at least two classes in at least two folds. "
            f"Received: {len(np.unique(labels))} class(es), {len(numbers)} fold(s)."
        )
    rotated = rotate(features)
    probabilities = np.empty((len(labels), num_classes), np.float32)
    accuracies = []
    for done, fold in enumerate(numbers, start=1):
        held_out = folds == fold
        start = np.zeros((len(rotated.variances) + 1, num_classes))
        importance = ~held_out / np.mean(~held_out)
        weights = fit(rotated, labels, num_classes, penalty, start, importance=importance, tolerance=TOLERANCE)
        judged = softmax(rotated.scores[held_out] @ weights[:-1] + weights[-1], axis=1)
        probabilities[held_out] = judged
        accuracies.append(float(np.mean(judged.argmax(axis=1) == labels[held_out])))
        if on_progress:
            on_progress(done, len(numbers))
    return CrossValidation(probabilities, tuple(accuracies), penalty)
