"""Rectangles: a part of the picture that is hidden, or taken from another picture."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from tlkit.augment.layer import SERIALISED, Augmentation, between, require_range, require_share
from tlkit.augment.warp import Size
from tlkit.errors import InputError


@keras.saving.register_keras_serializable(SERIALISED)
class RandomErasing(Augmentation):
    """Hides a rectangle of some pictures behind one colour: Zhong et al., "Random erasing data augmentation" (2017).

    The colour is drawn for each picture. Keras's layer of this name fills with noise, which it draws for every pixel
    of every picture, and hides a part of each of them.

    Args:
        share: Share of the pictures that lose a part, 0 to 1.
        scale: Smallest and largest share of the area that is hidden, above 0 to 1.
        ratio: Smallest and largest width over height of the rectangle; drawn evenly by its logarithm.
        seed: Of the draws.
        **kwargs: As for every Keras layer.

    Raises:
        InputError: A value is out of range.
    """

    num_draws = 8

    def __init__(
        self,
        share: float = 0.25,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, **kwargs)
        self.share = require_share("share", share)
        self.scale = require_range("scale", scale, 0.001, 1.0)
        self.ratio = require_range("ratio", ratio, 0.1, 10.0)

    def values(self, images: Any, draws: Any) -> Any:
        if images.shape[-1] not in (1, 3):
            raise InputError(f"Expected pictures of one or three channels. Received: {images.shape[-1]}.")
        size = (images.shape[1], images.shape[2])
        area = between(draws[:, 1], *self.scale) * (size[0] * size[1])
        stretch = ops.exp(between(draws[:, 2], *(math.log(value) for value in self.ratio)))
        sides = ops.sqrt(area / stretch), ops.sqrt(area * stretch)
        chosen = draws[:, 0] < self.share
        hidden = rectangle((draws[:, 3], draws[:, 4]), [ops.where(chosen, side, 0.0) for side in sides], size)
        colour = ops.reshape(draws[:, 5:8] * 255.0, (-1, 1, 1, 3))[..., : images.shape[-1]]
        return ops.where(ops.expand_dims(hidden, -1), colour, images)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "share": self.share, "scale": self.scale, "ratio": self.ratio}


def rectangle(middle: Any, sides: Any, size: Size) -> Any:
    """Marks the pixels of rectangles, cut off where they reach over the border: bool (n, height, width).

    Args:
        middle: Down and across, as shares of the picture, float32 (n,) each.
        sides: Height and width in pixels, float32 (n,) each; 0 marks nothing.
        size: Height and width of the pictures.
    """
    marks = []
    for place, side, length in zip(middle, sides, size, strict=True):
        pixels = ops.reshape(ops.arange(length, dtype="float32"), (1, -1)) + 0.5
        distance = ops.abs(pixels - ops.expand_dims(place * length, -1))
        marks.append(distance < ops.expand_dims(side / 2, -1))
    return ops.logical_and(ops.expand_dims(marks[0], 2), ops.expand_dims(marks[1], 1))
