"""All pairs of 64-bit hashes within a Hamming distance, without comparing all with all: multi-index hashing.

A hash is cut into four bands of 16 bits. Two hashes that differ in at most 11 bits differ in at most 2 within some band
(pigeonhole), so each band need only be searched among the 137 keys within 2 bits of each key.
M. Norouzi, A. Punjani, D. J. Fleet: Fast search in Hamming space with multi-index hashing, CVPR 2012.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

BANDS, BAND_BITS, BAND_RADIUS = 4, 16, 2
MAX_DISTANCE = BANDS * (BAND_RADIUS + 1) - 1
PAIRS_AT_ONCE = 1 << 21  # Some 100 MB of indices and hashes.


def close_pairs(hashes: np.ndarray, distance: int, limit: int) -> tuple[np.ndarray, int]:
    """Finds pairs of hashes that differ in few bits.

    Where more than `limit` pairs are found, the distance is lowered until no more than that are left; so time and
    memory stay in proportion to the number of hashes, whatever they are.

    Args:
        hashes: uint64 (n,).
        distance: Greatest number of differing bits, at most `MAX_DISTANCE`.
        limit: Greatest number of pairs wanted.

    Returns:
        Pairs of indices, int64 (p, 2), the smaller first; and the distance that they were found with, -1 where even
        equal hashes make more pairs than wanted.
    """
    if not 0 <= distance <= MAX_DISTANCE:
        raise ValueError(f"Expected a distance from 0 to {MAX_DISTANCE}. Received: {distance}.")
    bands = (hashes[:, None] >> np.arange(0, 64, BAND_BITS, dtype=np.uint64)).astype(np.uint16)
    pairs, distances = np.empty((0, 2), np.int64), np.empty(0, np.uint8)
    for band in range(BANDS):
        for left, right in _neighbours(bands[:, band]):
            apart = np.bitwise_count(hashes[left] ^ hashes[right])
            kept = (apart <= distance) & ~_found_before(bands, band, left, right)
            pairs = np.concatenate([pairs, np.stack([left[kept], right[kept]], axis=1)])
            distances = np.concatenate([distances, apart[kept]])
            if len(pairs) > limit:
                distance = _lowered(distances, limit)
                pairs, distances = pairs[distances <= distance], distances[distances <= distance]
                if distance < 0:
                    return pairs, distance
    return np.sort(pairs, axis=1), distance


def _lowered(distances: np.ndarray, limit: int) -> int:
    return int(np.searchsorted(np.cumsum(np.bincount(distances)), limit, side="right")) - 1


def _found_before(bands: np.ndarray, band: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """True for pairs that an earlier band has found, so that each pair comes once."""
    earlier = np.bitwise_count(bands[left, :band] ^ bands[right, :band]) <= BAND_RADIUS
    return earlier.any(axis=1)


def _neighbours(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields index pairs (left, right) whose 16-bit keys differ in at most two bits, each pair once."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order].astype(np.int64)
    counts = np.bincount(ordered, minlength=1 << BAND_BITS)
    ends = np.cumsum(counts)
    for mask in _masks():
        other = ordered ^ mask
        own = np.flatnonzero(ordered <= other)
        start = ends[other[own]] - counts[other[own]] if mask else own + 1
        for left, right in _cross(own, start, ends[other[own]] - start):
            yield order[left], order[right]


def _masks() -> Iterator[int]:
    for bits in range(BAND_RADIUS + 1):
        for positions in combinations(range(BAND_BITS), bits):
            yield sum(1 << position for position in positions)


def _cross(own: np.ndarray, start: np.ndarray, width: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs each of `own` with the `width` positions from `start` on, a portion of pairs at a time."""
    own, start, width = (values[width > 0] for values in (own, start, width))
    total = np.cumsum(width)
    cuts = np.flatnonzero(np.diff(total // PAIRS_AT_ONCE)) + 1
    for part in np.split(np.arange(len(own)), cuts):
        if len(part):
            widths = width[part]
            within = np.arange(widths.sum()) - np.repeat(np.cumsum(widths) - widths, widths)
            yield np.repeat(own[part], widths), np.repeat(start[part], widths) + within
