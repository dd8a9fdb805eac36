"""U-Net: O. Ronneberger, P. Fischer, T. Brox, "U-Net: convolutional networks for biomedical image segmentation", 2015.

`UNet` is the paper's: 23 convolutional layers without padding, so that 572 x 572 pixels give 388 x 388 classified
ones; 31 million weights. `SmallUNet` has a quarter of the width, one resolution fewer, batch normalisation, and pads,
so that every pixel of a picture gets a class; `SmallUNetPlain` is the same without the skip connections.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from keras import layers

from tlkit.models.blocks import convolve
from tlkit.models.network import Network

PAPER = "https://arxiv.org/abs/1505.04597"


def _body(x: Any, *, filters: int, depth: int, padding: str, batch_norm: bool, skips: bool) -> Any:
    convolve_twice = partial(_convolve_twice, padding=padding, batch_norm=batch_norm)
    kept = []
    for level in range(depth):
        x = convolve_twice(x, filters * 2**level, f"down{level + 1}")
        kept.append(x)
        x = layers.MaxPooling2D(name=f"down{level + 1}_pool")(x)
    x = convolve_twice(x, filters * 2**depth, "bottom")
    for level in reversed(range(depth)):
        name = f"up{level + 1}"
        width = filters * 2**level
        x = layers.Conv2DTranspose(width, 2, strides=2, name=f"{name}_enlarge")(x)
        if skips:
            x = layers.Concatenate(name=f"{name}_concat")([_cropped(kept[level], x, name), x])
        x = convolve_twice(x, width, name)
    return x


def _convolve_twice(x: Any, filters: int, name: str, padding: str, batch_norm: bool) -> Any:
    for number in (1, 2):
        x = convolve(x, filters, 3, f"{name}_conv{number}", padding=padding, batch_norm=batch_norm)
    return x


def _cropped(kept: Any, smaller: Any, name: str) -> Any:
    """Cuts the middle out of a map, as large as the other, where convolutions without padding left it smaller."""
    spare = [have - want for have, want in zip(kept.shape[1:3], smaller.shape[1:3], strict=True)]
    if not any(spare):
        return kept
    return layers.Cropping2D([(rest // 2, rest - rest // 2) for rest in spare], name=f"{name}_crop")(kept)


def classify_pixels(x: Any, classes: int, activation: Any) -> Any:
    """Gives each place of a map a distribution over classes."""
    return layers.Conv2D(classes, 1, activation=activation, dtype="float32", name="predictions")(x)


def _network(name: str, shape: tuple[int, int, int], smallest: int, **form: Any) -> Network:
    body = partial(_body, **form)
    return Network(name, body, top=classify_pixels, input_shape=shape, smallest=smallest, classes=2, paper=PAPER)


_SMALL = {"filters": 16, "depth": 3, "padding": "same", "batch_norm": True}

UNet = _network("unet", (572, 572, 1), 188, filters=64, depth=4, padding="valid", batch_norm=False, skips=True)
SmallUNet = _network("small_unet", (64, 64, 1), 8, **_SMALL, skips=True)
SmallUNetPlain = _network("small_unet_plain", (64, 64, 1), 8, **_SMALL, skips=False)
