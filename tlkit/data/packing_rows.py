"""One item after another: read, digest, decode, fingerprint, and write its pixels and facts down.

Helper processes import this, so it imports neither pandas nor SciPy: half a second of a core for each of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from tlkit.data.examine import Facts, examine
from tlkit.data.items import Source
from tlkit.data.packed_folder import NUMBERS, RECORD, TEXTS, Packed
from tlkit.data.transform import Transform
from tlkit.errors import InputError


def pack_rows(
    packed: Packed, source: Source, transform: Transform, rows: np.ndarray, items: Sequence[str], marks: np.ndarray
) -> None:
    """Examines and packs some rows, one after another.

    Args:
        packed: Where they go.
        source: Reads the items.
        transform: What is done to each.
        rows: Their places (n,).
        items: Their names.
        marks: What `marks_of` says of them: uint8 (n, 16).

    Raises:
        OSError: The pixels cannot be written.
    """
    for row, item, mark in zip(rows.tolist(), items, marks, strict=True):
        _pack_row(packed, row, mark, *look_at(source, item, transform, packed.pixels))


def look_at(
    source: Source, item: str, transform: Transform, pixels_wanted: object = True
) -> tuple[Facts, np.ndarray | None]:
    """Reads and examines one item; returns its facts and, where it is an image and they are wanted, its pixels."""
    try:
        data = source.read(item)
    except (OSError, InputError) as error:
        return Facts(digest="", status="unreadable", problem=f"Cannot be read: {error}"), None
    facts, image = examine(data, smallest_side=transform.decoded_side, max_pixels=transform.max_pixels)
    if image is None or not pixels_wanted:
        return facts, None
    return facts, np.ascontiguousarray(transform.to_store(image))


def _pack_row(packed: Packed, row: int, mark: np.ndarray, facts: Facts, pixels: np.ndarray | None) -> None:
    """Writes an item's pixels, its thumbnail and, last, its record."""
    checksum = 0
    if packed.pixels is not None and pixels is not None:
        data = pixels.data.cast("B")
        checksum = zlib.crc32(data)
        packed.pixels.write(row, data)
    if facts.thumbnail:
        packed.thumbnails[row] = np.frombuffer(facts.thumbnail, np.uint8)
    texts = tuple(_shorten(getattr(facts, name), RECORD[name].itemsize) for name in TEXTS)
    packed.records[row] = (0, mark, checksum, *texts, *(getattr(facts, name) for name in NUMBERS))
    packed.records["done"][row] = 1  # Only now: a process may be killed between any two of these lines.


def _shorten(text: str, limit: int) -> bytes:
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded
    return encoded[: limit - 3].decode("utf-8", "ignore").encode() + "…".encode()
