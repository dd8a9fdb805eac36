"""Near-duplicates: the same picture saved again, resized or slightly cropped, and not merely one that looks alike.

Two pictures are near-duplicates when their perceptual hashes differ in at most 10 of 64 bits *and* their 32 x 32
thumbnails agree (similarity at least 0.993) once small differences of framing, brightness and contrast are taken out.
The hash alone finds alike what is alike: of MNIST's digits it pairs 74,525 of 5,000 pictures.

FIGURES
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array

from tlkit.data.examine import THUMBNAIL_SIDE
from tlkit.data.hash_search import close_pairs

HASH_DISTANCE = 10
SIMILARITY = 0.993
COARSE_SIMILARITY = 0.94  # Plain correlation at 16 x 16; of the pairs with SIMILARITY, crops of 3 % a side lose 1 in 20.
MAX_PAIRS_PER_IMAGE = 20  # Where hashes pair more than this, they say little, and their distance is lowered.
MAX_SHIFT = 2.0  # Thumbnail pixels, at the edges; beyond, the linear model of a shift means nothing.
PAIRS_AT_ONCE = 512

_POSITIONS = np.linspace(-1, 1, THUMBNAIL_SIDE, dtype=np.float32)


@dataclass(frozen=True)
class NearPairs:
    """Confirmed pairs of near-duplicates.

    Attributes:
        pairs: Row numbers, int64 (p, 2), the smaller first.
        distance: The hash distance that was used; -1 where even equal hashes made too many pairs to look at.
    """

    pairs: np.ndarray
    distance: int


def near_pairs(hashes: np.ndarray, thumbnails: np.ndarray) -> NearPairs:
    """Finds all pairs of near-duplicates.

    Args:
        hashes: uint64 (n,), from `examine.perceptual_hash`.
        thumbnails: uint8 (n, 1024).
    """
    limit = MAX_PAIRS_PER_IMAGE * max(len(hashes), 1)
    pairs, distance = close_pairs(hashes, HASH_DISTANCE, limit)
    coarse = _coarse(thumbnails)

    def confirmed(portion: np.ndarray) -> np.ndarray:
        left, right = portion.T
        portion = portion[np.einsum("np,np->n", coarse[left], coarse[right]) >= COARSE_SIMILARITY]
        if not len(portion):
            return portion
        left, right = portion.T
        return portion[similarity(thumbnails[left], thumbnails[right]) >= SIMILARITY]

    portions = [pairs[start : start + PAIRS_AT_ONCE] for start in range(0, len(pairs), PAIRS_AT_ONCE)]
    with ThreadPoolExecutor() as executor:  # NumPy lets other threads run while it computes.
        kept = list(executor.map(confirmed, portions))
    return NearPairs(np.concatenate([np.empty((0, 2), np.int64), *kept]), distance)


def similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compares thumbnails pair by pair after the best small shift and zoom.

    Both are smoothed (1-2-1), brought to mean 0 and deviation 1; what a shift and a zoom along each axis explain, to
    first order (B. D. Lucas, T. Kanade: An iterative image registration technique, IJCAI 1981), is taken from their
    difference; 1 less half its mean square is left, which without the fit would be the correlation.

    Args:
        first: uint8 (n, 1024).
        second: uint8 (n, 1024).

    Returns:
        float32 (n,), at most 1.
    """
    first, second = _standardised(first), _standardised(second)
    mean, difference = (first + second) / 2, (first - second).reshape(len(first), -1)
    across, down = np.gradient(mean, axis=2), np.gradient(mean, axis=1)
    moves = np.stack([across, down, across * _POSITIONS, down * _POSITIONS[:, None]], axis=1)
    moves = moves.reshape(len(first), 4, -1)
    normal = moves @ moves.transpose(0, 2, 1) + np.eye(4, dtype=np.float32)
    shift = np.linalg.solve(normal, moves @ difference[..., None])[..., 0]
    left = difference - (np.clip(shift, -MAX_SHIFT, MAX_SHIFT)[:, None, :] @ moves)[:, 0]
    return 1 - np.einsum("np,np->n", left, left) / (2 * left.shape[1])


def _standardised(thumbnails: np.ndarray) -> np.ndarray:
    pixels = thumbnails.reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE).astype(np.float32)
    for axis in (1, 2):
        pixels = _smoothed(pixels, axis)
    pixels -= pixels.mean(axis=(1, 2), keepdims=True)
    deviation = np.sqrt(np.square(pixels).mean(axis=(1, 2), keepdims=True))
    return pixels / np.maximum(deviation, 1e-3)


def _smoothed(pixels: np.ndarray, axis: int) -> np.ndarray:
    margins = [(1, 1) if dimension == axis else (0, 0) for dimension in range(3)]
    padded = np.moveaxis(np.pad(pixels, margins, "edge"), axis, 0)
    return np.moveaxis((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4, 0, axis)


def _coarse(thumbnails: np.ndarray) -> np.ndarray:
    """Returns 16 x 16 thumbnails of mean 0 and length 1, float32 (n, 256)."""
    half = THUMBNAIL_SIDE // 2
    pixels = thumbnails.reshape(-1, half, 2, half, 2).mean(axis=(2, 4), dtype=np.float32).reshape(-1, half * half)
    pixels -= pixels.mean(axis=1, keepdims=True)
    return pixels / np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), 1e-6)


def clusters_of(number: int, pairs: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Gathers pairs into clusters whose every member is paired with the cluster's centre, so that none is a chain.

    The picture with most pairs becomes a centre and takes what it is paired with, then the next of those left.

    Args:
        number: How many pictures there are.
        pairs: int64 (p, 2).
        names: What decides between pictures with equally many pairs: their digests, so that order does not matter.

    Returns:
        For each picture the row number of its cluster's centre, -1 where it is alone; int64 (number,).
    """
    left, right = np.concatenate([pairs, pairs[:, ::-1]]).T
    graph = csr_array(coo_array((np.ones(len(left), np.int8), (left, right)), shape=(number, number)))
    degrees = np.diff(graph.indptr)
    centres = np.full(number, -1, np.int64)
    for centre in sorted(np.flatnonzero(degrees), key=lambda row: (-degrees[row], names[row])):
        if centres[centre] >= 0:
            continue
        near = graph.indices[graph.indptr[centre] : graph.indptr[centre + 1]]
        free = near[centres[near] < 0]
        if len(free):
            centres[free] = centre
            centres[centre] = centre
    return centres
