"""The steps of a run as they are shown, with what each costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tlkit import console, environment


class Timer:
    """Shows steps on the console and remembers how long each took, in seconds, and the peak of memory after it."""

    def __init__(self) -> None:
        self.started = environment.timestamp()
        self.seconds: dict[str, float] = {}
        self.peak_memory_bytes: dict[str, int] = {}

    @contextmanager
    def __call__(self, text: str, unit: str = "") -> Iterator[console.OnProgress]:
        start = time.monotonic()
        with console.step(text, unit) as on_progress:
            yield on_progress
        self.seconds[text] = round(time.monotonic() - start, 3)
        if peak := environment.peak_memory_bytes():
            self.peak_memory_bytes[text] = peak
