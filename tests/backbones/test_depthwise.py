"""Convolutions with a group for each channel become depthwise layers that compute the same."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tlkit.backbones.build import build_backbone
from tlkit.backbones.depthwise import with_depthwise_layers

PIXELS = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")


def grouped() -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((16, 16, 6))
    x = keras.layers.Conv2D(6, 5, groups=6, padding="same", use_bias=False, name="plain")(inputs)
    x = keras.layers.Conv2D(6, 3, groups=6, strides=2, activation="relu", bias_initializer="ones", name="strided")(x)
    x = keras.layers.Conv2D(6, 3, groups=6, dilation_rate=2, name="dilated", trainable=False)(x)
    x = keras.layers.Conv2D(12, 1, groups=6, name="two_each")(x)
    x = keras.layers.Conv2D(12, 1, groups=3, name="groups_of_four")(x)
    return keras.Model(inputs, keras.layers.Conv2D(4, 1, name="dense")(x), name="grouped")


def test_the_same_is_computed_by_depthwise_layers() -> None:
    model = grouped()
    found = with_depthwise_layers(model)
    kinds = {layer.name: type(layer).__name__ for layer in found.layers[1:]}
    assert kinds == {
        "plain": "DepthwiseConv2D",
        "strided": "DepthwiseConv2D",
        "dilated": "DepthwiseConv2D",
        "two_each": "Conv2D",
        "groups_of_four": "Conv2D",
        "dense": "Conv2D",
    }
    x = np.random.default_rng(0).normal(size=(3, 16, 16, 6)).astype("float32")
    np.testing.assert_allclose(found(x), model(x), atol=1e-5)
    assert found.count_params() == model.count_params()
    assert [layer.name for layer in found.layers] == [layer.name for layer in model.layers]
    assert [layer.trainable for layer in found.layers] == [layer.trainable for layer in model.layers]


def test_a_network_without_such_layers_comes_back() -> None:
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3, groups=2)(inputs))
    assert with_depthwise_layers(model) is model


def test_convnext_computes_what_keras_has_it_compute(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    theirs = keras.applications.ConvNeXtTiny(include_top=False, weights=None, input_shape=(32, 32, 3))
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    ours = build_backbone("convnexttiny", image_size=32, weights=tmp_path / "theirs.weights.h5")
    assert not any(getattr(layer, "groups", 1) > 1 for layer in ours.layers)
    expected = np.asarray(theirs(PIXELS))
    np.testing.assert_allclose(ours(PIXELS), expected, atol=1e-5 * float(np.abs(expected).max()))


@pytest.mark.parametrize("form", [".weights.h5", ".keras"])
def test_weights_of_our_own_convnext_fill_another(tmp_path: Path, form: str) -> None:
    keras.utils.set_random_seed(0)
    first = build_backbone("convnexttiny", image_size=32, weights="none")
    file = tmp_path / f"ours{form}"
    (first.save_weights if form == ".weights.h5" else first.save)(file)
    again = build_backbone("convnexttiny", image_size=32, weights=file)
    np.testing.assert_array_equal(again(PIXELS), first(PIXELS))
