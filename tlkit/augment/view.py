"""Where a picture is looked at from: crops, flips, rotations, zooms and shifts as one warp."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from tlkit.augment.layer import SERIALISED, Augmentation, between, require_range, require_share
from tlkit.augment.warp import Size, affine, compose, rotation
from tlkit.errors import InputError


@keras.saving.register_keras_serializable(SERIALISED)
class RandomView(Augmentation):
    """Looks at a part of each picture, perhaps mirrored and turned: all that moves things, in one warp.

    With `scale` it is the random resized crop of Szegedy et al., "Going deeper with convolutions" (2015), which Keras
    does not have; a crop whose shape does not fit into the picture is narrowed to fit. Without, it cuts a piece of
    `size` at whole pixels, whose values stay as they are; `keras.layers.RandomCrop` gives all pictures of a batch the
    same piece. Keras's RandomFlip, RandomRotation and RandomZoom warp once each.

    Args:
        size: Side of the square that comes out, in pixels; the picture's own when None.
        scale: Smallest and largest share of the picture's area, above 0 to 1; None cuts a piece of `size`.
        ratio: Smallest and largest width over height of the part, with `scale`; drawn evenly by its logarithm.
        flip: Whether half of the pictures are mirrored left to right.
        vertical_flip: Whether half of the pictures are mirrored top to bottom.
        rotation: Largest turn in degrees, either way, 0 to 180.
        seed: Of the draws.
        **kwargs: As for every Keras layer.

    Raises:
        InputError: A value is out of range, or a piece is larger than the picture.
    """

    num_draws = 7
    moves = True

    def __init__(
        self,
        size: int | None = None,
        scale: tuple[float, float] | None = None,
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: bool = True,
        vertical_flip: bool = False,
        rotation: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, **kwargs)
        if size is not None and size < 1:
            raise InputError(f"Expected a size of at least 1 pixel. Received: {size}.")
        self.size = size
        self.scale = None if scale is None else require_range("scale", scale, 0.01, 1.0)
        self.ratio = require_range("ratio", ratio, 0.1, 10.0)
        self.flip, self.vertical_flip = bool(flip), bool(vertical_flip)
        self.rotation = require_share("rotation", rotation, 180)
        self.straight = not rotation

    def output_size(self, size: Size) -> Size:
        if self.size is None:
            return size
        if self.size > min(size):
            raise InputError(
                f"Expected crops no larger than the pictures. Received: crops of {self.size} pixels a side, pictures "
                f"of {size[1]} x {size[0]}."
            )
        return self.size, self.size

    def places(self, draws: Any, size: Size) -> Any:
        seen = self.output_size(size)
        part = self._part(draws, size, seen)
        middles = [(between(draws[:, 2 + axis], -0.5, 0.5)) * (size[1 - axis] - part[axis]) for axis in (0, 1)]
        if self.scale is None:
            room = [size[1] - seen[1], size[0] - seen[0]]
            starts = [ops.minimum(ops.floor(draws[:, 2 + axis] * (room[axis] + 1)), room[axis]) for axis in (0, 1)]
            middles = [start - spare / 2 for start, spare in zip(starts, room, strict=True)]
        zoom = [
            part[axis] / seen[1 - axis] * _mirrored(draws[:, 4 + axis], wanted)
            for axis, wanted in ((0, self.flip), (1, self.vertical_flip))
        ]
        nothing = ops.zeros_like(draws[:, 0])
        if not self.rotation:
            return affine(((zoom[0], nothing, middles[0]), (nothing, zoom[1], middles[1])))
        shift = affine(((nothing + 1, nothing, middles[0]), (nothing, nothing + 1, middles[1])))
        return compose(shift, rotation(between(draws[:, 6], -self.rotation, self.rotation), *zoom))

    def _part(self, draws: Any, size: Size, seen: Size) -> list[Any]:
        """Returns width and height of the part that is looked at, float32 (n,) each."""
        if self.scale is None:
            return [ops.zeros_like(draws[:, 0]) + side for side in (seen[1], seen[0])]
        area = between(draws[:, 0], *self.scale) * (size[0] * size[1])
        stretch = ops.exp(between(draws[:, 1], *(math.log(value) for value in self.ratio)))
        return [
            ops.minimum(ops.sqrt(area * stretch), float(size[1])),
            ops.minimum(ops.sqrt(area / stretch), float(size[0])),
        ]

    def get_config(self) -> dict[str, Any]:
        names = ("size", "scale", "ratio", "flip", "vertical_flip", "rotation")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _mirrored(draws: Any, wanted: bool) -> Any:
    """Returns -1 for the half of the draws that are mirrored, else 1."""
    return ops.where(draws < 0.5, -1.0, 1.0) if wanted else ops.ones_like(draws)
