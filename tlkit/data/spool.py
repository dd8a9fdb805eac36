"""A source for data that can only be read from front to back: kept once in a temporary file, then read in any order."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any


class SpooledSource:
    """Items written one after another into an unnamed temporary file, which vanishes with the process.

    Pickled, it leaves the file behind and fills another when first read.
    """

    def __init__(self, name: str, stamp: str, fill: Callable[[], Iterator[tuple[str, bytes]]]):
        """Keeps what is needed to fill the file.

        Args:
            name: What the user typed.
            stamp: Changes when the data behind it does.
            fill: Gives all items and their bytes; picklable.
        """
        self.name, self._stamp, self._fill = name, stamp, fill
        self._start()

    def _start(self) -> None:
        self._file: IO[bytes] | None = None
        self._places: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def read(self, item: str) -> bytes:
        with self._lock:
            if self._file is None:
                self.fill(self._fill())
            assert self._file is not None
            if item not in self._places:
                raise OSError(f"no such item in {self.name}")
            offset, size = self._places[item]
            self._file.seek(offset)
            return self._file.read(size)

    def stamp(self, item: str) -> str:
        return self._stamp

    def fill(self, contents: Iterator[tuple[str, bytes]]) -> None:
        """Writes down what the first pass over the data gives, so that it need not be made twice."""
        file = tempfile.TemporaryFile(prefix="tlkit-")  # noqa: SIM115 - it lives as long as the source.
        try:
            for item, data in contents:
                self._places[item] = (file.tell(), len(data))
                file.write(data)
        except BaseException:
            file.close()
            raise
        self._file = file

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self._file.close()  # type: ignore[union-attr]

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "_stamp": self._stamp, "_fill": self._fill}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()
