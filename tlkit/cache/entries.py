"""What lies in the cache folder: entries, their headers and sizes, and how they are taken away."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from tlkit.cache.locks import is_held, try_lock, wait_for_lock
from tlkit.errors import InputError

HEADER = "entry.json"
PARTIAL = ".partial"
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_WRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENOLCK, errno.ENOTSUP}


class CacheError(InputError):
    """The cache cannot take what was to be put into it; the message names the folder and the remedy."""


class CacheFull(CacheError):
    """There is no room: the budget or the disk is spent."""


class CacheNotWritable(CacheError):
    """The cache folder cannot be written to."""


@dataclass(frozen=True)
class Entry:
    """What one folder of the cache holds.

    Attributes:
        kind: What it is for, such as `"pixels"`.
        key: Its content address.
        path: Its folder.
        bytes: What it takes on disk, or will take where it is being built.
        last_used: Seconds since 1970.
        complete: False while it is being built, and for what an interrupted build left.
        in_use: True where a living process holds or builds it.
        details: What its builder wrote about it, JSON-able.
    """

    kind: str
    key: str
    path: Path
    bytes: int
    last_used: float
    complete: bool
    in_use: bool
    details: dict[str, Any]


def cache_folder() -> Path:
    """Returns the cache's folder, which may not exist yet: `TLKIT_CACHE`, else the platform's own place."""
    chosen = os.environ.get("TLKIT_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else Path(platformdirs.user_cache_dir("tlkit", False))


def list_entries(kind: str | None = None) -> tuple[Entry, ...]:
    """Lists the entries of a kind, or all, the most recently used first; entries being built are among them."""
    root = cache_folder()
    kinds = [kind] if kind else sorted(path.name for path in _subfolders(root))
    entries = [_read_entry(path) for name in kinds for path in _subfolders(root / name)]
    return tuple(sorted((entry for entry in entries if entry), key=lambda entry: -entry.last_used))


def read_header(path: Path) -> dict[str, Any]:
    """Returns the header of an entry's folder, empty where it has none that can be read."""
    try:
        return dict(json.loads((path / HEADER).read_text("utf-8")))
    except (OSError, ValueError):
        return {}


def file_bytes(path: Path) -> int:
    """Returns the size of a file, -1 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def folder_bytes(path: Path) -> int:
    """Returns the size of all files in an entry's folder, 0 where there is none."""
    return sum(max(file_bytes(child), 0) for child in path.rglob("*")) if path.exists() else 0


def free_bytes() -> int:
    """Returns what is free on the disk of the cache folder."""
    folder = cache_folder()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def remove(path: Path) -> None:
    """Takes an entry's folder away: renamed first, so that nobody ever finds half of it."""
    if not path.exists():
        return
    trash = cache_folder() / ".trash"
    doomed = trash / uuid.uuid4().hex
    try:
        trash.mkdir(exist_ok=True)
        os.replace(path, doomed)
    except OSError:  # A full disk may refuse the new name.
        doomed = path
    shutil.rmtree(doomed, ignore_errors=True)


def tidy() -> None:
    """Finishes removals that were interrupted, and removes the lock files of processes that are gone."""
    shutil.rmtree(cache_folder() / ".trash", ignore_errors=True)
    for lock in (cache_folder() / ".locks").glob("*.lock"):
        _is_held(lock)


def lock_path(kind: str, key: str, use: str) -> Path:
    """Returns the lock file for one use of an entry: `build`, or a name of its own for each holder."""
    return cache_folder() / ".locks" / f"{kind}.{key}.{use}.lock"


@contextlib.contextmanager
def mutex() -> Iterator[None]:
    """Keeps other threads and processes from adding, holding or evicting entries for a moment.

    Raises:
        CacheError: The cache folder cannot be written to.
    """
    ensure_writable()
    with wait_for_lock(cache_folder() / ".locks" / "mutex"):
        yield


def ensure_writable() -> None:
    """Makes the cache folder where it is missing, and tries whether it can be written to and locked.

    Raises:
        CacheError: It cannot.
    """
    folder = cache_folder()
    probe = folder / ".locks" / f"probe-{uuid.uuid4().hex}.lock"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        lock = try_lock(probe)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise CacheFull(f"The disk of the cache {folder} is full. Free some space, or set TLKIT_CACHE.") from error
        if error.errno in NOT_WRITABLE:
            raise CacheNotWritable(
                f"Expected a cache folder that can be written to. Received: {folder} ({error.strerror}). "
                "Set TLKIT_CACHE to another folder."
            ) from error
        raise
    if lock is not None:
        lock.release(remove=True)


def _read_entry(path: Path) -> Entry | None:
    kind, complete = path.parent.name, not path.name.endswith(PARTIAL)
    key = path.name.removesuffix(PARTIAL)
    header = read_header(path)
    locks = (path.parent.parent / ".locks").glob(f"{kind}.{key}.*.lock")
    in_use = bool([lock for lock in locks if _is_held(lock)])  # Every one is asked, so that stale ones go.
    try:
        marked = (path / HEADER if header else path).stat().st_mtime
    except FileNotFoundError:  # Evicted while we looked.
        return None
    size = folder_bytes(path)
    if not complete and in_use:
        size = max(size, header.get("estimated_bytes", 0))
    return Entry(kind, key, path, size, marked, complete and bool(header), in_use, header.get("details", {}))


def _is_held(lock: Path) -> bool:
    try:
        return is_held(lock)
    except OSError:  # A cache that can only be read: nothing is evicted from it, so the cautious answer costs nothing.
        return True


def _subfolders(path: Path) -> list[Path]:
    try:
        return [child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")]
    except OSError:
        return []
