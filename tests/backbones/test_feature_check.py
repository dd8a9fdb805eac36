from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from tlkit.backbones.build import build_backbone
from tlkit.backbones.feature_check import check_features

SIZE = 32


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (8, SIZE, SIZE, 3)).astype("float32")


def run(model, pixels):
    return keras.ops.convert_to_numpy(model(pixels, training=False))


def body(x):
    x = layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(x)
    x = layers.BatchNormalization(name="stem_bn")(x)
    return layers.Conv2D(16, 3, strides=2, padding="same", name="down")(x)


def trained_on(pixels, scale):
    """A network whose BatchNormalization statistics are those of pixels times `scale`."""
    image = keras.Input((SIZE, SIZE, 3), name="image")
    model = keras.Model(image, body(image))
    seen = run(keras.Model(image, model.get_layer("stem").output), pixels * scale)
    gamma, beta, *_ = model.get_layer("stem_bn").get_weights()
    model.get_layer("stem_bn").set_weights([gamma, beta, seen.mean((0, 1, 2)), seen.var((0, 1, 2))])
    return model


def test_features_on_the_right_scale_raise_no_alarm(pixels):
    assert check_features(trained_on(pixels, 1.0), pixels) == ()
    assert check_features(trained_on(pixels, 1.0), pixels * 0.4 + 100) == ()  # Paler images are no mistake.


@pytest.mark.parametrize("scale", [1 / 255, 255.0])
def test_features_on_a_wrong_scale_are_told(pixels, scale):
    findings = check_features(trained_on(pixels, scale), pixels)
    assert len(findings) == 1
    assert "'stem_bn' gets" in findings[0]
    assert "Check --preprocessing" in findings[0]


def test_dead_and_infinite_features_are_told(pixels):
    image = keras.Input((SIZE, SIZE, 3), name="image")
    dead = keras.Model(image, layers.ReLU()(layers.Rescaling(-1.0, -1.0)(image)))
    assert "100% of the features are the same" in check_features(dead, pixels)[0]
    infinite = keras.Model(image, layers.Rescaling(float("inf"))(image))
    assert "not finite" in check_features(infinite, pixels)[0]


def test_untrained_network_is_not_judged_by_its_statistics(pixels):
    assert check_features(build_backbone("mobilenetv2", image_size=SIZE, weights="none"), pixels) == ()


def test_packaged_weights_raise_no_alarm_on_digits():
    digits = np.kron(load_digits().images[:16] * 15.9, np.ones((8, 8)))[..., None].repeat(3, axis=-1)
    assert check_features(build_backbone("efficientnet_lite0", image_size=64), digits) == ()
