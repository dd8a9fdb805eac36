"""Layers that converters do not know, in other words."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tlkit.export.conversion import converting
from tlkit.export.deployable import deployable_model
from tlkit.export.formats import FORMATS
from tlkit.export.onnx_operations import in_onnx_operations
from tlkit.export.portable import in_portable_operations

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype("float32")


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Normalisation by constants, a convolution of each channel by itself, exact GELUs, zeros around a maximum."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3), name="image")
    x = keras.layers.Normalization(mean=[120.0, 110.0, 100.0], variance=[3600.0, 3500.0, 3400.0], name="scale")(image)
    x = keras.layers.Conv2D(24, 3, strides=2, padding="same", activation="gelu", name="stem")(x)
    x = keras.layers.Conv2D(24, 5, padding="same", groups=24, name="depthwise")(x)
    x = keras.layers.Activation("gelu", name="gelu")(x)
    x = keras.layers.Rescaling(1.0, -2.0, name="below_zero")(x)  # A maximum that counts the zeros is another one.
    x = keras.layers.ZeroPadding2D(((1, 0), (1, 2)), name="zeros")(x)
    x = keras.layers.MaxPooling2D(3, 2, name="maximum")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooled_features")(x)
    x = keras.layers.Dense(5, kernel_initializer=keras.initializers.RandomNormal(stddev=5.0), name="head")(x)
    return keras.Model(image, keras.layers.Activation("softmax", name="probabilities")(x), name="unusual")


def test_the_answers_stay_the_same(network: keras.Model) -> None:
    portable = in_portable_operations(network)
    kinds = {layer.name: type(layer).__name__ for layer in portable.layers}
    assert kinds["scale"] == "Rescaling"
    assert kinds["depthwise"] == "DepthwiseConv2D"
    expected = np.asarray(network(PIXELS))
    assert expected.std() > 0.01
    for changed in (portable, in_onnx_operations(portable)):
        assert np.abs(np.asarray(changed(PIXELS)) - expected).max() < 1e-6


def test_what_needs_no_change_is_not_copied() -> None:
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, keras.layers.Conv2D(4, 3, activation="relu")(image))
    assert in_onnx_operations(in_portable_operations(model)) is model


@pytest.mark.parametrize("name", ["litert", "onnx", "openvino"])
def test_every_runtime_takes_it(name: str, network: keras.Model, tmp_path: Path) -> None:
    model = deployable_model(network)
    found = FORMATS[name]
    with converting(model, name):
        found.write["float32"](model, tmp_path / found.file)
        given = found.open(tmp_path / found.file)(PIXELS)
    assert np.abs(given - np.asarray(network(PIXELS))).max() < 1e-5
