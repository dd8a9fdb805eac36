"""Decoding in threads, image by image and epoch by epoch: for data whose pixels would not fit into the cache."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tlkit.data.items import Source
from tlkit.data.packing_rows import look_at
from tlkit.data.threads import cores
from tlkit.data.transform import Transform
from tlkit.errors import InputError


class StreamedRows:
    """Decodes rows on demand, with as many threads as there are cores."""

    def __init__(self, source: Source, items: list[str], transform: Transform):
        self._source, self._items, self._transform = source, items, transform
        self._executors: dict[int, ThreadPoolExecutor] = {}  # By process: threads do not survive a fork.

    def read(self, rows: np.ndarray, size: int) -> np.ndarray:
        """Returns the central squares of some rows: uint8 (n, size, size, 3).

        Raises:
            InputError: An item that could be decoded before no longer can.
        """
        margin = (self._transform.store_size - size) // 2
        squares = np.empty((len(rows), size, size, 3), np.uint8)

        def decode_into(position: int) -> None:
            pixels = self._decode(int(rows[position]))
            squares[position] = pixels[margin : margin + size, margin : margin + size]

        list(self._executor().map(decode_into, range(len(rows))))
        return squares

    def close(self) -> None:
        """Ends the threads."""
        self._executor().shutdown(wait=False, cancel_futures=True)

    def _executor(self) -> ThreadPoolExecutor:
        process = os.getpid()
        if process not in self._executors:
            self._executors[process] = ThreadPoolExecutor(cores(), thread_name_prefix="tlkit-decode")
        return self._executors[process]

    def _decode(self, row: int) -> np.ndarray:
        facts, pixels = look_at(self._source, self._items[row], self._transform)
        if pixels is None:
            raise InputError(f"{self._items[row]} could be decoded before and no longer can: {facts.problem}")
        return pixels
