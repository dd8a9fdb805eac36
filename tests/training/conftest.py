"""Digits as small pictures, and a net that learns them in seconds."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

Arrays = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="session")
def digits() -> tuple[Arrays, Arrays]:
    """Digits as 32 px colour images, 200 to train on and 100 to validate."""
    x, y = load_digits(return_X_y=True)
    images = np.kron(x.reshape(-1, 8, 8) * 15.9, np.ones((4, 4)))[:300, :, :, None].repeat(3, axis=3).astype("uint8")
    return (images[:200], y[:200]), (images[200:], y[200:300])


@pytest.fixture
def small_net() -> Callable[..., keras.Model]:
    """Builds a net of two stages; with `noisy`, also what goes wrong in a frozen base."""

    def build(noisy: bool = False, activation: str | None = "softmax") -> keras.Model:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((32, 32, 3))
        x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
        x = keras.layers.Conv2D(16, 3, strides=2, activation="relu", name="first")(x)
        if noisy:
            x = keras.layers.BatchNormalization(name="norm")(x)
            x = keras.layers.Dropout(0.5)(x)
        x = keras.layers.Conv2D(16, 3, strides=2, activation="relu", name="second")(x)
        x = keras.layers.Flatten(name="features")(x)
        return keras.Model(inputs, keras.layers.Dense(10, activation=activation, name="head")(x))

    return build
