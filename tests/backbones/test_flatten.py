from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from tlkit.backbones.flatten import canonical_names, flatten, flatten_with_names


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 3)).astype("float32")


def randomised(model):
    """Gives every weight a value of its own, BatchNormalization statistics included."""
    generator = np.random.default_rng(1)
    model.set_weights([generator.uniform(0.1, 1.0, weight.shape) for weight in model.get_weights()])
    return model


def branchy(name="inner"):
    """A small network with a residual sum and product, and names made up by Keras."""
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(image)
    x = x + layers.BatchNormalization()(x)
    x = x * layers.Conv2D(8, 1, activation="sigmoid")(x)
    return keras.Model(image, (x + 3.0) * 0.5, name=name)


def nested():
    """Keras's guide to transfer learning: a model in a model, here with a Sequential in between."""
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = branchy()(x, training=False)
    x = keras.Sequential([layers.Conv2D(4, 1, name="pointwise"), keras.Sequential([layers.ReLU(name="deep")])])(x)
    return keras.Model(image, layers.GlobalAveragePooling2D()(x), name="outer")


def assert_flat(model):
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert len(model.layers) == len(model.operations)
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == len(names)
    keras.Model(model.input, [layer.output for layer in model.layers])  # Every layer can be tapped.


@pytest.mark.parametrize("build", [branchy, nested])
def test_results_are_equal_bit_by_bit(build, images):
    model = randomised(build())
    flat = flatten(model)
    assert_flat(flat)
    assert np.array_equal(flat.predict(images, verbose=0), model.predict(images, verbose=0))


def test_sequential_becomes_functional(images):
    model = randomised(
        keras.Sequential([keras.Input((16, 16, 3), name="pixels"), layers.Conv2D(4, 3, name="conv"), layers.Flatten()])
    )
    flat = flatten(model)
    assert_flat(flat)
    assert [layer.name for layer in flat.layers][:2] == ["pixels", "conv"]
    assert np.array_equal(flat.predict(images, verbose=0), model.predict(images, verbose=0))


def test_names_do_not_depend_on_what_was_built_before():
    first = flatten(branchy())
    for _ in range(3):
        branchy()
    later = flatten(branchy())
    assert [layer.name for layer in first.layers] == [layer.name for layer in later.layers]
    assert "conv2d" in [layer.name for layer in later.layers]


def test_given_names_are_kept():
    flat, names = flatten_with_names(nested())
    assert names["pointwise"] == "pointwise"
    assert {"image", "pointwise", "deep"} <= {layer.name for layer in flat.layers}


def test_made_up_names_are_counted_by_number_not_by_letter():
    image = keras.Input((4, 4, 3), name="image")
    x = image
    for number in (9, 10, 11):
        x = layers.ReLU(name=f"re_lu_{number}")(x)
    assert canonical_names(keras.Model(image, x)) == {
        "image": "image",
        "re_lu_9": "re_lu",
        "re_lu_10": "re_lu_1",
        "re_lu_11": "re_lu_2",
    }


def test_flat_model_comes_back_as_it_is():
    image = keras.Input((16, 16, 3), name="image")
    model = keras.Model(image, layers.Conv2D(2, 3, name="conv")(image))
    assert flatten(model) is model


def test_trainable_flags_and_normalization_constants_are_kept(images):
    image = keras.Input((16, 16, 3), name="image")
    normalization = layers.Normalization()
    normalization.adapt(images)
    inner = branchy()
    inner.trainable = False
    flat = flatten(keras.Model(image, inner(normalization(image))))
    assert not any(layer.trainable for layer in flat.layers if layer.weights and layer.name != "normalization")
    reference = (images - images.mean((0, 1, 2))) / images.std((0, 1, 2))
    scaled = keras.Model(flat.input, flat.get_layer("normalization").output).predict(images, verbose=0)
    assert np.abs(scaled - reference).max() < 1e-4


def test_the_original_still_works_and_shares_nothing(images):
    model = randomised(nested())
    before = model.predict(images, verbose=0)
    flat = flatten(model)
    flat.set_weights([weight * 0 for weight in flat.get_weights()])
    assert np.array_equal(model.predict(images, verbose=0), before)
