"""How long a search has been at work: written every few seconds, so that a kill loses no more than these."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tlkit import run
from tlkit.report.files import read_json
from tlkit.search.folder import CLOCK

BEAT_SECONDS = 2.0
TRIALS, END = "trials", "end"  # Parts of a search.


def seconds_of(folder: Path, part: str) -> float:
    """Returns the seconds that a part of a search has taken so far, in all its sessions."""
    return _read(folder).get(part, 0.0)


@contextlib.contextmanager
def counting(folder: Path, part: str) -> Iterator[Callable[[], float]]:
    """Adds the time of the block to that of a part of the search, however the block ends.

    Yields:
        A function that returns the seconds of the part so far.
    """
    before, began, ended = _read(folder), time.monotonic(), threading.Event()

    def so_far() -> float:
        return round(before.get(part, 0.0) + time.monotonic() - began, 3)

    def write() -> None:
        run.write_json(folder / CLOCK, before | {part: so_far()})

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # A full disk is told by those who must write.
                write()

    thread = threading.Thread(target=beat, daemon=True, name="tlkit-clock")
    thread.start()
    try:
        yield so_far
    finally:
        ended.set()
        thread.join()
        write()


def _read(folder: Path) -> dict[str, float]:
    path = folder / CLOCK
    return read_json(path) if path.exists() else {}
