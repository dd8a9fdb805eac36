"""Models that several tests look into."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's handwritten digits: uint8 images (1797, 16, 16, 1), enlarged twice, and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = np.rint(data.images * (255 / 16)).astype(np.uint8)
    return images.repeat(2, axis=1).repeat(2, axis=2)[..., None], data.target


@pytest.fixture(scope="session")
def digits_model(digits: tuple[np.ndarray, np.ndarray]) -> keras.Model:
    """A small network that has learnt the first 1,200 digits."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 1), name="image")
    x = layers.Rescaling(1 / 255, name="scale")(inputs)
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1")(x)
    x = layers.MaxPooling2D(name="pool1")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(name="pool2")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(32, activation="relu", name="features")(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax", name="head")(x), name="digits")
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    images, labels = digits
    model.fit(images[:1200], labels[:1200], batch_size=64, epochs=8, verbose=0)
    return model
