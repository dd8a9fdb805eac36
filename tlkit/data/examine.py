"""What one look at an image tells: identity, facts, fingerprints. One decoding serves these and the packed store."""

from __future__ import annotations

import builtins
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tlkit.config import MAX_PIXELS
from tlkit.data.decode import Decoded, decode
from tlkit.data.formats import DecodeError
from tlkit.data.identity import digest_of

THUMBNAIL_SIDE = 32
THUMBNAIL_BYTES = THUMBNAIL_SIDE * THUMBNAIL_SIDE
HASH_SIDE = 8
LOW_CONTRAST = 16.0  # Above it a picture is far from blank, and how far does not matter.
FINGERPRINT_SIDE = 512
"""JPEGs are fingerprinted as decoded with `smallest_side=512`, whatever size the store wants.

So fingerprints, clusters and the split do not depend on the image size; up to 512 pixels the store decodes so anyway.
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about one item after looking at it.

    Attributes:
        digest: SHA-256 of the file's bytes, 64 hex digits; for an array of its shape, type and bytes; "" if unread.
        status: `"ok"` or one of `formats.PROBLEM_KINDS`.
        problem: One line where the status is not `"ok"`.
        format: Pillow's name of the format, or `"array"`.
        mode: Pillow's mode before conversion.
        width: Pixels, upright, before any reduction.
        height: Likewise.
        frames: Frames in the file.
        bytes: Size of the file, or of the array.
        thumbnail: 32 x 32 grey pixels, squashed, row by row; empty where there is no image.
        perceptual_hash: ImageHash's `phash` of the thumbnail as 64 bits, the first bit highest.
        contrast: Standard deviation of the grey pixels, 0 to 127.5; above 16 of the image reduced first.
    """

    digest: str
    status: str = "ok"
    problem: str = ""
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    frames: int = 0
    bytes: int = 0
    thumbnail: builtins.bytes | memoryview = b""
    perceptual_hash: int = 0
    contrast: float = 0.0


def examine(
    data: bytes | np.ndarray, *, smallest_side: int | None = None, max_pixels: int | None = MAX_PIXELS
) -> tuple[Facts, Image.Image | None]:
    """Digests, decodes and fingerprints one item. Bad bytes give a status, never an exception.

    Args:
        data: As for `decode`.
        smallest_side: As for `decode`; None decodes every JPEG whole.
        max_pixels: As for `decode`.

    Returns:
        The facts, and the RGB image, decoded as asked; None where there is none.
    """
    digest, size = digest_of(data), data.nbytes if isinstance(data, np.ndarray) else len(data)
    side = None if smallest_side is None else max(smallest_side, FINGERPRINT_SIDE)
    try:
        decoded = decode(data, smallest_side=side, max_pixels=max_pixels)
        source = _fingerprint_source(data, decoded, side, max_pixels)
    except DecodeError as error:
        return Facts(digest, error.kind, str(error), bytes=size), None
    grey = source.convert("L")  # First of all: one channel is reduced in a third of the time of four.
    small = grey.reduce(max(min(grey.size) // (2 * THUMBNAIL_SIDE), 1))
    thumbnail = small.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    facts = Facts(
        digest=digest,
        format=decoded.format,
        mode=decoded.mode,
        width=decoded.width,
        height=decoded.height,
        frames=decoded.frames,
        bytes=size,
        thumbnail=thumbnail.tobytes(),
        perceptual_hash=perceptual_hash(np.asarray(thumbnail)),
        contrast=_contrast(grey, small),
    )
    return facts, decoded.image


def perceptual_hash(thumbnail: np.ndarray) -> int:
    """Returns ImageHash's `phash` of a (32, 32) uint8 thumbnail as an integer of 64 bits.

    The lowest 8 x 8 coefficients of the cosine transform (type II), each compared with their median.
    https://www.hackerfactor.com/blog/index.php?/archives/432-Looks-Like-It.html
    """
    low = (_COSINES @ thumbnail.astype(np.float64) @ _COSINES.T).ravel()
    ordered = np.sort(low)  # The median of 64 in a third of np.median's time.
    bits = np.packbits(low > (ordered[31] + ordered[32]) / 2)
    return int.from_bytes(bits.tobytes(), "big")


def _cosines() -> np.ndarray:
    frequency, position = np.arange(HASH_SIDE)[:, None], np.arange(THUMBNAIL_SIDE)[None, :]
    return 2 * np.cos(np.pi * frequency * (2 * position + 1) / (2 * THUMBNAIL_SIDE))


_COSINES = _cosines()


def _fingerprint_source(
    data: bytes | np.ndarray, decoded: Decoded, side: int | None, max_pixels: int | None
) -> Image.Image:
    """Returns the image at the one scale that fingerprints are taken from, decoding again only for another scale."""
    if side == FINGERPRINT_SIDE or decoded.format not in ("JPEG", "MPO"):
        return decoded.image
    if min(decoded.width, decoded.height) < 2 * FINGERPRINT_SIDE:
        return decoded.image
    return decode(data, smallest_side=FINGERPRINT_SIDE, max_pixels=max_pixels).image


def _contrast(grey: Image.Image, small: Image.Image) -> float:
    """Standard deviation of the grey levels of the reduced image; of the whole where that finds little."""
    found = _deviation(small)
    return found if found >= LOW_CONTRAST else _deviation(grey)


def _deviation(grey: Image.Image) -> float:
    counts = np.array(grey.histogram(), np.float64)
    levels = np.arange(256)
    mean = (counts @ levels) / counts.sum()
    return float(np.sqrt(counts @ (levels - mean) ** 2 / counts.sum()))
