"""How the items of a data set are read: by whatever has `read` and `stamp`, such as files below a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Source(Protocol):
    """How bytes or pixels are had. Picklable, without open handles; `read` may be called from any thread."""

    @property
    def name(self) -> str:
        """What the user typed, such as `./images` or `builtin:digits`."""

    def read(self, item: str) -> bytes | np.ndarray:
        """Returns a file's bytes, or an array (height, width[, 1, 3 or 4]) as `decode` takes it.

        Raises:
            OSError: The item cannot be read.
        """

    def stamp(self, item: str) -> str:
        """Returns a cheap mark that changes when the item does, such as size and modification time."""


@dataclass(frozen=True)
class FileSource:
    """Files below a root folder; items are paths with `/`, absolute ones as they are."""

    name: str
    root: str

    def read(self, item: str) -> bytes:
        with open(os.path.join(self.root, item), "rb") as file:
            return file.read()

    def stamp(self, item: str) -> str:
        status = os.stat(os.path.join(self.root, item))
        return f"{status.st_size}:{status.st_mtime_ns}"
