"""Finding, holding and making entries: whole or not at all, by one process at a time."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tlkit.cache.budget import make_room_for
from tlkit.cache.entries import (
    HEADER,
    NO_SPACE,
    PARTIAL,
    CacheFull,
    CacheNotWritable,
    cache_folder,
    ensure_writable,
    file_bytes,
    folder_bytes,
    lock_path,
    mutex,
    read_header,
    remove,
)
from tlkit.cache.locks import FileLock, try_lock, wait_for_lock
from tlkit.run import write_json


class Hold:
    """An entry that cannot be evicted until `close` is called or the process ends."""

    def __init__(self, path: Path, lock: FileLock | None):
        self.path = path
        self._lock = lock

    def close(self) -> None:
        """Lets the entry go."""
        if self._lock is not None:
            self._lock.release(remove=True)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *exception: object) -> None:
        self.close()


def find(kind: str, key: str) -> Path | None:
    """Returns the folder of a complete entry and marks it used, or None; one with missing bytes is removed."""
    path = cache_folder() / kind / key
    header = read_header(path)
    if not header.get("complete"):
        return None
    if any(file_bytes(path / name) != size for name, size in header["files"].items()):
        remove(path)
        return None
    with contextlib.suppress(OSError):  # A cache that can only be read keeps no marks.
        os.utime(path / HEADER)
    return path


def hold(kind: str, key: str) -> Hold | None:
    """Finds a complete entry as `find` does and keeps it from being evicted until the hold is closed."""
    try:
        with mutex():
            path = find(kind, key)
            return Hold(path, try_lock(lock_path(kind, key, f"use-{uuid.uuid4().hex}"))) if path else None
    except CacheNotWritable:
        path = find(kind, key)
        return Hold(path, None) if path else None


def discard(kind: str, key: str) -> None:
    """Removes an entry that turned out to be damaged, in use or not."""
    with mutex():
        remove(cache_folder() / kind / key)


@contextlib.contextmanager
def build(
    kind: str,
    key: str,
    estimated_bytes: int,
    *,
    details: dict[str, Any] | None = None,
    resumable: bool = False,
    while_waiting: Callable[[Path], None] | None = None,
) -> Iterator[Path]:
    """Gives a folder to fill, which becomes the entry `kind/key` when the block ends without an exception.

    Where another process builds the same entry, waits for it; look with `find` first thing inside the block: what
    was built meanwhile is kept, and the folder given here is then thrown away.

    Args:
        kind: What the entry is for: the name of a folder.
        key: Its content address: letters, digits, `-` and `_`.
        estimated_bytes: How many bytes it will take; room is made for them first.
        details: What to write about it into its header, JSON-able.
        resumable: Whether what an interrupted block leaves is of use: the next build then gets the folder with it.
        while_waiting: Called with the folder now and then while another process fills it.

    Yields:
        The folder to fill.

    Raises:
        CacheFull: The bytes do not fit, or the disk filled up on the way; nothing is left behind.
        CacheNotWritable: The cache folder cannot be written to.
    """
    partial = cache_folder() / kind / f"{key}{PARTIAL}"
    ensure_writable()
    lock = wait_for_lock(lock_path(kind, key, "build"), (lambda: while_waiting(partial)) if while_waiting else None)
    try:
        if not resumable:
            remove(partial)
        partial.mkdir(parents=True, exist_ok=True)
        header = {"complete": False, "estimated_bytes": estimated_bytes, "details": details or {}}
        with mutex():
            make_room_for(partial, estimated_bytes - folder_bytes(partial))
            write_json(partial / HEADER, header)
        yield partial
        _publish(partial, header)
    except BaseException as error:
        out_of_space = isinstance(error, OSError) and error.errno in NO_SPACE
        if out_of_space or isinstance(error, CacheFull) or not resumable:
            remove(partial)
        if out_of_space:
            raise CacheFull(
                f"The disk of the cache filled up while {estimated_bytes:,} bytes were written to {cache_folder()}; "
                "what was written is removed. Free some space, or set TLKIT_CACHE to a folder on another disk."
            ) from error
        raise
    finally:
        lock.release(remove=True)


def _publish(partial: Path, header: dict[str, Any]) -> None:
    target = partial.with_name(partial.name.removesuffix(PARTIAL))
    with mutex():
        if read_header(target).get("complete"):
            remove(partial)
            return
        files = {path.name: file_bytes(path) for path in sorted(partial.iterdir()) if path.name != HEADER}
        write_json(partial / HEADER, {**header, "complete": True, "files": files})
        remove(target)
        os.replace(partial, target)
