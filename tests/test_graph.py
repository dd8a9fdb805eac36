from __future__ import annotations

import keras
import numpy as np
import pytest

from tlkit import graph
from tlkit.errors import InputError


def branching() -> keras.Model:
    """A small net with one residual block: the inside of the block is no cut."""
    inputs = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    y = keras.layers.Conv2D(4, 3, padding="same", name="inner_a")(x)
    y = keras.layers.BatchNormalization(name="inner_b")(y)
    x = keras.layers.Add(name="add")([x, y])
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="head")(x), name="branching")


def test_cut_points_skip_the_inside_of_a_block() -> None:
    assert graph.cut_points(branching()) == ["stem", "add", "pool"]


@pytest.mark.parametrize("cut", ["stem", "add", "pool"])
def test_halves_give_the_whole(cut: str) -> None:
    model = branching()
    prefix, suffix = graph.split_model(model, cut)
    x = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(suffix(prefix(x)), model(x))
    assert {id(w) for w in prefix.weights} | {id(w) for w in suffix.weights} == {id(w) for w in model.weights}


def test_every_cut_point_of_a_real_network_can_be_cut() -> None:
    model = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=5)
    cuts = graph.cut_points(model)
    assert len(cuts) == 74  # Counted on Keras 3.15 by trying every layer.
    for name in cuts[::9]:
        graph.split_model(model, name)


def test_bare_operations_count() -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    x = x + keras.layers.Conv2D(4, 3, padding="same", name="inner")(x)
    x = keras.layers.ReLU(name="after")(x)
    model = keras.Model(inputs, keras.layers.Flatten(name="flat")(x))
    assert graph.cut_points(model) == ["stem", "after"]


def test_a_cut_inside_a_block_is_refused() -> None:
    with pytest.raises(InputError, match=r"other paths run.*cut_points"):
        graph.split_model(branching(), "inner_a")


def test_an_unknown_layer_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'inner_a'"):
        graph.split_model(branching(), "iner_a")


def test_head_and_features_are_found() -> None:
    model = branching()
    assert graph.feature_layer(model) == "pool"
    assert graph.head_dense(model).name == "head"
    assert [layer.name for layer in graph.layers_after(model, "pool")] == ["head"]


def test_counts() -> None:
    model = branching()
    model.get_layer("inner_a").trainable = False
    counts = graph.trainable_counts(model)
    assert counts == graph.Counts(layers=4, trainable_layers=3, parameters=291, trainable_parameters=135)


def test_models_that_cannot_be_split_are_refused() -> None:
    class Subclassed(keras.Model):
        def call(self, x: object) -> object:
            return x

    with pytest.raises(InputError, match="subclassed"):
        graph.require_functional(Subclassed())
    a, b = keras.Input((4,)), keras.Input((4,))
    with pytest.raises(InputError, match="2 inputs"):
        graph.require_functional(keras.Model([a, b], keras.layers.Add()([a, b])))
    with pytest.raises(InputError, match="no"):
        graph.feature_layer(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
