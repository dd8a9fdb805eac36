"""Memory that is freed stays with the process: every step of a training asks for the same again."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # As malloc.h of the GNU C library has them.
KEPT_BYTES = 2**31 - 1  # At the end of the heap; what is free beyond goes back to the system. The most mallopt takes.
CHOICES = ("GLIBC_TUNABLES", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def keep_freed_memory() -> bool:
    """Has the GNU C library keep what this process frees, instead of giving it back to the system at once.

    By default every tensor above 128 KB to 32 MB is mapped when it is made and unmapped when it is freed, and each of
    its pages costs the system work anew: 49,000 page faults a step where EfficientNet-Lite0 trains on 32 images of 96
    pixels. `benchmarks/allocation.py` measures what that costs. The most memory that a process has grows by a few per
    cent; it is given back when the process ends. The command does this by itself; in code of your own call it once.

    Returns:
        Whether it is so now: not under other systems and C libraries, nor where the environment has a choice of its own
        (`MALLOC_TRIM_THRESHOLD_` and its like).
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in CHOICES):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # Another C library.
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
