"""One affine warp of a batch: crops, flips, rotations, zooms and shears are matrices, and matrices multiply.

Places are counted in pixels from the middle of a picture, (x to the right, y down), so that a matrix does not depend
on the size of what comes before or after it.
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops

Size = tuple[int, int]  # Height and width in pixels.


def affine(
    rows: tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]],
) -> Any:
    """Stacks six numbers, each float32 (n,), into matrices (n, 2, 3): x' = a x + b y + c; y' = d x + e y + f."""
    return ops.stack([ops.stack(list(row), axis=-1) for row in rows], axis=-2)


def rotation(degrees: Any, across: Any, down: Any) -> Any:
    """Returns matrices that turn by `degrees` and then scale by `across` and `down`, each float32 (n,)."""
    turn = degrees * (math.pi / 180)
    cosine, sine, nothing = ops.cos(turn), ops.sin(turn), ops.zeros_like(turn)
    return affine(((across * cosine, -across * sine, nothing), (down * sine, down * cosine, nothing)))


def compose(first: Any, second: Any) -> Any:
    """Returns the matrices (n, 2, 3) of one move done after another.

    A matrix leads from a place seen afterwards back to where it lay, so that of the later move is applied first.
    """
    turned = ops.matmul(first[:, :, :2], second[:, :, :2])
    moved = ops.matmul(first[:, :, :2], second[:, :, 2:]) + first[:, :, 2:]
    return ops.concatenate([turned, moved], axis=-1)


def warp(images: Any, matrices: Any, size: Size, straight: bool = False) -> Any:
    """Reads pictures where matrices say; values between pixels are blended, what lies outside is mirrored in.

    Neighbours are gathered from the flattened batch, in whatever dtype it has. `keras.ops.image.affine_transform` does
    the same, ten times slower under JAX; it cannot change the size, and a warp that neither turns nor shears, which
    falls into columns and rows and is three times as fast, is none of its cases.

    Args:
        images: uint8 or float (n, height, width, channels).
        matrices: float32 (n, 2, 3): for each place seen afterwards, where in the picture it lies.
        size: Height and width of what comes out.
        straight: Whether rows stay rows: b and d of the matrices are 0.

    Returns:
        float32 (n, *size, channels).
    """
    a, b, c, d, e, f = (ops.reshape(matrices[:, row, column], (-1, 1)) for row in range(2) for column in range(3))
    x, y = (ops.expand_dims(ops.arange(side, dtype="float32") - (side - 1) / 2, 0) for side in size[::-1])
    if straight:
        return _rows(_columns(images, a * x + c), e * y + f)
    wide = [ops.expand_dims(entry, -1) for entry in (a, b, c, d, e, f)]
    x, y = ops.expand_dims(x, 1), ops.expand_dims(y, 2)
    return _anywhere(images, wide[0] * x + wide[1] * y + wide[2], wide[3] * x + wide[4] * y + wide[5])


def _columns(images: Any, places: Any) -> Any:
    """Reads the columns of pictures (n, height, width, channels) at places (n, columns) from their middles."""
    height, width, channels = images.shape[1:]
    left, right, part = _neighbours(places, width)
    first = ops.reshape(ops.arange(ops.shape(images)[0] * height, dtype="int32") * width, (-1, height, 1))
    pixels = ops.reshape(images, (-1, channels))
    return _blend(pixels, first + left[:, None], first + right[:, None], part[:, None, :, None])


def _rows(images: Any, places: Any) -> Any:
    """Reads the rows of pictures (n, height, width, channels) at places (n, rows) from their middles."""
    height, width, channels = images.shape[1:]
    top, bottom, part = _neighbours(places, height)
    first = ops.expand_dims(ops.arange(ops.shape(images)[0], dtype="int32") * height, -1)
    lines = ops.reshape(images, (-1, width * channels))
    read = _blend(lines, first + top, first + bottom, ops.expand_dims(part, -1))
    return ops.reshape(read, (-1, places.shape[1], width, channels))


def _anywhere(images: Any, across: Any, down: Any) -> Any:
    """Reads pictures (n, height, width, channels) at places (n, rows, columns) from their middles."""
    height, width, channels = images.shape[1:]
    left, right, part_across = _neighbours(across, width)
    top, bottom, part_down = _neighbours(down, height)
    first = ops.reshape(ops.arange(ops.shape(images)[0], dtype="int32") * (height * width), (-1, 1, 1))
    pixels, part = ops.reshape(images, (-1, channels)), ops.expand_dims(part_across, -1)
    upper, lower = first + top * width, first + bottom * width
    above, below = (_blend(pixels, line + left, line + right, part) for line in (upper, lower))
    return above + (below - above) * ops.expand_dims(part_down, -1)


def _blend(values: Any, before: Any, after: Any, part: Any) -> Any:
    """Gathers two sets of values and blends them: the share `part` is of the second."""
    one, other = (ops.cast(ops.take(values, indices, axis=0), "float32") for indices in (before, after))
    return one + (other - one) * part


def _neighbours(places: Any, length: int) -> tuple[Any, Any, Any]:
    """Returns the pixels before and after places along an axis, counted from its middle, and the share of the second.

    Places beyond the last pixel are mirrored, once; beyond that they stay at the border.
    """
    last = float(length - 1)
    mirrored = last - ops.abs(last - ops.abs(places + last / 2))
    inside = ops.clip(mirrored, 0.0, last)
    before = ops.floor(inside)
    low = ops.cast(before, "int32")
    return low, ops.minimum(low + 1, length - 1), inside - before
