"""How much the cache may take, and what goes when more is needed."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tlkit.cache.entries import (
    CacheFull,
    Entry,
    cache_folder,
    folder_bytes,
    free_bytes,
    list_entries,
    mutex,
    remove,
    tidy,
)
from tlkit.errors import InputError

SHARE = 0.5  # Of the disk that is free or already the cache's: as much is left to everyone else.
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def budget_bytes() -> int:
    """Returns how many bytes the cache may take: `TLKIT_CACHE_BYTES`, else half of what is free or already its own.

    Raises:
        InputError: `TLKIT_CACHE_BYTES` is not a size.
    """
    return _budget(list_entries())


def make_room(bytes_needed: int) -> tuple[Entry, ...]:
    """Evicts the least recently used entries until `bytes_needed` fit into the budget and onto the disk.

    Args:
        bytes_needed: Bytes about to be written.

    Returns:
        The entries evicted.

    Raises:
        CacheFull: All that may be evicted would not be enough; nothing is evicted then.
        CacheNotWritable: The cache folder cannot be written to.
    """
    with mutex():
        return make_room_for(None, bytes_needed)


def make_room_for(filled: Path | None, bytes_needed: int) -> tuple[Entry, ...]:
    """Does what `make_room` does with the mutex held; `filled` is the folder that the bytes are for."""
    tidy()
    entries = list_entries()
    budget, free = _budget(entries), free_bytes()
    used = sum(folder_bytes(entry.path) if entry.path == filled else entry.bytes for entry in entries)
    excess = bytes_needed - min(budget - used, free)
    evictable = [entry for entry in reversed(entries) if not entry.in_use and entry.path != filled]
    if excess > sum(entry.bytes for entry in evictable):
        larger = "Raise TLKIT_CACHE_BYTES" if budget - used <= free else "Free some space on the disk"
        raise CacheFull(
            f"No room for {bytes_needed:,} bytes in the cache {cache_folder()}: its budget is {budget:,}, "
            f"{used:,} are taken and {free:,} are free on the disk. "
            f"{larger}, set TLKIT_CACHE to another folder, or clear the cache."
        )
    evicted = []
    for entry in evictable:
        if excess <= 0:
            break
        remove(entry.path)
        evicted.append(entry)
        excess -= entry.bytes
    return tuple(evicted)


def clear(kind: str | None = None) -> tuple[Entry, ...]:
    """Removes all entries of a kind, or all, but those in use; returns what was removed.

    Raises:
        CacheNotWritable: The cache folder cannot be written to.
    """
    if not cache_folder().exists():
        return ()
    with mutex():
        removed = tuple(entry for entry in list_entries(kind) if not entry.in_use)
        for entry in removed:
            remove(entry.path)
        tidy()
    return removed


def _budget(entries: tuple[Entry, ...]) -> int:
    chosen = os.environ.get("TLKIT_CACHE_BYTES", "").strip()
    if chosen:
        return _parse_bytes(chosen)
    return int(SHARE * (free_bytes() + sum(folder_bytes(entry.path) for entry in entries)))


def _parse_bytes(text: str) -> int:
    match = re.fullmatch(r"([0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([kmgt]?i?)b?", text.lower())
    if match is None or match[2] not in UNITS:
        raise InputError(f"Expected TLKIT_CACHE_BYTES to be a size such as 20G or 500MB. Received: {text!r}.")
    return int(float(match[1]) * UNITS[match[2]])
