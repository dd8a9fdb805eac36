"""Near-duplicates: the same picture saved again, resized or slightly cropped, and not merely one that looks alike.

Two pictures are near-duplicates when their perceptual hashes differ in at most 10 of 64 bits *and* their 32 x 32
thumbnails correlate to at least 0.996 once a slight difference of framing is taken out (`alignment`). The hash alone
calls alike what merely looks alike. From `python benchmarks/near_duplicates.py`:

    false merges     images   hash alone    pairs   across labels   images in clusters   largest cluster
    digits            1,797        3,411        0               0               0.00 %                 0
    MNIST-5k          5,000       74,525        6               0               0.22 %                 3
    Fashion-MNIST    70,000    7,156,633    1,537              69               2.35 %                17

    hits, 298 pictures: saved again as JPEG of quality 95, 75, 30: 100, 100, 99.7 %; half, double size, squashed, grey:
    100 %; to 96 x 72: 98.7 %; 1, 2, 3, 5 % off each side: 100, 95.3, 79.5, 27.9 %; 5 % off one side: 87.6 %

50,000 pictures of Fashion-MNIST took 26 s (35 s of processor time) on 2 x86-64 cores that had other work as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array

from tlkit.data.alignment import rough_similarity, similarity
from tlkit.data.examine import THUMBNAIL_BYTES, THUMBNAIL_SIDE
from tlkit.data.hash_search import close_pairs

HASH_DISTANCE = 10
SIMILARITY = 0.996
ROUGH_SIMILARITY = 0.98
COARSE_SIMILARITY = 0.9  # Plain correlation at 16 x 16: the cheapest sieve comes first.
MAX_PAIRS_PER_IMAGE = 20  # Where hashes pair more than this, they say little, and their distance is lowered.
PAIRS_AT_ONCE = 512  # With fewer, threads wait for each other: 128 took three times as long on two cores.


@dataclass(frozen=True)
class NearPairs:
    """Confirmed pairs of near-duplicates.

    Attributes:
        pairs: Row numbers, int64 (p, 2), the smaller first.
        distance: The hash distance that was used; -1 where even equal hashes made too many pairs to look at.
    """

    pairs: np.ndarray
    distance: int


def near_pairs(hashes: np.ndarray, thumbnails: Sequence[bytes]) -> NearPairs:
    """Finds all pairs of near-duplicates.

    Args:
        hashes: uint64 (n,), from `examine.perceptual_hash`.
        thumbnails: n times 1024 bytes, from `examine`.
    """
    limit = MAX_PAIRS_PER_IMAGE * max(len(hashes), 1)
    pairs, distance = close_pairs(hashes, HASH_DISTANCE, limit)
    rows = np.unique(pairs)  # Mostly few, and only theirs are brought into one array.
    pixels = np.frombuffer(b"".join(thumbnails[row] for row in rows), np.uint8).reshape(len(rows), THUMBNAIL_BYTES)
    coarse = _coarse(pixels)

    def confirmed(portion: np.ndarray) -> np.ndarray:
        left, right = np.searchsorted(rows, portion).T
        alike = np.einsum("np,np->n", coarse[left], coarse[right]) >= COARSE_SIMILARITY
        portion, left, right = portion[alike], left[alike], right[alike]
        for measure, least in ((rough_similarity, ROUGH_SIMILARITY), (similarity, SIMILARITY)):
            if len(portion):
                alike = measure(pixels[left], pixels[right]) >= least
                portion, left, right = portion[alike], left[alike], right[alike]
        return portion

    portions = [pairs[start : start + PAIRS_AT_ONCE] for start in range(0, len(pairs), PAIRS_AT_ONCE)]
    with ThreadPoolExecutor() as executor:  # NumPy lets other threads run while it computes.
        kept = list(executor.map(confirmed, portions))
    return NearPairs(np.concatenate([np.empty((0, 2), np.int64), *kept]), distance)


def _coarse(thumbnails: np.ndarray) -> np.ndarray:
    """Returns 16 x 16 thumbnails of mean 0 and length 1, float32 (n, 256)."""
    half = THUMBNAIL_SIDE // 2
    pixels = thumbnails.reshape(-1, half, 2, half, 2).mean(axis=(2, 4), dtype=np.float32)
    pixels = pixels.reshape(len(thumbnails), half * half)
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
    for centre in sorted(np.flatnonzero(degrees).tolist(), key=lambda row: (-degrees[row], names[row])):
        if centres[centre] >= 0:
            continue
        near = graph.indices[graph.indptr[centre] : graph.indptr[centre + 1]]
        free = near[centres[near] < 0]
        if len(free):
            centres[free] = centre
            centres[centre] = centre
    return centres
