"""Work on many items in as many threads as there are cores, a few items a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import numpy as np

ITEMS_A_TASK = 32  # Enough to make the hand-over between threads cheap.
TASKS_A_CORE = 8  # At least, where there are so few items: progress stays smooth, and cores end together.


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_tasks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Cuts rows into what one thread does at a time."""
    items = max(1, min(ITEMS_A_TASK, len(rows) // (TASKS_A_CORE * cores())))
    return (rows[start : start + items] for start in range(0, len(rows), items))


def in_threads(
    work: Callable[[np.ndarray], int], tasks: Iterator[np.ndarray], number: int | None = None
) -> Generator[int, None, None]:
    """Runs tasks in some threads, by default as many as there are cores, giving results as they come."""
    number = number or cores()
    with ThreadPoolExecutor(number, thread_name_prefix="tlkit-pack") as executor:
        running: set[Future[int]] = set()
        try:
            for task in tasks:
                running.add(executor.submit(work, task))
                if len(running) > 2 * number:
                    finished, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            yield from (future.result() for future in running)
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
