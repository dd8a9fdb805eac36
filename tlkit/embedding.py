"""Features as a map in the plane, in which images that the model takes to be alike lie close together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COMPONENTS = 50  # Principal components that t-SNE works on: the rest is noise to it, and costs time.
PERPLEXITY = 30.0
FEWEST = 60  # Images below which t-SNE throws single ones far away from the rest.
STRAY = 0.01  # Share of the images at either end of an axis that may lie at its edge instead of far out.
ITERATIONS = 500  # After 500 the map of 2,000 images no longer changed to the eye.


def embed(features: NDArray, seed: int = 0) -> tuple[NDArray[np.float64], str]:
    """Lays features out in the plane: t-SNE on their principal components, or those alone for few images.

    t-SNE keeps neighbours together; distances between groups, and their sizes, mean nothing. About 2 seconds for 1,000
    images and 7 for 2,000 on one core.

    Args:
        features: float (n, features).
        seed: Of the optimisation; the same seed gives the same map.

    Returns:
        float64 (n, 2) with values from 0 to 1, and the method: `"t-SNE"` or `"PCA"`.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(features) < 2 or (features == features[0]).all():
        return np.full((len(features), 2), 0.5), "PCA"
    centred = np.asarray(features, np.float64) - np.mean(features, axis=0, dtype=np.float64)
    components = min(COMPONENTS, *centred.shape)
    # Their many short loops wait for each other in a busy loop where another process has a core.
    with threadpool_limits(1):
        reduced = PCA(components, svd_solver="full" if centred.size < 1e6 else "randomized", random_state=seed)
        scores = reduced.fit_transform(centred)
        if len(scores) < FEWEST or components < 2:
            return _to_unit(np.pad(scores, ((0, 0), (0, 2)))[:, :2]), "PCA"
        perplexity = min(PERPLEXITY, (len(scores) - 1) / 3)
        placed = TSNE(init="pca", perplexity=perplexity, max_iter=ITERATIONS, random_state=seed).fit_transform(scores)
    edges = np.quantile(placed, (STRAY, 1 - STRAY), axis=0)
    return _to_unit(np.clip(placed, *edges)), "t-SNE"


def _to_unit(points: NDArray) -> NDArray[np.float64]:
    """Scales points to 0-1 as a whole, so that distances keep their proportions."""
    points = np.asarray(points, np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(float((high - low).max()), np.finfo(np.float64).tiny)
    return (points - (low + high) / 2) / side + 0.5
