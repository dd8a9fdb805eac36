"""GoogLeNet: C. Szegedy et al., "Going deeper with convolutions", 2014, with its two auxiliary classifiers.

6,998,552 weights, and 13,378,280 with the auxiliary classifiers, which are there for training alone: `tlkit.fine_tune`
puts them on and takes them off again; `with_auxiliary_heads` gives a model of three outputs. Local response
normalisation, which has no weights, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from tlkit.models.network import Network

PAPER = "https://arxiv.org/abs/1409.4842"
AUXILIARY_LAYERS = ("inception_4a", "inception_4d")
# Table 1 of the paper: 1 x 1, 3 x 3 reduce, 3 x 3, 5 x 5 reduce, 5 x 5, pool projection.
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
AUXILIARY_POOL, AUXILIARY_STRIDE = 5, 3


def _body(x: Any) -> Any:
    x = _convolve(x, 64, 7, "conv1", strides=2)
    x = _shrink(x, "pool1")
    x = _convolve(x, 64, 1, "conv2_reduce")
    x = _convolve(x, 192, 3, "conv2")
    x = _shrink(x, "pool2")
    for name, widths in MODULES.items():
        x = _inception(x, widths, f"inception_{name}")
        if name in ("3b", "4e"):
            x = _shrink(x, f"pool{name[0]}")
    return x


def _inception(x: Any, widths: tuple[int, ...], name: str) -> Any:
    direct, reduce3, filters3, reduce5, filters5, projection = widths
    one = _convolve(x, direct, 1, f"{name}_1x1")
    three = _convolve(_convolve(x, reduce3, 1, f"{name}_3x3_reduce"), filters3, 3, f"{name}_3x3")
    five = _convolve(_convolve(x, reduce5, 1, f"{name}_5x5_reduce"), filters5, 5, f"{name}_5x5")
    pooled = layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    pooled = _convolve(pooled, projection, 1, f"{name}_projection")
    return layers.Concatenate(name=name)([one, three, five, pooled])


def _convolve(x: Any, filters: int, kernel_size: int, name: str, strides: int = 1) -> Any:
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _shrink(x: Any, name: str) -> Any:
    return layers.MaxPooling2D(3, strides=2, padding="same", name=name)(x)


def _neck(x: Any) -> Any:
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return layers.Dropout(0.4, name="dropout")(x)


def auxiliary_head(x: Any, classes: int, activation: Any, name: str) -> Any:
    """Puts an auxiliary classifier on a feature map, as section 5 of the paper describes it.

    Args:
        x: Feature map (batch, height, width, channels); where it is smaller than 5 x 5 the pooling takes all of it.
        classes: Number of classes.
        activation: Of the output; None for logits.
        name: What its layers' names begin with.

    Returns:
        Keras tensor (batch, classes), float32.
    """
    pool_size = [min(AUXILIARY_POOL, side) for side in x.shape[1:3]]
    x = layers.AveragePooling2D(pool_size, strides=AUXILIARY_STRIDE, name=f"{name}_pool")(x)
    x = _convolve(x, 128, 1, f"{name}_conv")
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = layers.Dense(1024, activation="relu", kernel_initializer="he_normal", name=f"{name}_fc")(x)
    x = layers.Dropout(0.7, name=f"{name}_dropout")(x)
    return layers.Dense(classes, activation=activation, dtype="float32", name=f"{name}_predictions")(x)


def with_auxiliary_heads(
    model: keras.Model, classes: int, activation: Any = "softmax", after: Sequence[str] = AUXILIARY_LAYERS
) -> keras.Model:
    """Returns a model with auxiliary classifiers as further outputs, over the same layers.

    Args:
        model: A functional classifier with one output, such as `GoogLeNet(classes=10)`.
        classes: Its number of classes.
        activation: Of the auxiliary outputs; None for logits.
        after: Names of the layers whose feature maps they read.

    Returns:
        A model whose outputs are the model's own, then those of the auxiliary classifiers `auxiliary1`, ...
    """
    heads = [
        auxiliary_head(model.get_layer(name).output, classes, activation, f"auxiliary{number}")
        for number, name in enumerate(after, start=1)
    ]
    return keras.Model(model.inputs[0], [model.outputs[0], *heads], name=model.name)


GoogLeNet = Network("googlenet", _body, _neck, smallest=32, paper=PAPER)
