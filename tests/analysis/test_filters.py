from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from tlkit.analysis.filters import layer_filters
from tlkit.errors import InputError


def test_scaling_and_order_of_channels_are_worked_in() -> None:
    """A filter on flipped, scaled channels answers to raw pixels as the filter that is returned."""
    inputs = keras.Input((12, 12, 3))
    x = layers.Rescaling([0.5, 1.0, 4.0], [-3.0, 0.0, 7.0])(keras.ops.flip(inputs, axis=-1))
    model = keras.Model(inputs, layers.Conv2D(5, 3, name="conv", use_bias=False)(layers.ZeroPadding2D(1)(x)))
    found = layer_filters(model)
    assert (found.layer, found.in_pixels, found.weights.shape) == ("conv", True, (5, 3, 3, 3))
    images = np.random.default_rng(0).uniform(0, 255, (2, 12, 12, 3)).astype("float32")
    answers = model.predict(images, verbose=0)[:, 5, 5]
    difference = np.einsum("nhwc,fhwc->nf", images[:, 4:7, 4:7], found.weights)
    np.testing.assert_allclose(answers[0] - answers[1], difference[0] - difference[1], rtol=1e-4, atol=1e-2)


def test_deeper_and_depthwise_filters_are_plain_weights(digits_model: keras.Model) -> None:
    found = layer_filters(digits_model, "conv2")
    kernel = keras.ops.convert_to_numpy(digits_model.get_layer("conv2").kernel)
    assert not found.in_pixels
    np.testing.assert_array_equal(found.weights[7], kernel[..., 7])
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(inputs))
    assert layer_filters(model).weights.shape == (6, 3, 3, 1)


def test_a_first_layer_after_something_that_bends_is_not_drawn_in_pixels() -> None:
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Conv2D(4, 3)(keras.ops.square(inputs)))
    assert not layer_filters(model).in_pixels


def test_mistakes_are_told(digits_model: keras.Model) -> None:
    with pytest.raises(InputError, match="Did you mean 'conv1'"):
        layer_filters(digits_model, "con1")
    with pytest.raises(InputError, match=r"pool1, a MaxPooling2D. The first one is conv1"):
        layer_filters(digits_model, "pool1")
    dense = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    with pytest.raises(InputError, match="which has none"):
        layer_filters(dense)
