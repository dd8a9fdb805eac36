"""Large arrays that live on the disk of the cache, so that memory does not grow with the number of images."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from tlkit import cache

LARGEST_IN_MEMORY = 2**24  # Bytes.


def large_array(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Returns an array to be filled: in memory where it is small, else over a file that goes with it.

    Pages of such a file are given back by the operating system when memory is short. Where the cache's folder has no
    room the array is in memory.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    folder = cache.cache_folder()
    if size <= LARGEST_IN_MEMORY or not _has_room(folder, size):
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(dir=folder) as file:  # The mapping outlives the name and the handle.
        return np.memmap(file, dtype, "w+", shape=shape)


def _has_room(folder: Path, size: int) -> bool:
    import shutil

    try:
        return shutil.disk_usage(folder).free > 2 * size
    except OSError:
        return False
