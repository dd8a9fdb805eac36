"""Ridge regression on one-hot labels: the head in closed form, with the exact leave-one-out prediction of every image.

In the basis of the principal components a penalty costs one product, so that a path of them and the leave-one-out
predictions of each come nearly free: no image is needed to choose the penalty, which few-shot sets cannot spare.

Sources: A. Hoerl, R. Kennard, Technometrics 12, 1970; leave-one-out by D. Allen's PRESS, Technometrics 16, 1974.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from tlkit.errors import InputError
from tlkit.logistic import Rotated, rotate

PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(6, -9, -1))  # Per image, on standardised features.
SHARPEST = 1e3  # Factor on ridge scores, which lie between 0 and 1, before the softmax.


@dataclass(frozen=True)
class Ridge:
    """A linear classifier on raw features, fitted by least squares to one-hot labels.

    Attributes:
        kernel: float32 of shape (features, classes).
        bias: float32 of shape (classes,).
        penalty: The chosen penalty.
        accuracy: Share of training images right when each is left out.
        log_loss: Mean negative log-likelihood of the same, in nats.
    """

    kernel: np.ndarray
    bias: np.ndarray
    penalty: float
    accuracy: float
    log_loss: float


def fit_ridge(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    penalties: Sequence[float] = PENALTIES,
    rotated: Rotated | None = None,
) -> Ridge:
    """Fits a ridge regression for each penalty of a path and keeps the one of the least leave-one-out squared error.

    Scores are then multiplied by the factor under which the softmax makes the left-out labels most likely.

    Args:
        features: float (images, features).
        labels: int (images,), values 0 to num_classes - 1.
        num_classes: Number of classes.
        penalties: The path.
        rotated: `rotate(features)`, where it is at hand.

    Raises:
        InputError: Fewer than two classes have images.
    """
    if len(np.unique(labels)) < 2:
        raise InputError("Expected training images of at least two classes. Received: 1 class.")
    rotated = rotate(features) if rotated is None else rotated
    targets = np.eye(num_classes)[labels]
    mean = targets.mean(axis=0)
    products = rotated.scores.T.astype(np.float64) @ (targets - mean) / len(labels)
    found = [_left_out(rotated, products, targets, mean, penalty) for penalty in penalties]
    errors = [float(np.mean((targets - predicted) ** 2)) for predicted in found]
    chosen = int(np.argmin(errors))
    penalty, predicted = penalties[chosen], found[chosen]
    factor = _best_factor(predicted, labels)
    weights = np.concatenate([products / (rotated.variances[:, None] + penalty), mean[None]]) * factor
    kernel, bias = rotated.to_features(weights)
    return Ridge(
        kernel.astype("float32"),
        bias.astype("float32"),
        penalty,
        accuracy=float(np.mean(predicted.argmax(axis=1) == labels)),
        log_loss=_log_loss(factor, predicted, labels),
    )


def _left_out(
    rotated: Rotated, products: np.ndarray, targets: np.ndarray, mean: np.ndarray, penalty: float
) -> np.ndarray:
    """Returns each image's scores from the fit without it: y - (y - f) / (1 - h), h being its leverage."""
    damped = rotated.variances + penalty
    fitted = rotated.scores @ (products / damped[:, None]) + mean
    leverage = (rotated.scores**2 @ (1 / damped) + 1) / len(targets)
    return targets - (targets - fitted) / np.maximum(1 - leverage, 1e-9)[:, None]


def _best_factor(scores: np.ndarray, labels: np.ndarray) -> float:
    bounds = (0.0, np.log(SHARPEST))
    found = minimize_scalar(lambda log: _log_loss(np.exp(log), scores, labels), bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def _log_loss(factor: float, scores: np.ndarray, labels: np.ndarray) -> float:
    return float(-log_softmax(factor * scores, axis=1)[np.arange(len(labels)), labels].mean())
