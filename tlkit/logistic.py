"""Multinomial logistic regression along a path of penalties, fast where features outnumber everything else.

The penalty is isotropic, so features may be rotated freely: in the basis of their principal components the Hessian is
nearly diagonal. Its diagonal, at the optimum of the penalty before, scales the weights of each component and class,
which leaves L-BFGS a problem that is well conditioned at every penalty. scikit-learn's LogisticRegression, which solves
the same problem in the given basis, needs 10 to 50 times as many steps; the tests compare the two.

Images are gone through in chunks, by as many threads as there are cores: neither time nor memory is spent on arrays as
large as the features, and the sums do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from tlkit.data.threads import cores
from tlkit.large_arrays import large_array

GRADIENT_TOLERANCE = 3e-5  # Of the largest component, in scaled coordinates; losses are then right to 0.1 %.
LOSS_TOLERANCE = 1e-9  # Relative; products are in float32.
MAX_ITERATIONS = 500
CORRECTIONS = 20  # Pairs that L-BFGS remembers; more than 20 saved no steps.
PRIOR_IMAGES = 50  # Chosen with benchmarks/few_shot.py.
SMALLEST_EIGENVALUE = 1e-10  # Relative to the largest: components below are rounding noise of the eigensolver.
CHUNK = 1024  # Images; what is made of them stays in the processor's cache.
# BLAS threads wait for each other in a busy loop: with one other busy process on two cores, the many small products of
# an eigendecomposition or a small fit took 20 to 40 times as long on two threads as on one. Chunks are shared out to
# threads of our own, where there is enough to do.
SHARED_PRODUCT = 2e7  # Multiplications for which threads pay.


@dataclass(frozen=True)
class Rotated:
    """Features, standardised, in the basis of their principal components.

    Attributes:
        scores: float32 (images, components).
        variances: Mean square of each component, float64 (components,).
        basis: From standardised features to components, float64 (features, components).
        mean: Of each feature, float64 (features,).
        scale: What each is divided by, float64 (features,).
    """

    scores: np.ndarray
    variances: np.ndarray
    basis: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Returns other features in this basis: float32 (images, components)."""
        with threadpool_limits(1, user_api="blas"):
            return _project(features, self.basis / self.scale[:, None], self.mean)

    def to_features(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns weights (components + 1, classes) as kernel and bias on raw features, both float64."""
        kernel = self.basis @ weights[:-1] / self.scale[:, None]
        return kernel, weights[-1] - self.mean @ kernel


def rotate(features: np.ndarray) -> Rotated:
    """Standardises features (images, features) and rotates them; without loss, for any number of either.

    Variances are shrunk towards their mean as if `PRIOR_IMAGES` more images had that one. Few images tell little of the
    variance of a feature that seldom fires, and dividing by it would give that feature the word on new images.
    """
    count, width = features.shape
    with threadpool_limits(1, user_api="blas"):
        mean, scale = _standardisation(features)
        if count >= width:
            moments = _sum_over(features, lambda chunk: _gram((chunk - mean) / scale))
        else:
            standardised = (features - mean) / scale
            moments = standardised @ standardised.T
        variances, vectors = np.linalg.eigh(moments / count)
        kept = variances > variances[-1] * SMALLEST_EIGENVALUE
        variances, vectors = variances[kept], vectors[:, kept]
        if count < width:
            vectors = standardised.T @ (vectors / np.sqrt(count * variances))
        scores = _project(features, vectors / scale[:, None], mean)
    return Rotated(scores, variances, vectors, mean, scale)


def _standardisation(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count = len(features)
    mean = _sum_over(features, lambda chunk: chunk.sum(axis=0)) / count
    squares = _sum_over(features, lambda chunk: np.square(chunk - mean).sum(axis=0))
    scale = np.sqrt((squares + PRIOR_IMAGES * squares.mean() / count) / (count + PRIOR_IMAGES))
    return mean, np.where(scale > 1e-8 * (1 + np.abs(mean)), scale, 1.0)


def _gram(chunk: np.ndarray) -> np.ndarray:
    return chunk.T @ chunk


def _project(features: np.ndarray, basis: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Returns `(features - mean) @ basis` as float32."""
    scores = large_array((len(features), basis.shape[1]), np.float32)
    basis = basis.astype(np.float32)
    bounds = _bounds(len(features))

    def fill(bound: slice) -> None:
        scores[bound] = (features[bound] - mean).astype(np.float32) @ basis

    for _ in _in_threads(fill, bounds, features.size * basis.shape[1]):
        pass
    return scores


def fit(
    rotated: Rotated,
    labels: np.ndarray,
    num_classes: int,
    penalty: float,
    start: np.ndarray,
    *,
    importance: np.ndarray | None = None,
    tolerance: float = GRADIENT_TOLERANCE,
) -> np.ndarray:
    """Minimises `mean(-log p(label | scores)) + penalty / 2 * ||W||^2`; the bias is not penalised.

    Args:
        rotated: The training features.
        labels: int (images,), values 0 to num_classes - 1.
        num_classes: Number of classes.
        penalty: Greater than 0.
        start: Where to start, float64 (components + 1, num_classes); the last row is the bias.
        importance: Weight of each image in the mean, (images,), 1 on average; all 1 when None.
        tolerance: Largest component of the gradient, in scaled coordinates, at which to end.

    Returns:
        The optimum, in the shape of `start`.
    """
    shares = (np.ones(len(labels)) if importance is None else importance) / len(labels)
    with threadpool_limits(1, user_api="blas"):
        scale = 1 / np.sqrt(_curvature(rotated.scores, shares, start) + _penalties(penalty, start.shape))

        def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
            weights = flat.reshape(start.shape) * scale
            loss, gradient = _loss_and_gradient(rotated.scores, labels, shares, weights)
            gradient[:-1] += penalty * weights[:-1]
            gradient *= scale
            return loss + penalty * float(np.sum(weights[:-1] ** 2)) / 2, gradient.ravel()

        options = {"maxcor": CORRECTIONS, "gtol": tolerance, "ftol": LOSS_TOLERANCE, "maxiter": MAX_ITERATIONS}
        found = minimize(loss_and_gradient, (start / scale).ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(start.shape) * scale


def _penalties(penalty: float, shape: tuple[int, ...]) -> np.ndarray:
    """The penalty of each weight; the bias, which has none, gets a little for a class without images."""
    penalties = np.full((shape[0], 1), penalty)
    penalties[-1] = 1e-6
    return penalties


def _curvature(scores: np.ndarray, shares: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the second derivative of the loss by each weight: the sum of share * score^2 * p * (1 - p)."""
    kernel, bias = weights[:-1].astype(np.float32), weights[-1].astype(np.float32)

    def of_chunk(bound: slice) -> tuple[np.ndarray, np.ndarray]:
        odds = _softmax(scores[bound] @ kernel + bias)[0]
        odds *= 1 - odds
        odds *= shares[bound, None].astype(np.float32)
        return np.square(scores[bound]).T @ odds, odds.sum(axis=0)

    curvature = np.zeros(weights.shape)
    for kernel_part, bias_part in _in_threads(of_chunk, _bounds(len(scores)), scores.size * weights.shape[1]):
        curvature[:-1] += kernel_part
        curvature[-1] += bias_part
    return curvature


def _softmax(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turns logits into probabilities in place; returns them and the logarithm of what they were divided by."""
    highest = logits.max(axis=1, keepdims=True)
    logits -= highest
    odds = np.exp(logits, out=logits)
    sums = odds.sum(axis=1, keepdims=True)
    odds /= sums
    return odds, (highest + np.log(sums))[:, 0]


def _loss_and_gradient(
    scores: np.ndarray, labels: np.ndarray, shares: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """Returns the losses, added up by each image's share, and the gradient, (components + 1, classes)."""
    kernel, bias = weights[:-1].astype(np.float32), weights[-1].astype(np.float32)

    def of_chunk(bound: slice) -> tuple[float, np.ndarray, np.ndarray]:
        chunk, own = scores[bound], (np.arange(bound.stop - bound.start), labels[bound])
        logits = chunk @ kernel
        logits += bias
        right = logits[own]
        errors, normaliser = _softmax(logits)
        errors[own] -= 1
        errors *= shares[bound, None].astype(np.float32)
        return float(shares[bound] @ (normaliser - right)), chunk.T @ errors, errors.sum(axis=0)

    total, gradient = 0.0, np.zeros(weights.shape)
    for loss, kernel_part, bias_part in _in_threads(of_chunk, _bounds(len(scores)), scores.size * weights.shape[1]):
        total += loss
        gradient[:-1] += kernel_part
        gradient[-1] += bias_part
    return total, gradient


def log_loss_and_accuracy(
    scores: np.ndarray, weights: np.ndarray, labels: np.ndarray, importance: np.ndarray | None = None
) -> tuple[float, float]:
    """Returns mean negative log-likelihood in nats, weighted by importance, and the plain share right.

    Args:
        scores: float32 (images, components).
        weights: (components + 1, classes), as `fit` gives them.
        labels: int (images,).
        importance: As for `fit`.
    """
    shares = (np.ones(len(labels)) if importance is None else importance) / len(labels)
    kernel, bias = weights[:-1].astype(np.float32), weights[-1].astype(np.float32)

    def of_chunk(bound: slice) -> tuple[float, int]:
        logits = scores[bound] @ kernel + bias
        highest = logits.max(axis=1)
        own = logits[np.arange(len(logits)), labels[bound]]
        losses = np.log(np.exp(logits - highest[:, None]).sum(axis=1, dtype=np.float64)) + highest - own
        return float(shares[bound] @ losses), int((logits.argmax(axis=1) == labels[bound]).sum())

    with threadpool_limits(1, user_api="blas"):
        parts = list(_in_threads(of_chunk, _bounds(len(scores)), scores.size * weights.shape[1]))
    return sum(loss for loss, _ in parts), sum(right for _, right in parts) / len(labels)


# --- chunks and threads ---


def _bounds(count: int) -> list[slice]:
    return [slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]


def _sum_over(features: np.ndarray, of_chunk: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Adds up what each chunk of features, as float64, gives."""
    work = features.size * features.shape[1]
    parts = _in_threads(lambda bound: of_chunk(np.asarray(features[bound], np.float64)), _bounds(len(features)), work)
    return sum(parts)


def _in_threads(work: Callable[[slice], Any], bounds: list[slice], multiplications: float) -> Iterable[Any]:
    """Yields what `work` gives for each chunk, in order; two chunks a core are under way at a time."""
    if multiplications < SHARED_PRODUCT or len(bounds) == 1:
        yield from map(work, bounds)
        return
    with ThreadPoolExecutor(cores()) as threads:
        step = 2 * cores()
        for start in range(0, len(bounds), step):
            yield from threads.map(work, bounds[start : start + step])
