"""Shifts, rotations, changes of scale and mirror images of pictures and feature maps, as arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlkit.errors import InputError, unknown_name

KINDS = ("shift", "rotation", "scale", "flip")


@dataclass(frozen=True)
class Transformation:
    """One way to move what is in a picture, about its middle.

    Attributes:
        kind: `"shift"` (to the right), `"rotation"` (counter-clockwise), `"scale"` or `"flip"` (left to right).
        amount: Pixels, degrees, or the factor by which things grow; not looked at for a flip.
    """

    kind: str
    amount: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("transformation", self.kind, KINDS)
        if self.kind == "scale" and self.amount <= 0:
            raise InputError(f"Expected a factor above 0 to scale by. Received: {self.amount}.")

    @property
    def label(self) -> str:
        """Such as `"shift 4 px"`, `"rotation 90°"`, `"scale 1.25"`, `"flip"`."""
        unit = {"shift": " px", "rotation": "°"}.get(self.kind, "")
        return self.kind if self.kind == "flip" else f"{self.kind} {self.amount:g}{unit}"

    def source(self, points: NDArray, middle: tuple[float, float]) -> NDArray[np.float64]:
        """Returns where in the picture as it was lies what is at `points` afterwards.

        Args:
            points: (row, column) pairs, float (..., 2).
            middle: Middle of the picture, (row, column).
        """
        if self.kind == "shift":
            return points - np.array([0.0, self.amount])
        offset = points - np.array(middle)
        if self.kind == "scale":
            return offset / self.amount + np.array(middle)
        if self.kind == "flip":
            return offset * np.array([1.0, -1.0]) + np.array(middle)
        turn = math.radians(self.amount)
        cosine, sine = round(math.cos(turn), 15), round(math.sin(turn), 15)
        rows, columns = offset[..., 0], offset[..., 1]
        return np.stack([cosine * rows + sine * columns, cosine * columns - sine * rows], axis=-1) + np.array(middle)


@dataclass(frozen=True)
class Grid:
    """How the places of a map lie on the picture: place i is at pixel `start + stride * i`, along each axis."""

    start: tuple[float, float] = (0.0, 0.0)
    stride: tuple[float, float] = (1.0, 1.0)


PIXELS = Grid()


def transform(
    maps: NDArray,
    transformation: Transformation,
    image: tuple[int, int],
    grid: Grid = PIXELS,
    margin: tuple[int, int] = (0, 0),
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Moves what is in pictures or feature maps, as the transformation moves it in the picture.

    Values between places are blended from the four around them; whole-pixel shifts, right angles and flips are exact.
    What comes from outside is filled with the value at the border.

    Args:
        maps: Float or integer array (n, height, width, channels).
        transformation: What to do.
        image: Height and width of the picture in pixels.
        grid: How the maps lie on the picture; the picture itself by default.
        margin: Places at each border of the maps, rows and columns, that do not count as inside.

    Returns:
        The moved maps, float32, and for each place whether what it shows comes from inside, bool (height, width).
    """
    height, width = maps.shape[1:3]
    places = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1)
    start, stride = np.array(grid.start), np.array(grid.stride)
    middle = ((image[0] - 1) / 2, (image[1] - 1) / 2)
    source = (transformation.source(places * stride + start, middle) - start) / stride
    source = np.where(np.abs(source - source.round()) < 1e-9, source.round(), source)
    limits = np.array([height - 1, width - 1])
    inside = ((source >= margin) & (source <= limits - margin)).all(axis=-1)
    return _blend(np.asarray(maps, np.float32), np.clip(source, 0, limits)), inside


def _blend(maps: NDArray[np.float32], source: NDArray[np.float64]) -> NDArray[np.float32]:
    """Reads maps at places between their values."""
    low = np.floor(source).astype(int)
    high = np.minimum(low + 1, np.array(maps.shape[1:3]) - 1)
    part = (source - low).astype(np.float32)[..., None]
    top, bottom, left, right = low[..., 0], high[..., 0], low[..., 1], high[..., 1]
    down, across = part[:, :, 0], part[:, :, 1]
    upper = maps[:, top, left] * (1 - across) + maps[:, top, right] * across
    if not down.any():
        return upper
    lower = maps[:, bottom, left] * (1 - across) + maps[:, bottom, right] * across
    return upper * (1 - down) + lower * down
