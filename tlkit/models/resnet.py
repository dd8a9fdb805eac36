"""Plain and residual networks of basic blocks: K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning", 2015.

`ResNet18` and `ResNet34` have 11,689,512 and 21,797,672 trained weights, with projections where the width changes
(option B of the paper); `Plain18` and `Plain34` are the same without shortcuts. The `...Cifar` ones begin with a 3 x 3
convolution, for pictures of 32 x 32. The narrow `ResNet20` and `ResNet56` with their plain twins are those of the
paper's section 4.2 (0.27 and 0.85 million weights), on which it shows that plain networks get worse with depth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from keras import layers

from tlkit.models.network import Network

PAPER = "https://arxiv.org/abs/1512.03385"
IMAGENET, CIFAR = (224, 224, 3), (32, 32, 3)
WIDTHS, NARROW_WIDTHS = (64, 128, 256, 512), (16, 32, 64)


def _body(x: Any, *, blocks: Sequence[int], widths: Sequence[int], residual: bool, large_pictures: bool) -> Any:
    x = _large_stem(x, widths[0]) if large_pictures else _small_stem(x, widths[0])
    for stage, (count, filters) in enumerate(zip(blocks, widths, strict=True), start=1):
        for block in range(1, count + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            x = _block(x, filters, strides, residual, f"stage{stage}_block{block}")
    return x


def _large_stem(x: Any, filters: int) -> Any:
    x = _convolve(x, filters, 7, 2, "stem")
    x = layers.ReLU(name="stem_relu")(x)
    return layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)


def _small_stem(x: Any, filters: int) -> Any:
    return layers.ReLU(name="stem_relu")(_convolve(x, filters, 3, 1, "stem"))


def _block(x: Any, filters: int, strides: int, residual: bool, name: str) -> Any:
    """Applies two 3 x 3 convolutions and, in a residual network, adds what came in."""
    shortcut = x
    x = layers.ReLU(name=f"{name}_relu1")(_convolve(x, filters, 3, strides, f"{name}_1"))
    x = _convolve(x, filters, 3, 1, f"{name}_2")
    if residual:
        if strides > 1 or shortcut.shape[-1] != filters:
            shortcut = _convolve(shortcut, filters, 1, strides, f"{name}_shortcut")
        x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_out")(x)


def _convolve(x: Any, filters: int, kernel_size: int, strides: int, name: str) -> Any:
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)


def _network(name: str, blocks: Sequence[int], residual: bool, large_pictures: bool) -> Network:
    widths = WIDTHS if len(blocks) == len(WIDTHS) else NARROW_WIDTHS
    body: Callable[[Any], Any] = partial(
        _body, blocks=blocks, widths=widths, residual=residual, large_pictures=large_pictures
    )
    shape, smallest, classes = (IMAGENET, 32, 1000) if large_pictures else (CIFAR, 8, 10)
    return Network(name, body, input_shape=shape, smallest=smallest, classes=classes, paper=PAPER)


ResNet18 = _network("resnet18", (2, 2, 2, 2), True, True)
ResNet34 = _network("resnet34", (3, 4, 6, 3), True, True)
Plain18 = _network("plain18", (2, 2, 2, 2), False, True)
Plain34 = _network("plain34", (3, 4, 6, 3), False, True)
ResNet18Cifar = _network("resnet18_cifar", (2, 2, 2, 2), True, False)
ResNet34Cifar = _network("resnet34_cifar", (3, 4, 6, 3), True, False)
Plain18Cifar = _network("plain18_cifar", (2, 2, 2, 2), False, False)
Plain34Cifar = _network("plain34_cifar", (3, 4, 6, 3), False, False)
ResNet20 = _network("resnet20", (3, 3, 3), True, False)
ResNet56 = _network("resnet56", (9, 9, 9), True, False)
Plain20 = _network("plain20", (3, 3, 3), False, False)
Plain56 = _network("plain56", (9, 9, 9), False, False)
