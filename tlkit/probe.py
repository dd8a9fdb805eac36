"""The convex head: regularised logistic regression on frozen features, the penalty chosen on validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from tlkit.console import OnProgress
from tlkit.errors import InputError
from tlkit.logistic import fit, rotate

# Penalties per training image on standardised features, strong to weak, three a decade. Weaker ones than the last
# interpolate the training set on every set measured; stronger ones than the first leave the prior.
PENALTIES = tuple(float(f"{10 ** (exponent / 3):.3g}") for exponent in range(3, -13, -1))
PATIENCE = 3  # Penalties without a better validation loss before the path is left.


@dataclass(frozen=True)
class PathPoint:
    """What one penalty gave. Losses are mean negative log-likelihoods in nats, accuracies shares from 0 to 1."""

    penalty: float
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True)
class Probe:
    """A linear classifier on raw (not standardised) features.

    Attributes:
        kernel: float32 of shape (features, classes).
        bias: float32 of shape (classes,).
        penalty: The chosen penalty.
        path: What every penalty tried gave, strong to weak.
    """

    kernel: np.ndarray
    bias: np.ndarray
    penalty: float
    path: tuple[PathPoint, ...]


def fit_probe(
    features: np.ndarray,
    labels: np.ndarray,
    validation_features: np.ndarray,
    validation_labels: np.ndarray,
    *,
    num_classes: int,
    balance: bool = False,
    on_progress: OnProgress | None = None,
) -> Probe:
    """Fits a multinomial logistic regression on a path of L2 penalties and keeps the best on validation.

    Minimises `mean(-log p(label | features)) + penalty / 2 * ||W||^2` over standardised features (zero mean, unit
    variance on the training part), by L-BFGS, each penalty warm-started from the one before. The loss is convex:
    the result does not depend on a seed. The best is that of the lowest validation loss.

    Args:
        features: float of shape (images, features), the training part.
        labels: int of shape (images,), values 0 to num_classes - 1.
        validation_features: float of shape (validation images, features).
        validation_labels: int of shape (validation images,).
        num_classes: Number of classes; those without a training image are given low probabilities.
        balance: Whether every class weighs the same, in the fit and in the validation loss.
        on_progress: Called with (penalties tried, penalties at most).

    Returns:
        The chosen head, on the scale of the raw features, with the path that led to it.

    Raises:
        InputError: Fewer than two classes have training images, or features are not finite.
    """
    _check(features, labels)
    mean, scale = _standardisation(features)
    rotated = rotate((features - mean) / scale)
    validation = ((validation_features - mean) / scale) @ rotated.basis
    importance = tuple(_importance(part) if balance else None for part in (labels, validation_labels))
    weights = np.zeros((len(rotated.variances) + 1, num_classes))
    best = weights
    path: list[PathPoint] = []
    for penalty in PENALTIES:
        weights = fit(rotated, labels, num_classes, penalty, weights, importance=importance[0])
        train_score = _score(rotated.scores, weights, labels, importance[0])
        validation_score = _score(validation, weights, validation_labels, importance[1])
        path.append(PathPoint(penalty, *train_score, *validation_score))
        if on_progress:
            on_progress(len(path), len(PENALTIES))
        chosen = int(np.argmin([point.val_loss for point in path]))
        if chosen == len(path) - 1:
            best = weights
        elif len(path) - 1 - chosen >= PATIENCE:
            break
    kernel = rotated.basis @ best[:-1] / scale[:, None]
    bias = best[-1] - mean @ kernel
    return Probe(kernel.astype("float32"), bias.astype("float32"), path[chosen].penalty, tuple(path))


def _check(features: np.ndarray, labels: np.ndarray) -> None:
    present = len(np.unique(labels))
    if present < 2:
        raise InputError(f"Expected training images of at least two classes. Received: {present} class(es).")
    if not np.isfinite(features).all():
        raise InputError("Expected finite features. Received NaN or infinite ones: are the weights or images damaged?")


def _standardisation(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation by feature; a constant feature is left on its scale."""
    mean = features.mean(axis=0, dtype="float64")
    scale = features.std(axis=0, dtype="float64")
    return mean, np.where(scale > 1e-8 * (1 + np.abs(mean)), scale, 1.0)


def _importance(labels: np.ndarray) -> np.ndarray:
    """Returns weights of images, 1 on average, that give every class the same sum."""
    present, counts = np.unique(labels, return_counts=True)
    return (len(labels) / (len(present) * counts))[np.searchsorted(present, labels)]


def _score(
    scores: np.ndarray, weights: np.ndarray, labels: np.ndarray, importance: np.ndarray | None
) -> tuple[float, float]:
    """Returns mean negative log-likelihood, weighted by importance, and plain accuracy."""
    logits = scores @ weights[:-1] + weights[-1]
    picked = logits[np.arange(len(labels)), labels]
    losses = logsumexp(logits, axis=1) - picked
    return float(np.average(losses, weights=importance)), float(np.mean(logits.argmax(axis=1) == labels))
