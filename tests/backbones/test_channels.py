from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from tlkit.backbones.build import build_backbone
from tlkit.backbones.channels import adapt_channels, adapt_kernel
from tlkit.errors import InputError

SIZE = 64


def run(model, pixels):
    return keras.ops.convert_to_numpy(model(pixels, training=False))


@pytest.fixture(scope="module")
def grey():
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 1)).astype("float32")


@pytest.mark.parametrize("name", ["mobilenetv2", "efficientnet_lite0", "mobilenetv3small"])
def test_one_channel_gives_what_the_grey_image_in_colour_gives(name, grey):
    colour = build_backbone(name, image_size=SIZE, weights="none")
    single = adapt_channels(colour, 1)
    assert single.input.shape == (None, SIZE, SIZE, 1)
    expected = run(colour, np.repeat(grey, 3, axis=-1))
    assert np.abs(run(single, grey) - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("name", ["vgg16", "efficientnetb0", "convnexttiny"])
def test_one_channel_where_colours_are_scaled_apart(name):
    """Constants are averaged over the colours: near the colour network's view of a grey image, not equal to it."""
    single = build_backbone(name, image_size=SIZE, weights="none", input_channels=1)
    assert single.input.shape[-1] == 1
    names = [operation.name for operation in single.operations]
    assert names[:2] == ["image", "preprocess_scale"]
    assert not {"preprocess_flip", "rescaling", "normalization"} & set(names)


@pytest.mark.parametrize(("name", "channels"), [("vgg16", 6), ("efficientnetb0", 6), ("mobilenetv2", 4)])
def test_repeated_channels_see_the_colours_they_repeat(name, channels):
    """With six channels that hold R, G, B twice, nothing may change; a fourth channel takes a share like red."""
    colour = build_backbone(name, image_size=SIZE, weights="none")
    more = adapt_channels(colour, channels)
    assert more.input.shape[-1] == channels
    pixels = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype("float32")
    if channels == 6:
        expected = run(colour, pixels)
        received = run(more, np.concatenate([pixels, pixels], axis=-1))
        assert np.abs(received - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())
    kernels = [next(layer for layer in model.layers if hasattr(layer, "kernel")).kernel for model in (colour, more)]
    assert tuple(kernels[1].shape) == (*kernels[0].shape[:2], channels, kernels[0].shape[-1])


def test_kernel_rules():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 5)).astype("float32")
    assert np.allclose(adapt_kernel(kernel, 1)[:, :, 0], kernel.sum(axis=2))
    five = adapt_kernel(kernel, 5)
    assert five.dtype == np.float32
    assert np.allclose(five[:, :, 3], kernel[:, :, 0] * 3 / 5)
    assert np.allclose(adapt_kernel(kernel, 6).sum(axis=2), kernel.sum(axis=2), atol=1e-6)


def test_three_channels_are_left_alone():
    model = build_backbone("mobilenetv2", image_size=SIZE, weights="none")
    assert adapt_channels(model, 3) is model


def test_network_that_begins_otherwise_is_refused():
    image = keras.Input((16, 16, 3), name="image")
    model = keras.Model(image, layers.SeparableConv2D(8, 3)(image), name="separable")
    with pytest.raises(InputError, match="begins with scaling and a 2D convolution"):
        adapt_channels(model, 1)
