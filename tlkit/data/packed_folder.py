"""A packed folder: three flat files, row i of each being row i of the manifest.

`pixels.bin` holds uint8 squares, `facts.bin` one fixed record an item, `thumbnails.bin` what near-duplicates are
compared by. A record is written after its pixels, so that its `done` mark is all that an interrupted pass needs to go
on; the checksum in it shows what a disk has spoilt since.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlkit.data.examine import THUMBNAIL_BYTES
from tlkit.data.reading import RowFile
from tlkit.data.transform import Transform
from tlkit.run import write_text

PIXELS, FACTS, THUMBNAILS, SEAL = "pixels.bin", "facts.bin", "thumbnails.bin", "facts.sha256"
MARK_BYTES = 16

RECORD = np.dtype(
    [
        ("done", "u1"),
        ("mark", "u1", (MARK_BYTES,)),
        ("checksum", "<u4"),
        ("digest", "S64"),
        ("status", "S16"),
        ("problem", "S200"),
        ("format", "S12"),
        ("mode", "S12"),
        ("width", "<u4"),
        ("height", "<u4"),
        ("frames", "<u4"),
        ("bytes", "<u8"),
        ("perceptual_hash", "<u8"),
        ("contrast", "<f8"),
    ]
)
TEXTS = ("digest", "status", "problem", "format", "mode")
NUMBERS = ("width", "height", "frames", "bytes", "perceptual_hash", "contrast")


@dataclass(frozen=True)
class Packed:
    """What is known of each item, in memory or mapped from a packed folder; rows as in the manifest.

    Attributes:
        records: `RECORD` (n,).
        thumbnails: uint8 (n, 1024).
        pixels: The file of pixels, or None where only facts are kept.
    """

    records: np.ndarray
    thumbnails: np.ndarray
    pixels: RowFile | None

    @property
    def ok(self) -> np.ndarray:
        """True for the rows that hold an image: bool (n,)."""
        return np.asarray(self.records["status"] == b"ok")


def bytes_of_row(transform: Transform) -> int:
    """Returns the bytes of one stored square."""
    return transform.store_size**2 * 3


def estimate_bytes(num_items: int, transform: Transform | None) -> int:
    """Returns how many bytes a packed folder takes; without a transform, one of facts alone."""
    pixels = bytes_of_row(transform) if transform else 0
    return num_items * (pixels + RECORD.itemsize + THUMBNAIL_BYTES)


def open_packed(folder: Path, num_items: int, transform: Transform | None) -> Packed:
    """Opens a finished packed folder for reading; without a transform, one of facts alone."""
    records = np.memmap(folder / FACTS, RECORD, "r", shape=(num_items,))
    thumbnails = np.memmap(folder / THUMBNAILS, np.uint8, "r", shape=(num_items, THUMBNAIL_BYTES))
    return Packed(records, thumbnails, RowFile(folder / PIXELS, bytes_of_row(transform)) if transform else None)


def create_packed(folder: Path, num_items: int, transform: Transform | None) -> Packed:
    """Makes the files of a packed folder, or opens for writing what an interrupted pass left there."""
    for name, row_bytes in ((FACTS, RECORD.itemsize), (THUMBNAILS, THUMBNAIL_BYTES)):
        _fill_with_zeros(folder / name, num_items * row_bytes)
    records = np.memmap(folder / FACTS, RECORD, "r+", shape=(num_items,))
    thumbnails = np.memmap(folder / THUMBNAILS, np.uint8, "r+", shape=(num_items, THUMBNAIL_BYTES))
    pixels = RowFile(folder / PIXELS, bytes_of_row(transform), write=True) if transform else None
    return Packed(records, thumbnails, pixels)


def packed_in_memory(num_items: int) -> Packed:
    """Makes room for facts where no file can hold them."""
    return Packed(np.zeros(num_items, RECORD), np.zeros((num_items, THUMBNAIL_BYTES), np.uint8), None)


def count_done(folder: Path) -> int:
    """Returns how many items of a folder that is being packed are done."""
    try:
        return int(np.memmap(folder / FACTS, RECORD, "r")["done"].sum())
    except (OSError, ValueError):  # Not begun yet, or just finished and renamed.
        return 0


def seal(packed: Packed, folder: Path) -> None:
    """Brings the facts to the disk and writes down their digest, by which `is_intact` knows them again.

    Pixels are left to the operating system: each row's checksum shows what a power cut has taken.
    """
    for array in (packed.records, packed.thumbnails):
        assert isinstance(array, np.memmap)
        array.flush()
    write_text(folder / SEAL, _digest_of_facts(folder))
    if packed.pixels is not None:
        packed.pixels.close()


def is_intact(folder: Path) -> bool:
    """Tells whether the facts of a packed folder are as they were when it was sealed."""
    try:
        return (folder / SEAL).read_text("utf-8") == _digest_of_facts(folder)
    except (OSError, UnicodeDecodeError):
        return False


def _digest_of_facts(folder: Path) -> str:
    with open(folder / FACTS, "rb") as facts, open(folder / THUMBNAILS, "rb") as thumbnails:
        digests = [hashlib.file_digest(file, "sha256").hexdigest() for file in (facts, thumbnails)]
    return " ".join(digests)


def _fill_with_zeros(path: Path, size: int) -> None:
    """Makes a file whole before it is mapped: a page that finds no disk behind it would kill the process."""
    if path.exists() and path.stat().st_size == size:
        return
    block = bytes(1 << 20)
    with open(path, "wb") as file:
        for start in range(0, size, len(block)):
            file.write(block[: min(len(block), size - start)])
