"""FCN-8s: J. Long, E. Shelhamer, T. Darrell, "Fully convolutional networks for semantic segmentation", 2015.

On VGG-16, with 134 million weights (its Table 1), scores at strides 32, 16 and 8 added up. Convolutions pad, so that
the paper's 100 pixels around the picture and its cropping are not needed; sides must be multiples of 32. `SmallFCN8s`
has an eighth of the width and batch normalisation; `SmallFCN32s` is the same without the skips from strides 16 and 8.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from keras import layers

from tlkit.models.blocks import convolve
from tlkit.models.network import Network

PAPER = "https://arxiv.org/abs/1411.4038"
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # VGG-16: filters and convolutions.
FULLY_CONNECTED = 4096


def _body(x: Any, *, divisor: int, batch_norm: bool) -> tuple[Any, ...]:
    """Returns the maps at strides 8 and 16, and the last one, at stride 32."""
    maps = []
    for block, (filters, count) in enumerate(BLOCKS, start=1):
        for number in range(1, count + 1):
            x = convolve(x, filters // divisor, 3, f"block{block}_conv{number}", batch_norm=batch_norm)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
        maps.append(x)
    for name, kernel_size in (("fc6", 7), ("fc7", 1)):
        x = convolve(x, FULLY_CONNECTED // divisor, kernel_size, name, batch_norm=batch_norm)
        x = layers.Dropout(0.5, name=f"{name}_dropout")(x)
    return maps[2], maps[3], x


def _add_up(maps: tuple[Any, ...], classes: int, activation: Any) -> Any:
    pool3, pool4, x = maps
    x = _enlarge(_score(x, classes, "score"), classes, 2, "enlarge_score")
    x = layers.Add(name="add_pool4")([x, _score(pool4, classes, "score_pool4")])
    x = _enlarge(x, classes, 2, "enlarge_pool4")
    x = layers.Add(name="add_pool3")([x, _score(pool3, classes, "score_pool3")])
    return _activate(_enlarge(x, classes, 8, "enlarge_pool3"), activation)


def _enlarge_alone(maps: tuple[Any, ...], classes: int, activation: Any) -> Any:
    return _activate(_enlarge(_score(maps[-1], classes, "score"), classes, 32, "enlarge_score"), activation)


def _score(x: Any, classes: int, name: str) -> Any:
    return layers.Conv2D(classes, 1, name=name)(x)


def _enlarge(x: Any, classes: int, factor: int, name: str) -> Any:
    return layers.Conv2DTranspose(classes, 2 * factor, strides=factor, padding="same", use_bias=False, name=name)(x)


def _activate(x: Any, activation: Any) -> Any:
    return layers.Activation(activation, dtype="float32", name="predictions")(x)


def _network(name: str, shape: tuple[int, int, int], body: Any, top: Any, classes: int) -> Network:
    return Network(name, body, top=top, input_shape=shape, smallest=32, classes=classes, paper=PAPER)


_SMALL = partial(_body, divisor=8, batch_norm=True)

FCN8s = _network("fcn8s", (224, 224, 3), partial(_body, divisor=1, batch_norm=False), _add_up, 21)
SmallFCN8s = _network("small_fcn8s", (64, 64, 1), _SMALL, _add_up, 2)
SmallFCN32s = _network("small_fcn32s", (64, 64, 1), _SMALL, _enlarge_alone, 2)
