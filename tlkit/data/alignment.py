"""How alike two small pictures are once a slight difference of framing is taken out: cropping moves every pixel."""

from __future__ import annotations

import numpy as np

from tlkit.data.examine import THUMBNAIL_SIDE

MAX_MOVE = 3.0
"""Thumbnail pixels at the edges, a tenth of the side; beyond, it is another picture of the same thing."""
STEPS = 3  # Further steps change the result by less than 0.001.
MARGIN = 2  # Where one picture ends, there is nothing to compare with the other.

_PIXELS = np.arange(THUMBNAIL_SIDE, dtype=np.float32)
_POSITIONS = np.linspace(-1, 1, THUMBNAIL_SIDE, dtype=np.float32)


def rough_similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compares thumbnails after a first-order fit, which is cheap and gives less than `similarity` for crops.

    Args:
        first: uint8 (n, 1024).
        second: uint8 (n, 1024).

    Returns:
        float32 (n,), at most 1: 1 less half the mean square of what the fit leaves of the difference.
    """
    return _fit(_smoothed(first), _smoothed(second))[1]


def similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compares thumbnails after the best small shift and zoom along each axis.

    Both are smoothed (1-2-1) and brought to mean 0 and deviation 1, then moved towards each other by half of what a
    linear fit says, three times over (B. D. Lucas, T. Kanade: An iterative image registration technique, IJCAI 1981).

    Args:
        first: uint8 (n, 1024).
        second: uint8 (n, 1024).

    Returns:
        The correlation of what lies within `MARGIN` of the edges, float32 (n,), -1 to 1.
    """
    first, second = _smoothed(first), _smoothed(second)
    moves = np.zeros((len(first), 4), np.float32)
    one, other = first, second
    for _ in range(STEPS):
        moves = np.clip(moves + _fit(one, other)[0], -MAX_MOVE, MAX_MOVE)
        one, other = _standardised(_moved(first, -moves / 2)), _standardised(_moved(second, moves / 2))
    inner = slice(MARGIN, THUMBNAIL_SIDE - MARGIN)
    one, other = _standardised(one[:, inner, inner]), _standardised(other[:, inner, inner])
    return (one * other).mean(axis=(1, 2))


def _fit(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fits shift right, shift down, zoom across and zoom down, in pixels at the edge; (n, 4) and the agreement (n,)."""
    mean, difference = (first + second) / 2, (first - second).reshape(len(first), -1)
    across, down = np.gradient(mean, axis=2), np.gradient(mean, axis=1)
    effects = np.stack([across, down, across * _POSITIONS, down * _POSITIONS[:, None]], axis=1)
    effects = effects.reshape(len(first), 4, -1)
    normal = effects @ effects.transpose(0, 2, 1) + np.eye(4, dtype=np.float32)
    moves = np.linalg.solve(normal, effects @ difference[..., None])[..., 0]
    left = difference - (np.clip(moves, -MAX_MOVE, MAX_MOVE)[:, None, :] @ effects)[:, 0]
    return moves, 1 - np.einsum("np,np->n", left, left) / (2 * left.shape[1])


def _moved(pixels: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Samples pictures, float32 (n, 32, 32), where their pixels come to lie, linearly between neighbours."""
    for axis, shift, zoom in ((2, moves[:, 0], moves[:, 2]), (1, moves[:, 1], moves[:, 3])):
        at = np.clip(_PIXELS + shift[:, None] + zoom[:, None] * _POSITIONS, 0, THUMBNAIL_SIDE - 1)
        before = np.minimum(at.astype(np.int64), THUMBNAIL_SIDE - 2)
        share = np.expand_dims(at - before, 3 - axis).astype(np.float32)
        index = np.broadcast_to(np.expand_dims(before, 3 - axis), pixels.shape)
        near, far = np.take_along_axis(pixels, index, axis), np.take_along_axis(pixels, index + 1, axis)
        pixels = near + share * (far - near)
    return pixels


def _smoothed(thumbnails: np.ndarray) -> np.ndarray:
    pixels: np.ndarray = thumbnails.reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE).astype(np.float32)
    for axis in (1, 2):
        margins = [(1, 1) if dimension == axis else (0, 0) for dimension in range(3)]
        padded = np.moveaxis(np.pad(pixels, margins, "edge"), axis, 0)
        pixels = np.moveaxis((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / np.float32(4), 0, axis)
    return _standardised(pixels)


def _standardised(pixels: np.ndarray) -> np.ndarray:
    pixels = pixels - pixels.mean(axis=(1, 2), keepdims=True)
    deviation = np.sqrt(np.square(pixels).mean(axis=(1, 2), keepdims=True))
    return pixels / np.maximum(deviation, 1e-3)
