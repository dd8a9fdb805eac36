"""Processes that pack beside this one, for Python lets only one thread of a process compute at a time.

Most of the work on a small picture is Python's own, so that two threads take longer than one. Measured on 2 cores,
milliseconds an image, one thread, two threads, two processes: JPEGs of 96 px 0.42, 0.64, 0.25; of 500 x 375 2.4, 1.5,
1.1 (`benchmarks/data.py` has the whole pass).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from tlkit.child_processes import start, stop
from tlkit.data import jpeg
from tlkit.data.items import FileSource, Source
from tlkit.data.threads import cores
from tlkit.data.transform import Transform

ITEMS_A_HELPER = 512  # Fewer for each do not pay for starting it: a fifth of a second of one core.
MOST_HELPERS = 15
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}  # Its matrices are small.


@dataclass(frozen=True)
class Job:
    """What a packing pass is about.

    Attributes:
        folder: Where the packed files lie; None for memory, which no other process sees.
        source: Reads the items.
        transform: What is done to each.
        num_items: How many rows the packed files have.
        pixels: Whether pixels are packed, or facts alone.
    """

    folder: Path | None
    source: Source
    transform: Transform
    num_items: int
    pixels: bool


class Helper:
    """A process that packs what it is told, in a folder that is made already.

    Args:
        setup: What `packing_process.main` is to know.

    Raises:
        OSError: No process can be started.
    """

    def __init__(self, setup: dict[str, Any]):
        self.failed = False
        self.process = start(
            "tlkit.data.packing_process:main", log=subprocess.DEVNULL, pipes=True, environment=ENVIRONMENT
        )
        self._say(setup)

    def pack(self, rows: np.ndarray, items: Sequence[str], marks: np.ndarray) -> bool:
        """Has some rows packed, as `packing_rows.pack_rows` does it; False where the process has died before the end.

        Raises:
            OSError: The pixels cannot be written.
        """
        assert self.process.stdout is not None
        try:
            self._say({"rows": rows.tolist(), "items": list(items), "marks": marks.tobytes().hex()})
            problem = json.loads(self.process.stdout.readline())["problem"]
        except (OSError, ValueError):
            self.failed = True
            return False
        if problem is not None:
            raise OSError(*problem)
        return True

    def _say(self, told: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(told).encode() + b"\n")
        self.process.stdin.flush()


class Helpers:
    """Who may pack at the same time: threads of this process, told by None, and helpers; a context that ends these.

    Args:
        workers: All of them.
    """

    def __init__(self, workers: Sequence[Helper | None]):
        self._workers = workers
        self._free: SimpleQueue[Helper | None] = SimpleQueue()
        for worker in workers:
            self._free.put(worker)

    def __len__(self) -> int:
        return len(self._workers)

    @contextmanager
    def one(self) -> Iterator[Helper | None]:
        """Gives one that is free; in the place of a helper that has died, a thread works on."""
        worker = self._free.get()
        try:
            yield worker
        finally:
            self._free.put(None if worker is not None and worker.failed else worker)

    def __enter__(self) -> Helpers:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers:
            if worker is not None:
                stop(worker.process)


def start_helpers(job: Job, num_todo: int) -> Helpers:
    """Starts as many helpers as the work is worth: with a thread of this process, one worker for each core.

    Only files that lie in folders are read by others; archives and arrays are read by threads of this process.

    Args:
        job: What is packed.
        num_todo: How many of its rows are to be packed.
    """
    threads = Helpers([None] * cores())
    number = min(cores() - 1, num_todo // ITEMS_A_HELPER, MOST_HELPERS)
    if number < 1 or job.folder is None or type(job.source) is not FileSource or not _can_start():
        return threads
    setup = {
        "folder": str(job.folder),
        "root": job.source.root,
        "transform": job.transform.to_dict(),
        "num_items": job.num_items,
        "pixels": job.pixels,
        "simplejpeg": jpeg.simplejpeg_available(),
    }
    started: list[Helper] = []
    with contextlib.suppress(OSError):  # The system has no room for another process.
        for _ in range(number):
            started.append(Helper(setup))
    return Helpers([None, *started]) if started else threads


def _can_start() -> bool:
    """Tells whether Python can be started again; in a program frozen into one file it cannot."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)
