"""Exclusive locks on files that the operating system gives back when their process ends, however it ends.

A lock file names its owner (process number and host) for people to read; whether it is stale is asked of the
operating system, which a killed process or a reused process number cannot fool.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

POLL_SECONDS = 0.05
NAMING_SECONDS = 1.0  # That a process which has just got a lock may take to write its name.
HELD_BY_ANOTHER = {errno.EAGAIN, errno.EACCES, errno.EDEADLK}
LOCKED_BYTE = 1 << 30  # Windows locks are mandatory: a byte beyond the text leaves the owner's name readable.


class FileLock:
    """A lock that is held until it is released, forgotten, or its process ends."""

    def __init__(self, path: Path, handle: int):
        self.path = path
        self._handle: int | None = handle

    def release(self, *, remove: bool = False) -> None:
        """Gives the lock back, once; with `remove` the file goes too."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        if remove and fcntl is not None:
            self.path.unlink(missing_ok=True)  # While still held, so that nobody can hold a file without a name.
        os.close(handle)
        if remove and fcntl is None:
            with contextlib.suppress(OSError):  # Another process may have opened it in between.
                self.path.unlink(missing_ok=True)

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()


def try_lock(path: Path) -> FileLock | None:
    """Takes the lock on a file, made where missing, or returns None where another holder has it.

    Raises:
        OSError: The file cannot be made, or its file system knows no locks.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        try:
            _lock(handle)
        except OSError as error:
            os.close(handle)
            if error.errno in HELD_BY_ANOTHER:
                return None
            raise
        if _names(path, handle):
            _write_owner(handle)
            return FileLock(path, handle)
        os.close(handle)  # Its last holder removed the file while we opened it: take the new one.


def wait_for_lock(path: Path, while_waiting: Callable[[], None] | None = None) -> FileLock:
    """Takes the lock on a file, calling `while_waiting` again and again until its holder gives it back."""
    while (lock := try_lock(path)) is None:
        if while_waiting is not None:
            while_waiting()
        time.sleep(POLL_SECONDS)
    return lock


def is_held(path: Path) -> bool:
    """Tells whether some living process holds the lock; the file of a dead one is removed."""
    if not path.exists():
        return False
    lock = try_lock(path)
    if lock is None:
        return True
    lock.release(remove=True)
    return False


def owner_of(path: Path) -> str:
    """Returns who wrote a lock file, for people; empty where there is none, or no name comes into it."""
    until = time.monotonic() + NAMING_SECONDS
    while path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return f"process {found['process']} on {found['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            if time.monotonic() > until:
                break
        time.sleep(POLL_SECONDS)
    return ""


def _lock(handle: int) -> None:
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        os.lseek(handle, LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)


def _names(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _write_owner(handle: int) -> None:
    owner = json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode()
    with contextlib.suppress(OSError):  # A full disk: the lock holds without the name.
        os.lseek(handle, 0, os.SEEK_SET)
        os.ftruncate(handle, 0)
        os.write(handle, owner)
