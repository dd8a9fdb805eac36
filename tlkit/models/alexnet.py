"""AlexNet: A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional networks", 2012.

With the paper's two groups in the second, fourth and fifth convolution, and so its 60,965,224 weights. Local response
normalisation, which has none, is left out: K. Simonyan, A. Zisserman (2014) found that it gains nothing.
"""

from __future__ import annotations

from typing import Any

from keras import layers

from tlkit.models.network import Network

PAPER = "https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html"


def _body(x: Any) -> Any:
    x = layers.Conv2D(96, 11, strides=4, activation="relu", kernel_initializer="he_normal", name="conv1")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    x = _convolve(x, 256, 5, "conv2", groups=2)
    x = layers.MaxPooling2D(3, strides=2, name="pool2")(x)
    x = _convolve(x, 384, 3, "conv3")
    x = _convolve(x, 384, 3, "conv4", groups=2)
    x = _convolve(x, 256, 3, "conv5", groups=2)
    return layers.MaxPooling2D(3, strides=2, name="pool5")(x)


def _convolve(x: Any, filters: int, kernel_size: int, name: str, groups: int = 1) -> Any:
    return layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        groups=groups,
        activation="relu",
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _neck(x: Any) -> Any:
    x = layers.Flatten(name="flatten")(x)
    for name in ("fc6", "fc7"):
        x = layers.Dense(4096, activation="relu", kernel_initializer="he_normal", name=name)(x)
        x = layers.Dropout(0.5, name=f"{name}_dropout")(x)
    return x


AlexNet = Network("alexnet", _body, _neck, (227, 227, 3), smallest=67, paper=PAPER)
