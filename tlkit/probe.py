"""The convex head: regularised logistic regression on frozen features, the penalty chosen on validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlkit import ridge
from tlkit.console import OnProgress
from tlkit.errors import InputError
from tlkit.logistic import CHUNK, GRADIENT_TOLERANCE, Rotated, fit, log_loss_and_accuracy, rotate

# Penalties per training image on standardised features, strong to weak, three a decade. Weaker ones than the last
# interpolate the training set on every set measured; stronger ones than the first leave the prior.
PENALTIES = tuple(float(f"{10 ** (exponent / 3):.3g}") for exponent in range(3, -13, -1))
# Of large sets, along the path, where only the choice matters: losses are right to 1 %. The chosen head is then fitted
# to the full. Small sets, where it costs nothing and a loose fit would differ by more, are fitted so at every penalty.
PATH_TOLERANCE = 3e-4
LARGE = 2e7  # Images times features times classes.
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
    penalties: Sequence[float] = PENALTIES,
    rotated: Rotated | None = None,
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
        penalties: The path, strong to weak.
        rotated: `rotate(features)`, where it is at hand.
        on_progress: Called with (penalties tried, penalties at most).

    Returns:
        The chosen head, on the scale of the raw features, with the path that led to it.

    Raises:
        InputError: Fewer than two classes have training images, or features are not finite.
    """
    _check(features, labels)
    rotated = rotate(features) if rotated is None else rotated
    validation = rotated.transform(validation_features)
    importance = tuple(
        class_balance(part, num_classes)[part] if balance else None for part in (labels, validation_labels)
    )
    parts = (rotated.scores, labels, importance[0]), (validation, validation_labels, importance[1])
    tolerance = PATH_TOLERANCE if features.size * num_classes > LARGE else GRADIENT_TOLERANCE
    weights = np.zeros((len(rotated.variances) + 1, num_classes))
    best = weights
    path: list[PathPoint] = []
    for penalty in penalties:
        weights = fit(rotated, labels, num_classes, penalty, weights, importance=importance[0], tolerance=tolerance)
        path.append(_point(penalty, weights, parts))
        if on_progress:
            on_progress(len(path), len(penalties))
        chosen = int(np.argmin([point.val_loss for point in path]))
        if chosen == len(path) - 1:
            best = weights
        elif len(path) - 1 - chosen >= PATIENCE:
            break
    penalty = path[chosen].penalty
    best = fit(rotated, labels, num_classes, penalty, best, importance=importance[0])
    path[chosen] = _point(penalty, best, parts)
    kernel, bias = rotated.to_features(best)
    return Probe(kernel.astype("float32"), bias.astype("float32"), penalty, tuple(path))


@dataclass(frozen=True)
class HeadOptions:
    """How a convex head is fitted: `kind` is `"logistic"` or `"ridge"`; a `penalty` of None is chosen by measuring."""

    kind: str = "logistic"
    penalty: float | None = None
    balance: bool = False

    def __post_init__(self) -> None:
        if self.kind == "ridge" and self.balance:
            raise InputError(
                "Expected the logistic head with balance. Received: ridge, which weighs no class. Leave one of the two "
                "out."
            )


def fit_head(
    features: np.ndarray,
    labels: np.ndarray,
    validation_features: np.ndarray,
    validation_labels: np.ndarray,
    *,
    num_classes: int,
    wanted: HeadOptions,
    rotated: Rotated | None = None,
    on_progress: OnProgress | None = None,
) -> Probe:
    """Fits the convex head that is wanted; arguments as for `fit_probe`.

    Raises:
        InputError: As `fit_probe`.
    """
    data = (features, labels, validation_features, validation_labels)
    if wanted.kind == "ridge":
        return _fit_ridge_head(*data, num_classes, wanted.penalty, rotated)
    penalties = PENALTIES if wanted.penalty is None else (wanted.penalty,)
    return fit_probe(
        *data,
        num_classes=num_classes,
        balance=wanted.balance,
        penalties=penalties,
        rotated=rotated,
        on_progress=on_progress,
    )


def _fit_ridge_head(
    features: np.ndarray,
    labels: np.ndarray,
    validation_features: np.ndarray,
    validation_labels: np.ndarray,
    num_classes: int,
    penalty: float | None,
    rotated: Rotated | None,
) -> Probe:
    _check(features, labels)
    penalties = ridge.PENALTIES if penalty is None else (penalty,)
    found = ridge.fit_ridge(features, labels, num_classes=num_classes, penalties=penalties, rotated=rotated)
    weights = np.concatenate([found.kernel, found.bias[None]])
    scored = log_loss_and_accuracy(np.asarray(validation_features, np.float32), weights, validation_labels)
    point = PathPoint(found.penalty, found.log_loss, found.accuracy, *scored)  # In training each image is left out.
    return Probe(found.kernel, found.bias, found.penalty, (point,))


Scored = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # Scores, labels, importance.


def _point(penalty: float, weights: np.ndarray, parts: tuple[Scored, Scored]) -> PathPoint:
    found = (log_loss_and_accuracy(scores, weights, labels, importance) for scores, labels, importance in parts)
    return PathPoint(penalty, *(value for pair in found for value in pair))


def class_balance(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns a weight for each class, float64 (classes,), that makes every class count the same.

    They are 1 on average over the images, and 1 for a class without any.

    Source: G. King and L. Zeng, "Logistic regression in rare events data", 2001.
    """
    counts = np.bincount(labels, minlength=num_classes)
    present = np.count_nonzero(counts)
    return np.where(counts > 0, len(labels) / (present * np.maximum(counts, 1)), 1.0)


def _check(features: np.ndarray, labels: np.ndarray) -> None:
    present = len(np.unique(labels))
    if present < 2:
        raise InputError(f"Expected training images of at least two classes. Received: {present} class(es).")
    if not all(np.isfinite(features[start : start + CHUNK]).all() for start in range(0, len(features), CHUNK)):
        raise InputError("Expected finite features. Received NaN or infinite ones: are the weights or images damaged?")
