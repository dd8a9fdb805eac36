"""A fast network for pictures of 28 to 32 pixels: K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024.

`FastNet` has the paper's architecture, with 1.97 million weights; its first convolution is trained with the rest, where
the paper sets it to whiten patches of the training pictures. `FastNetSmall` is half as wide, for processors.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from keras import layers

from tlkit.models.network import Network

PAPER = "https://arxiv.org/abs/2404.00498"
STEM_FILTERS = 24
MOMENTUM = 0.6  # Of the statistics: a training of ten epochs has no time for more.


def _body(x: Any, widths: tuple[int, ...]) -> Any:
    x = layers.Conv2D(STEM_FILTERS, 2, kernel_initializer="he_normal", name="stem_conv")(x)
    x = layers.Activation("gelu", name="stem_gelu")(x)
    for block, filters in enumerate(widths, start=1):
        x = _convolve(x, filters, f"block{block}_conv1")
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
        x = _normalise(x, f"block{block}_1")
        x = _convolve(x, filters, f"block{block}_conv2")
        x = _normalise(x, f"block{block}_2")
    return x


def _convolve(x: Any, filters: int, name: str) -> Any:
    return layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=name)(x)


def _normalise(x: Any, name: str) -> Any:
    x = layers.BatchNormalization(momentum=MOMENTUM, epsilon=1e-5, scale=False, name=f"{name}_bn")(x)
    return layers.Activation("gelu", name=f"{name}_gelu")(x)


def _neck(x: Any) -> Any:
    return layers.GlobalMaxPooling2D(name="max_pool")(x)


FastNet = Network(
    "fastnet", partial(_body, widths=(64, 256, 256)), _neck, (32, 32, 3), smallest=9, classes=10, paper=PAPER
)
FastNetSmall = Network(
    "fastnet_small", partial(_body, widths=(32, 128, 128)), _neck, (32, 32, 3), smallest=9, classes=10, paper=PAPER
)
