from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from tlkit.embedding import embed


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    data = load_digits()
    return data.data[:400], data.target[:400]


def test_alike_images_lie_side_by_side(digits: tuple) -> None:
    features, labels = digits
    places, method = embed(features)
    assert method == "t-SNE"
    assert places.shape == (400, 2)
    assert places.min() == pytest.approx(0, abs=1e-9)
    assert places.max() == pytest.approx(1, abs=1e-9)
    assert cross_val_score(KNeighborsClassifier(5), places, labels, cv=5).mean() > 0.9


def test_the_same_seed_gives_the_same_map(digits: tuple) -> None:
    features = digits[0][:100]
    assert np.array_equal(embed(features, 3)[0], embed(features, 3)[0])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 11])
def test_a_handful_of_images_is_laid_out_by_pca(digits: tuple, count: int) -> None:
    places, method = embed(digits[0][:count])
    assert method == "PCA"
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()


def test_pca_keeps_distances_where_there_are_two_features() -> None:
    points = np.array([[0, 0], [4, 0], [4, 1.0]])
    places, _ = embed(points)
    between = [np.linalg.norm(places[a] - places[b]) for a, b in ((0, 1), (1, 2))]
    assert between[0] / between[1] == pytest.approx(4)


def test_equal_features_lie_in_the_middle() -> None:
    assert (embed(np.ones((40, 8)))[0] == 0.5).all()
    assert np.isfinite(embed(np.arange(40.0)[:, None])[0]).all()
