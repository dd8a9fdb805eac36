"""The lecture's two networks for MNIST: a small convolutional one, and a fully connected one of 18 times its weights.

Without biases they have 225 + 3,600 + 7,840 = 11,665 and 176,400 + 32,400 + 1,440 = 210,240 weights; the signals
between the layers have 784, 7,056 and 3,136 values, and 784, 225 and 144.
"""

from __future__ import annotations

from typing import Any

from keras import layers

from tlkit.models.network import Network

SHAPE = (28, 28, 1)


def _convolutional(x: Any) -> Any:
    x = layers.Conv2D(9, 5, padding="same", activation="relu", name="conv1")(x)
    x = layers.MaxPooling2D(name="pool1")(x)
    x = layers.Conv2D(16, 5, padding="same", activation="relu", name="conv2")(x)
    # 28 x 28 x 9 = 7,056 and 14 x 14 x 16 = 3,136 signals; after this pooling 7 x 7 x 16 = 784 are left.
    return layers.MaxPooling2D(name="pool2")(x)


def _fully_connected(x: Any) -> Any:
    x = layers.Flatten(name="flatten_pixels")(x)
    x = layers.Dense(225, activation="relu", name="hidden1")(x)
    x = layers.Dense(144, activation="relu", name="hidden2")(x)
    return layers.Reshape((1, 1, 144), name="features")(x)  # One place with 144 channels, as convolutions give maps.


def flatten(x: Any) -> Any:
    """Strings all values of the last feature map together."""
    return layers.Flatten(name="flatten")(x)


MnistCNN = Network("mnist_cnn", _convolutional, flatten, SHAPE, smallest=8, classes=10)
MnistFFNN = Network("mnist_ffnn", _fully_connected, flatten, SHAPE, smallest=8, classes=10)
