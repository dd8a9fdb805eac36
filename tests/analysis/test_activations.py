from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from tlkit.analysis.activations import activations, channel_activations, strongest_images
from tlkit.errors import InputError


def test_activations_are_those_of_a_model_cut_there(digits_model: keras.Model, digits: tuple) -> None:
    images = digits[0][:40]
    found = activations(digits_model, images, ["conv1", "head", "image"])
    cut = keras.Model(digits_model.input, digits_model.get_layer("conv1").output)
    np.testing.assert_allclose(found["conv1"], cut.predict(images, verbose=0), atol=1e-6)
    np.testing.assert_allclose(found["head"], digits_model.predict(images, verbose=0), atol=1e-5)
    np.testing.assert_array_equal(found["image"], images)


def test_layers_of_nested_and_shared_models_can_be_reached() -> None:
    shared = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")], name="twin")
    a = keras.Input((4,))
    model = keras.Model(a, layers.Concatenate()([shared(a), shared(layers.ReLU()(a))]))
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    found = activations(model, x, ["twin/dense", "twin/dense:2"])
    both = model.predict(x, verbose=0)
    np.testing.assert_allclose(found["twin/dense"], both[:, :3], atol=1e-6)
    np.testing.assert_allclose(found["twin/dense:2"], both[:, 3:], atol=1e-6)


def test_the_strongest_images_of_a_stream_are_those_of_all(digits_model: keras.Model, digits: tuple) -> None:
    images = digits[0][:500]
    maps = activations(digits_model, images, ["conv2"])["conv2"]
    seen: list = []
    stream = ((images[start : start + 48], digits[1][start : start + 48]) for start in range(0, 500, 48))
    found = strongest_images(digits_model, stream, "conv2", [3, 17], top=7, on_progress=lambda *at: seen.append(at))
    whole = strongest_images(digits_model, images, "conv2", [3, 17], top=7, on_progress=lambda *at: seen.append(at))
    assert seen[-1] == (16, 16)
    for entry, same, channel in zip(found, whole, [3, 17], strict=True):
        peaks = maps[..., channel].max(axis=(1, 2))
        np.testing.assert_allclose(entry.values, np.sort(peaks)[::-1][:7], atol=1e-5)
        np.testing.assert_array_equal(entry.indices, same.indices)
        np.testing.assert_array_equal(entry.images, images[entry.indices])
        for unit, index, value in zip(entry.units, entry.indices, entry.values, strict=True):
            assert maps[index, unit[0], unit[1], channel] == pytest.approx(value, abs=1e-5)


def test_the_box_holds_all_that_the_unit_sees(digits_model: keras.Model, digits: tuple) -> None:
    """Pixels outside the box can be changed at will without a change of the activation."""
    images = digits[0][:200]
    (entry,) = strongest_images(digits_model, images, "conv2", [5], top=3)
    (rows, columns), image, unit = entry.boxes[0], entry.images[0].copy(), entry.units[0]
    outside = np.ones(image.shape, bool)
    outside[slice(*rows), slice(*columns)] = False
    assert outside.any()
    image[outside] = 255 - image[outside]
    changed = activations(digits_model, image[None], ["conv2"])["conv2"][0, unit[0], unit[1], 5]
    assert changed == pytest.approx(entry.values[0], abs=1e-5)


def test_units_of_a_dense_layer_see_the_whole_image(digits_model: keras.Model, digits: tuple) -> None:
    (entry,) = strongest_images(digits_model, digits[0][:60], "head", [4], top=2)
    assert entry.boxes == (((0, 16), (0, 16)),) * 2
    assert digits[1][entry.indices].tolist() == [4, 4]


def test_one_channel(digits_model: keras.Model, digits: tuple) -> None:
    images = digits[0][:3]
    whole = activations(digits_model, images, ["pool1"])["pool1"]
    np.testing.assert_array_equal(channel_activations(digits_model, images, "pool1", 2), whole[..., 2])


def test_layers_and_channels_that_do_not_exist(digits_model: keras.Model, digits: tuple) -> None:
    with pytest.raises(InputError, match="Did you mean 'conv2'"):
        activations(digits_model, digits[0][:1], ["conv22"])
    with pytest.raises(InputError, match=r"from 0 to 15. Received: 151. The nearest is 15"):
        channel_activations(digits_model, digits[0][:1], "conv1", 151)
    with pytest.raises(InputError, match="The nearest is 0"):
        strongest_images(digits_model, digits[0][:1], "conv1", [-1])
