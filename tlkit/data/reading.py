"""Rows of packed pixels, read at their place in the file and checked the first time they are seen."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from tlkit.data.transform import Transform


class RowReader(Protocol):
    """Where a store has its pixels from."""

    def read(self, rows: np.ndarray, size: int) -> np.ndarray:
        """Returns the central squares of some rows: uint8 (n, size, size, 3)."""

    def close(self) -> None:
        """Gives back files and threads."""


class RowFile:
    """Rows of equal size in one file, read and written from any thread without a shared position.

    Not a memory map: mapped pages count as resident memory, and a disk that fills up would kill the process.
    """

    def __init__(self, path: Path, row_bytes: int, *, write: bool = False):
        self.path, self.row_bytes = path, row_bytes
        flags = (os.O_RDWR | os.O_CREAT) if write else os.O_RDONLY
        self._handle: int | None = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o644)
        self._position = threading.Lock()

    def read_into(self, row: int, buffer: memoryview, start: int = 0) -> bool:
        """Fills a buffer with bytes of one row from `start` on; False where the file ends before."""
        offset, filled = row * self.row_bytes + start, 0
        while filled < len(buffer):
            count = self._read(buffer[filled:], offset + filled)
            if count == 0:
                return False
            filled += count
        return True

    def write(self, row: int, data: memoryview) -> None:
        """Writes one row."""
        offset, written = row * self.row_bytes, 0
        while written < len(data):
            written += self._write(data[written:], offset + written)

    def extend_to(self, rows: int) -> None:
        """Makes the file so many rows long; rows never written take no space where the file system knows holes."""
        assert self._handle is not None
        os.ftruncate(self._handle, rows * self.row_bytes)

    def close(self) -> None:
        """Closes the file, once."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self.close()

    def _read(self, buffer: memoryview, offset: int) -> int:
        assert self._handle is not None
        if hasattr(os, "preadv"):
            return os.preadv(self._handle, [buffer], offset)
        with self._position:  # Windows cannot read at a given place.
            os.lseek(self._handle, offset, os.SEEK_SET)
            data = os.read(self._handle, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _write(self, data: memoryview, offset: int) -> int:
        assert self._handle is not None
        if hasattr(os, "pwrite"):
            return os.pwrite(self._handle, data, offset)
        with self._position:
            os.lseek(self._handle, offset, os.SEEK_SET)
            return os.write(self._handle, data)


class PackedRows:
    """Reads a packed file. A row whose checksum fails the first time it is read is made anew.

    Args:
        file: The packed pixels.
        checksums: CRC-32 of each row, uint32 (n,).
        transform: How they were packed.
        make_anew: Called with a row number where the disk has spoilt it; returns its pixels.
    """

    def __init__(
        self, file: RowFile, checksums: np.ndarray, transform: Transform, make_anew: Callable[[int], np.ndarray]
    ):
        self._file, self._checksums, self._make_anew = file, checksums, make_anew
        self._side = transform.store_size
        self._verified = np.zeros(len(checksums), bool)
        self._made_anew: dict[int, np.ndarray] = {}
        self._scratch = threading.local()

    def read(self, rows: np.ndarray, size: int) -> np.ndarray:
        """Returns the central squares of some rows: uint8 (n, size, size, 3)."""
        margin = (self._side - size) // 2
        squares = np.empty((len(rows), size, size, 3), np.uint8)
        row_of_store = self._row_buffer()
        band = row_of_store[margin : margin + size]
        for square, row in zip(squares, rows.tolist(), strict=True):
            if row in self._made_anew:
                row_of_store[...] = self._made_anew[row]
            elif not self._verified[row] or not self._file.read_into(row, _bytes_of(band), margin * self._side * 3):
                self._read_whole(row, row_of_store)
            square[...] = band[:, margin : margin + size]
        return squares

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _row_buffer(self) -> np.ndarray:
        """Returns this thread's buffer of one row: small enough to stay in the processor's cache between images."""
        if not hasattr(self._scratch, "row"):
            self._scratch.row = np.empty((self._side, self._side, 3), np.uint8)
        return self._scratch.row

    def _read_whole(self, row: int, buffer: np.ndarray) -> None:
        view = _bytes_of(buffer)
        if not self._file.read_into(row, view) or zlib.crc32(view) != self._checksums[row]:
            buffer[...] = self._make_anew(row)
            self._mend(row, buffer)
        self._verified[row] = True

    def _mend(self, row: int, pixels: np.ndarray) -> None:
        try:
            with RowFile(self._file.path, self._file.row_bytes, write=True) as file:
                file.write(row, _bytes_of(pixels))
        except OSError:  # A cache that can only be read, or a full disk: this process at least has the right pixels.
            self._made_anew[row] = pixels.copy()


def _bytes_of(array: np.ndarray) -> memoryview:
    return array.data.cast("B")
