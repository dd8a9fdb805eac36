"""A run folder from its making to its end: one process at a time, and what a run that ends early leaves in it."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from tlkit import console, run
from tlkit.cache.locks import FileLock, owner_of, try_lock
from tlkit.errors import InputError

NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def new_run(path: Path) -> Iterator[None]:
    """Makes a run folder that is filled in the block, by this process alone.

    Where the block ends by a mistake of the user's before anything was trained, the folder is taken away again: the
    same command can then be given again. After an interruption or any other exception it stays, to be resumed.

    Raises:
        InputError: The folder holds something already, or another process works on it.
    """
    made = [folder for folder in (path, *path.absolute().parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        with _held(path):
            run.require_free(path)  # Another process may have filled it since that was asked before.
            run.write_state(path, "running")
            try:
                with _recorded(path):
                    yield
            except InputError:
                if not (path / run.CHECKPOINT).exists():
                    shutil.rmtree(path, ignore_errors=True)
                raise
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # Those that are not empty stay.
                folder.rmdir()


@contextlib.contextmanager
def resumed_run(path: Path) -> Iterator[None]:
    """Holds an unfinished run folder for this process while the block goes on with it.

    Raises:
        InputError: Another process works on it, or it cannot be written.
    """
    with _held(path):
        run.remove_unfinished(path)
        run.write_state(path, "running")
        with _recorded(path):
            yield


def require_idle(path: Path) -> None:
    """Raises InputError where a process works on a run."""
    with _held(path):
        pass


@contextlib.contextmanager
def _recorded(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        with contextlib.suppress(OSError):  # A full disk: "running" without a process is resumed as well.
            run.write_state(path, status)
        raise


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Keeps the folder for this process; the system gives it back however the process ends."""
    owner = owner_of(path / run.LOCK)
    lock = _lock(path)
    if owner:
        console.say(f"  {owner} ended without a word while it worked on {path}: its lock is stale and taken over.")
    try:
        yield
    finally:
        if lock is not None:
            lock.release(remove=True)


def _lock(path: Path) -> FileLock | None:
    try:
        lock = try_lock(path / run.LOCK)
    except OSError as error:
        if error.errno in (*NOT_WRITABLE, *FULL):
            raise InputError(
                f"Expected a run folder that can be written. Received: {path} ({error.strerror})."
            ) from error
        console.warn(f"  The file system of {path} knows no locks: let no other process work on this run.")
        return None
    if lock is None:
        raise InputError(
            f"Expected a run folder that no process works on. Received: {path}, which "
            f"{owner_of(path / run.LOCK) or 'another process'} is working on. Wait for its end, or stop it."
        )
    return lock


def is_of_the_disk(error: OSError) -> bool:
    """Tells whether an error says that a disk, a quota or a file has no room left, or cannot be written."""
    return error.errno in (*FULL, *NOT_WRITABLE) or f"errno = {errno.ENOSPC}" in str(error)  # As HDF5 tells it.
