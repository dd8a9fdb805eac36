"""The folder of a search: what lies where, who may write it, and what of it goes when trials have lost."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tlkit import run
from tlkit.cache.locks import owner_of, try_lock
from tlkit.errors import InputError

SETTINGS = "settings.json"
ORACLE = "oracle.json"
LOCK = "search.lock"
TRIALS = "trials"
FEATURES = "features"
RESULT = "search.json"
PAGE = "search.html"
WINNER = "winner"
DEFAULT = "default"
RECORD = "trial.json"
LOG = "log.txt"
TASK = "task.json"
TASK_RESULT = "result.json"
PROBABILITIES = "validation.npy"
REPEATS_FROM = 100_000  # Numbers of repeats: beyond those of proposals, of which more may come on resuming.
CHECKPOINT = "checkpoint.npz"
TRUTH = "validation.json"
CLOCK = "clock.json"
TESTED = "tested.json"
HEAD_LOG = "heads-{}.txt"
SERVER_LOG = "trials-{}.txt"
VERSION = 1  # Of the folder's layout.

RUNNING, COMPLETED, FAILED = "running", "completed", "failed"
ENDED = (COMPLETED, FAILED)


@dataclass(frozen=True)
class Record:
    """A trial as its folder tells it.

    Attributes:
        number: 0 is the default recipe.
        values: Of the hyperparameters that matter.
        identity: Names the recipe; from `recipes.identity`.
        status: `"running"`, `"completed"` or `"failed"`.
        kind: `"head"`: fitted on cached features; `"body"`: trained in a process of its own.
        reason: Why it failed: `"out of memory"`, `"killed"`, `"not finite"`, `"input"` or `"crash"`.
        message: The same in a line.
        metrics: Every objective on the validation images.
        seconds: By what they went to.
        epochs: After which a trial of hyperband stopped, or None.
        continues: Trial whose checkpoint it went on from, or None.
        copied_from: Trial of the same recipe whose result it has, or None.
        seed: Where the trial repeats another one's recipe under a new seed; else None.
        peak_memory_bytes: Of the process that ran it.
        ended: When, in seconds since 1970.
    """

    number: int
    values: dict[str, Any]
    identity: str
    status: str = RUNNING
    kind: str = "body"
    reason: str = ""
    message: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    epochs: int | None = None
    continues: int | None = None
    copied_from: int | None = None
    seed: int | None = None
    peak_memory_bytes: int | None = None
    ended: float = 0.0

    @property
    def original(self) -> int:
        """The trial that was run for this result."""
        return self.number if self.copied_from is None else self.copied_from

    @property
    def total_seconds(self) -> float:
        """Seconds that it took in all."""
        return sum(self.seconds.values())


def default_folder(space: str) -> Path:
    """Returns `runs/DATE-TIME-search-SPACE` under the working directory."""
    return run.default_folder("search", Path(space).stem)


def trial_folder(folder: Path, number: int) -> Path:
    """Returns the folder of a trial."""
    return folder / TRIALS / f"{number:04d}"


def write_record(folder: Path, record: Record) -> Record:
    """Writes a trial's record, whole or not at all, and returns it with the time of writing."""
    path = trial_folder(folder, record.number)
    path.mkdir(parents=True, exist_ok=True)
    record = replace(record, ended=round(time.time(), 3))
    run.write_json(path / RECORD, asdict(record))
    return record


def read_records(folder: Path) -> list[Record]:
    """Returns the trials that have a record, in order of their numbers."""
    found = []
    for path in sorted((folder / TRIALS).glob(f"*/{RECORD}")):
        try:
            found.append(Record(**json.loads(path.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            continue  # Another process has just removed it, to run it again.
        except (ValueError, TypeError):
            raise InputError(
                f"Expected {path} as tlkit search wrote it. Received: a damaged file. Remove {path.parent}, and the "
                "trial is run again."
            ) from None
    return found


def read_settings(folder: Path) -> dict[str, Any]:
    """Returns what a search was asked for.

    Raises:
        InputError: There is no search in the folder, or its description is damaged.
    """
    path = folder / SETTINGS
    if not path.is_file():
        raise InputError(f"Expected the folder of a search. Received: {folder}, which has no {SETTINGS}.")
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = found["version"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"Expected {path} as tlkit search wrote it. Received: a damaged file. Search anew.") from None
    if version != VERSION:
        raise InputError(f"Expected a search of version {VERSION}. Received: {folder} of version {version}.")
    return found


def require_free(folder: Path) -> None:
    """Raises InputError where a new search cannot be written without touching what is there."""
    if (folder / SETTINGS).exists():
        raise InputError(
            f"Expected a new folder. Received: {folder}, which holds a search. Go on with it: tlkit search --resume "
            f"--output {folder}"
        )
    run.require_free(folder)


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Keeps every other search out of a folder while the block lasts.

    Raises:
        InputError: Another search is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = try_lock(folder / LOCK)
    if lock is None:
        owner = owner_of(folder / LOCK) or f"on {socket.gethostname()} or another host"
        raise InputError(
            f"Expected a folder that no search is writing. Received: {folder}, where one is at work "
            f"({owner}). Wait for it, or choose another --output."
        )
    try:
        yield
    finally:
        lock.release(remove=True)


def prune(folder: Path, kept: set[int]) -> int:
    """Removes models, checkpoints and probabilities of trials that are not to be kept; returns the bytes freed.

    Records, recipes, histories and logs stay, and of repeats the probabilities, which a search that goes on compares.
    """
    freed = 0
    for path in sorted((folder / TRIALS).glob("*")):
        if path.name.isdecimal() and int(path.name) in kept:
            continue
        try:
            if json.loads((path / RECORD).read_text(encoding="utf-8"))["status"] == RUNNING:
                continue  # At work in another process.
        except FileNotFoundError:
            continue
        repeated = path.name.isdecimal() and int(path.name) >= REPEATS_FROM
        for name in (run.MODEL, CHECKPOINT, *(() if repeated else (PROBABILITIES,))):
            if (path / name).exists():
                freed += (path / name).stat().st_size
                (path / name).unlink(missing_ok=True)
    return freed


def clear_trial(folder: Path, number: int) -> Path:
    """Returns the folder of a trial, empty: what a killed trial left there is gone."""
    path = trial_folder(folder, number)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
