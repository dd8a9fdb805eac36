"""One cache with one budget, for packed pixels and activations alike.

An entry is a folder `KIND/KEY` with a small header. It is filled as `KIND/KEY.partial` and renamed when whole, so
that a reader never sees half of one; what an interrupted build leaves can be taken up by the next. Where room is
needed the least recently used entries go first, never one that a living process holds.

Environment variables: `TLKIT_CACHE` names the folder, `TLKIT_CACHE_BYTES` its budget (`20G`, `500 MB`, `1.5GiB`).

Example:
    path = cache.find("activations", key)
    if path is None:
        with cache.build("activations", key, estimated_bytes) as folder:
            ...  # fill the folder
        path = cache.find("activations", key)
"""

from __future__ import annotations

from tlkit.cache.budget import budget_bytes, clear, make_room
from tlkit.cache.building import Hold, build, discard, find, hold
from tlkit.cache.entries import (
    CacheError,
    CacheFull,
    CacheNotWritable,
    Entry,
    cache_folder,
    list_entries,
)

__all__ = [
    "CacheError",
    "CacheFull",
    "CacheNotWritable",
    "Entry",
    "Hold",
    "budget_bytes",
    "build",
    "cache_folder",
    "clear",
    "discard",
    "find",
    "hold",
    "list_entries",
    "make_room",
]
