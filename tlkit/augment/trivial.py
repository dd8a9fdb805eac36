"""TrivialAugment: one change a picture, of a kind and a strength drawn by chance."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from tlkit.augment.colour import IDENTITY, WHITE, colour_change, mean_grey, recolour, require_colours
from tlkit.augment.layer import SERIALISED, Augmentation, between, require_share
from tlkit.augment.warp import Size, affine

KINDS = (
    "identity",
    "shear across",
    "shear down",
    "shift across",
    "shift down",
    "rotation",
    "brightness",
    "contrast",
    "saturation",
    "autocontrast",
    "solarise",
    "posterise",
)
# At strength 1, the ranges of RandAugment (Cubuk et al., 2019); what is beyond them is reached up to strength 2.
SHEAR = 0.3
SHIFT = 32 / 224  # Of the picture's side; papers and torchvision tell it in pixels, of pictures of 224.
DEGREES = 30.0
FACTOR = 0.9
BITS_LOST = 4.0
MOST_BITS_LOST = 6.0  # Of eight; what is left shows four values.
DARKEST = 0.01  # The smallest factor for brightness, contrast and saturation.


@keras.saving.register_keras_serializable(SERIALISED)
class TrivialAugment(Augmentation):
    """One of twelve changes for each picture: Müller and Hutter, "TrivialAugment" (2021).

    Moves are one warp, colours one matrix. Of the paper's changes equalize and sharpness are left out: they cost as
    much as all the others together; `keras.layers.Equalization` and `RandomSharpness` can be added. Keras's
    RandAugment computes all of its changes for every batch, to use one of them for the whole batch.

    Args:
        strength: Factor of the largest change, 0 to 2.
        seed: Of the draws.
        **kwargs: As for every Keras layer.

    Raises:
        InputError: The strength is out of range, or the pictures have not three channels.
    """

    num_draws = 2
    moves = True

    def __init__(self, strength: float = 1.0, seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        self.strength = require_share("strength", strength, 2)

    def places(self, draws: Any, size: Size) -> Any:
        amount = between(draws[:, 1], -self.strength, self.strength)

        def only(kind: str, value: Any) -> Any:
            return ops.where(self._is(kind, draws), value, 0.0)

        turn = only("rotation", amount * DEGREES) * (math.pi / 180)
        cosine, sine = ops.cos(turn), ops.sin(turn)
        shear = [only(kind, amount * SHEAR) for kind in KINDS[1:3]]
        shift = [only(kind, amount * SHIFT * side) for kind, side in zip(KINDS[3:5], size[::-1], strict=True)]
        return affine(((cosine, shear[0] - sine, shift[0]), (shear[1] + sine, cosine, shift[1])))

    def values(self, images: Any, draws: Any) -> Any:
        require_colours(images)
        changed = recolour(images, *self._colours(images, draws))
        amount = draws[:, 1] * self.strength
        threshold = ops.where(self._is("solarise", draws), WHITE * (1 - amount / 2), WHITE + 1)
        changed = ops.where(changed >= ops.reshape(threshold, (-1, 1, 1, 1)), WHITE - changed, changed)
        lost = ops.minimum(ops.floor(amount * BITS_LOST + 0.5), MOST_BITS_LOST)
        step = ops.reshape(2.0**lost, (-1, 1, 1, 1))
        chosen = ops.reshape(self._is("posterise", draws), (-1, 1, 1, 1))
        return ops.where(chosen, ops.floor(changed / step) * step, changed)

    def _colours(self, images: Any, draws: Any) -> tuple[Any, Any]:
        amount = between(draws[:, 1], -self.strength, self.strength) * FACTOR
        factors = [
            ops.where(self._is(kind, draws), ops.maximum(1 + amount, DARKEST), 1.0)
            for kind in ("brightness", "contrast", "saturation")
        ]
        matrix, offset = colour_change(factors, None, mean_grey(images))
        low, high = ops.min(images, axis=(1, 2)), ops.max(images, axis=(1, 2))
        stretch = WHITE / ops.maximum(high - low, 1.0)
        chosen = ops.expand_dims(self._is("autocontrast", draws), -1)
        stretched = ops.expand_dims(stretch, -1) * IDENTITY
        return ops.where(ops.expand_dims(chosen, -1), stretched, matrix), ops.where(chosen, -low * stretch, offset)

    def _is(self, kind: str, draws: Any) -> Any:
        """Tells for which pictures a kind was drawn, bool (n,)."""
        return ops.equal(ops.floor(draws[:, 0] * len(KINDS)), float(KINDS.index(kind)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "strength": self.strength}
