"""Small networks in the manner of VGG: K. Simonyan, A. Zisserman, "Very deep convolutional networks", 2014.

`VGG11` is the paper's configuration A (its Table 2: 133 million weights). `SmallVGG` is the network of Keras's own
CIFAR-10 example of long standing, `cifar10_cnn.py`: two pairs of 3 x 3 convolutions, 1,250,858 weights.
"""

from __future__ import annotations

from typing import Any

from keras import layers

from tlkit.models.blocks import convolve
from tlkit.models.network import Network

PAPER = "https://arxiv.org/abs/1409.1556"
CONFIGURATION_A = ((64,), (128,), (256, 256), (512, 512), (512, 512))


def _body(x: Any) -> Any:
    for block, widths in enumerate(CONFIGURATION_A, start=1):
        for number, filters in enumerate(widths, start=1):
            x = convolve(x, filters, 3, f"block{block}_conv{number}")
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
    return x


def _neck(x: Any) -> Any:
    x = layers.Flatten(name="flatten")(x)
    for name in ("fc1", "fc2"):
        x = layers.Dense(4096, activation="relu", kernel_initializer="he_normal", name=name)(x)
        x = layers.Dropout(0.5, name=f"{name}_dropout")(x)
    return x


def _small_body(x: Any) -> Any:
    for block, filters in enumerate((32, 64), start=1):
        x = convolve(x, filters, 3, f"block{block}_conv1")
        x = convolve(x, filters, 3, f"block{block}_conv2", padding="valid")
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
        x = layers.Dropout(0.25, name=f"block{block}_dropout")(x)
    return x


def _small_neck(x: Any) -> Any:
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(512, activation="relu", kernel_initializer="he_normal", name="fc1")(x)
    return layers.Dropout(0.5, name="fc1_dropout")(x)


VGG11 = Network("vgg11", _body, _neck, paper=PAPER)
SmallVGG = Network("small_vgg", _small_body, _small_neck, (32, 32, 3), smallest=16, classes=10, paper=PAPER)
