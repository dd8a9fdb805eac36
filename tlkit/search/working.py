"""The loop over trials: ask the oracle, run what it proposes, tell it what came of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from tlkit.cache.locks import try_lock
from tlkit.search.executing import Executor
from tlkit.search.folder import COMPLETED, ENDED, Record, read_records
from tlkit.search.processes import Stopped

IDLE_SECONDS = 0.2  # Until an oracle that waits for others is asked again.
DEFAULT_LOCK = "default.lock"

OnTrial = Callable[[Record], None]


def work(
    oracle: Any, executor: Executor, tuner_id: str, *, deadline: float = math.inf, on_trial: OnTrial | None = None
) -> bool:
    """Runs trials until the oracle has no more, the default recipe first where nobody does that yet.

    Args:
        oracle: One of `oracles`, or KerasTuner's client of one.
        executor: Runs them.
        tuner_id: Name of this worker.
        deadline: When trials must have ended, as `time.monotonic()` tells time.
        on_trial: Called with each record.

    Returns:
        Whether the oracle was asked until it had no more; False where time was over first.
    """
    try:
        run_default(executor, deadline, on_trial)
        while True:
            if time.monotonic() >= deadline:
                return False
            trial = oracle.create_trial(tuner_id)
            if trial.status == "STOPPED":
                return _see_default_ended(executor, deadline, on_trial)
            if trial.status == "IDLE":
                time.sleep(IDLE_SECONDS)
                continue
            number = int(trial.trial_id) + 1
            record = executor.run(executor.proposed(number, trial.hyperparameters.values), deadline)
            report(oracle, trial, record)
            if on_trial is not None:
                on_trial(record)
    except Stopped:
        return False


def report(oracle: Any, trial: Any, record: Record) -> None:
    """Tells an oracle how a trial ended."""
    if record.status == COMPLETED:
        oracle.update_trial(trial.trial_id, record.metrics)
    trial.status = "COMPLETED" if record.status == COMPLETED else "FAILED"
    trial.message = record.message or None
    oracle.end_trial(trial)


def run_default(executor: Executor, deadline: float, on_trial: OnTrial | None) -> None:
    """Runs trial 0 unless it has been run, or another worker is at it.

    Raises:
        Stopped: The deadline has passed.
    """
    lock = try_lock(executor.folder / DEFAULT_LOCK)
    if lock is None:
        return
    try:
        if not _default_has_ended(executor):
            record = executor.run(executor.default(), deadline)
            if on_trial is not None:
                on_trial(record)
    finally:
        lock.release(remove=True)


def _see_default_ended(executor: Executor, deadline: float, on_trial: OnTrial | None) -> bool:
    """Waits until trial 0 has ended, and runs it where the worker that was at it has died; False where time was over.

    Raises:
        Stopped: The deadline has passed.
    """
    while not _default_has_ended(executor):
        if time.monotonic() >= deadline:
            return False
        run_default(executor, deadline, on_trial)
        time.sleep(IDLE_SECONDS)
    return True


def _default_has_ended(executor: Executor) -> bool:
    return any(one.number == 0 and one.status in ENDED for one in read_records(executor.folder))
