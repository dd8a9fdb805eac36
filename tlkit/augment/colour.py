"""Colours: every linear change is one 3 x 3 matrix and an offset, so all of them together are, too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.augment.layer import SERIALISED, Augmentation, between, require_share
from tlkit.errors import InputError

GREY = np.array([0.299, 0.587, 0.114], "float32")  # Luma of ITU-R BT.601, as Pillow and JPEG weigh the colours.
# NTSC's YIQ: Y is the luma; a turn in the plane of I and Q changes the hue and leaves the luma alone.
TO_YIQ = np.array([GREY, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]], "float32")
FROM_YIQ = np.linalg.inv(TO_YIQ.astype("float64")).astype("float32")
IDENTITY = np.eye(3, dtype="float32")
WHITE = 255.0


@keras.saving.register_keras_serializable(SERIALISED)
class RandomColour(Augmentation):
    """Changes brightness, contrast, saturation and hue of each picture, as one matrix.

    Brightness multiplies, contrast and saturation blend with the picture's mean grey and with its own grey, hue turns
    in YIQ: linear all of them. Keras's RandomBrightness, RandomContrast, RandomSaturation, RandomHue and
    RandomColorJitter go over the pixels once each and the last two through HSV; Howard, "Some improvements on deep
    convolutional neural network based image classification" (2013), introduced the jitter.

    Args:
        brightness: Factors are drawn from 1 - brightness to 1 + brightness; 0 to 1, as are the next two.
        contrast: Likewise.
        saturation: Likewise.
        hue: Largest turn as a share of the half circle, either way, 0 to 1.
        seed: Of the draws.
        **kwargs: As for every Keras layer.

    Raises:
        InputError: A value is out of range, or the pictures have not three channels.
    """

    num_draws = 4

    def __init__(
        self,
        brightness: float = 0.2,
        contrast: float = 0.2,
        saturation: float = 0.2,
        hue: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, **kwargs)
        self.brightness = require_share("brightness", brightness)
        self.contrast = require_share("contrast", contrast)
        self.saturation = require_share("saturation", saturation)
        self.hue = require_share("hue", hue)

    def values(self, images: Any, draws: Any) -> Any:
        require_colours(images)
        amounts = (self.brightness, self.contrast, self.saturation)
        factors = [between(draws[:, index], 1 - amount, 1 + amount) for index, amount in enumerate(amounts)]
        turn = between(draws[:, 3], -self.hue, self.hue) * math.pi if self.hue else None
        grey = mean_grey(images) if self.contrast else None
        return recolour(images, *colour_change(factors, turn, grey))

    def get_config(self) -> dict[str, Any]:
        names = ("brightness", "contrast", "saturation", "hue")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def colour_change(factors: Sequence[Any], turn: Any, grey: Any) -> tuple[Any, Any]:
    """Returns matrices (n, 3, 3) and offsets (n, 3) that change colours, for `recolour`.

    Args:
        factors: Of brightness, contrast and saturation, float32 (n,) each; 1 changes nothing.
        turn: Turn of the hue in radians (n,), or None.
        grey: Mean grey of the pictures (n,), or None where no contrast is changed.
    """
    brightness, contrast, _ = factors
    wide = [ops.reshape(factor, (-1, 1, 1)) for factor in factors]
    to_grey = np.broadcast_to(GREY, (3, 3))
    matrix = wide[2] * IDENTITY + (1 - wide[2]) * to_grey
    if turn is not None:
        matrix = ops.matmul(_hue_matrix(turn), matrix)
    offset = ops.zeros_like(brightness) if grey is None else brightness * (1 - contrast) * grey
    return wide[0] * wide[1] * matrix, ops.stack([offset] * 3, axis=-1)


def _hue_matrix(turn: Any) -> Any:
    cosine, sine, nothing = ops.cos(turn), ops.sin(turn), ops.zeros_like(turn)
    rows = [[nothing + 1, nothing, nothing], [nothing, cosine, -sine], [nothing, sine, cosine]]
    turned = ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2)
    return ops.matmul(ops.matmul(ops.convert_to_tensor(FROM_YIQ), turned), ops.convert_to_tensor(TO_YIQ))


def require_colours(images: Any) -> None:
    """Raises InputError for pictures that have not three channels."""
    if images.shape[-1] != 3:
        raise InputError(f"Expected pictures of three channels. Received: {images.shape[-1]}.")


def mean_grey(images: Any) -> Any:
    """Returns the mean luma of each picture, float32 (n,), from 0 to 255."""
    return ops.sum(ops.mean(images, axis=(1, 2)) * GREY, axis=-1)


def recolour(images: Any, matrix: Any, offset: Any) -> Any:
    """Multiplies each colour by its picture's matrix (n, 3, 3), adds the offset (n, 3) and keeps 0 to 255."""
    if keras.backend.backend() == "tensorflow":  # Its products of small matrices are faster than sums; JAX's are not.
        height, width = images.shape[1:3]
        product = ops.matmul(ops.reshape(images, (-1, height * width, 3)), ops.transpose(matrix, (0, 2, 1)))
        changed = ops.reshape(product, (-1, height, width, 3))
    else:
        parts = [images[..., colour : colour + 1] * matrix[:, None, None, :, colour] for colour in range(3)]
        changed = parts[0] + parts[1] + parts[2]
    return ops.clip(changed + offset[:, None, None], 0.0, WHITE)
