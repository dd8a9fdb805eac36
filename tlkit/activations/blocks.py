"""Rows of activations in a file, block after block, each with a checksum: an interrupted writing can be gone on with.

`rows.bin` holds the rows one after the other, `rows.crc32` one checksum (uint32, little-endian) for each block of them.
A checksum is written after its rows, so that their number tells how much there is.
"""

from __future__ import annotations

import math
import os
import zlib
from pathlib import Path

import numpy as np

ROWS, CHECKSUMS = "rows.bin", "rows.crc32"
LARGEST_BLOCK = 2**26  # Bytes: small beside any network, large enough that blocks cost nothing.
FEWEST, MOST = 16, 128  # Rows a block. 16: results are bit-equal at its multiples, and differ in last bits at others.


def rows_a_block(row_bytes: int) -> int:
    """Returns how many rows make a block: a multiple of 16."""
    return min(max(LARGEST_BLOCK // row_bytes // FEWEST * FEWEST, FEWEST), MOST)


class BlockFile:
    """The two files of one set of rows, being written.

    Args:
        folder: Where they lie or shall lie.
        num_rows: Rows in all.
        row_bytes: Bytes of each.
    """

    def __init__(self, folder: Path, num_rows: int, row_bytes: int):
        self.folder, self.num_rows = folder, num_rows
        self.rows_a_block = rows_a_block(row_bytes)
        self.block_bytes = self.rows_a_block * row_bytes
        self.total_bytes = num_rows * row_bytes

    def __len__(self) -> int:
        return math.ceil(self.num_rows / self.rows_a_block)

    def bounds(self, block: int) -> tuple[int, int]:
        """Returns the first row of a block and the row after its last."""
        start = block * self.rows_a_block
        return start, min(start + self.rows_a_block, self.num_rows)

    def truncate_to_intact(self) -> int:
        """Cuts off what an interruption or the disk has spoilt, and returns how many blocks are left."""
        with _open(self.folder / ROWS) as rows, _open(self.folder / CHECKSUMS) as checksums:
            told = checksums.read()
            done = 0
            for block in range(len(told) // 4):
                data = rows.read(self._bytes_of(block))
                if len(data) < self._bytes_of(block) or zlib.crc32(data) != _number(told, block):
                    break
                done += 1
            rows.truncate(min(done * self.block_bytes, self.total_bytes))
            checksums.truncate(4 * done)
        return done

    def append(self, rows: np.ndarray) -> None:
        """Writes the next block."""
        data = np.ascontiguousarray(rows).view(np.uint8).data
        with open(self.folder / ROWS, "ab") as file:
            file.write(data)
        with open(self.folder / CHECKSUMS, "ab") as file:
            file.write(zlib.crc32(data).to_bytes(4, "little"))

    def is_intact(self) -> bool:
        """Reads all rows and tells whether they are whole and as they were written."""
        try:
            told = (self.folder / CHECKSUMS).read_bytes()
            with open(self.folder / ROWS, "rb") as rows:
                if len(told) != 4 * len(self) or os.fstat(rows.fileno()).st_size != self.total_bytes:
                    return False
                return all(
                    zlib.crc32(rows.read(self._bytes_of(block))) == _number(told, block) for block in range(len(self))
                )
        except OSError:
            return False

    def _bytes_of(self, block: int) -> int:
        return min(self.block_bytes, self.total_bytes - block * self.block_bytes)


def _open(path: Path):  # type: ignore[no-untyped-def]
    path.touch()
    return open(path, "r+b")


def _number(told: bytes, block: int) -> int:
    return int.from_bytes(told[4 * block : 4 * block + 4], "little")
