"""All images of a manifest as uint8 squares of one size, decoded once and kept in the cache.

A store is found again by its content: source, names and change marks of all items, transform, versions of the decoder
and the resampler. A finished store never changes: where some items are new or changed, another is made, and what the
two have in common is copied. Where the pixels would not fit into the cache, they are decoded again when asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlkit import cache
from tlkit.data import packing
from tlkit.data.examine import Facts
from tlkit.data.items import Source
from tlkit.data.manifest import Manifest
from tlkit.data.packed_folder import (
    NUMBERS,
    TEXTS,
    Packed,
    count_done,
    create_packed,
    estimate_bytes,
    is_intact,
    open_packed,
    packed_in_memory,
    seal,
)
from tlkit.data.packing import OnProgress
from tlkit.data.packing_rows import look_at
from tlkit.data.reading import PackedRows, RowReader
from tlkit.data.streaming import StreamedRows
from tlkit.data.transform import Transform
from tlkit.errors import InputError

PIXELS, FACTS = "pixels", "facts"  # Kinds of cache entries; facts alone are kept where pixels would not fit.
FORMAT = 3  # Of the files; a change makes older stores unknown.
WAITING_SECONDS = 0.5  # Between looks at how far another process has come.


class Store:
    """The images of a manifest; row i is the manifest's row i.

    Attributes:
        manifest: What was packed.
        transform: How.
        notes: What the user should be told, one line each; may grow while rows are read.
        path: The folder with the packed pixels, or None where images are decoded each time they are asked for.
    """

    def __init__(self, manifest: Manifest, transform: Transform, packed: Packed, hold: cache.Hold | None = None):
        self.manifest, self.transform = manifest, transform
        self.notes: list[str] = []
        self.path = hold.path if hold and packed.pixels else None
        self._items = manifest.items["item"].tolist()
        self._packed, self._hold = packed, hold
        self._ok = packed.ok
        self._rows = self._reader()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def streaming(self) -> bool:
        """True where images are decoded each time they are asked for."""
        return self._packed.pixels is None

    @property
    def ok(self) -> np.ndarray:
        """True for the rows that hold an image: bool (n,)."""
        return self._ok

    @property
    def facts(self) -> pd.DataFrame:
        """What is known of each item, one row each; columns as the fields of `examine.Facts`."""
        return _table_of_facts(self._packed)

    def pixels(self, indices: np.ndarray) -> np.ndarray:
        """Reads rows as stored: uint8 (n, store_size, store_size, 3), values 0 to 255.

        Raises:
            InputError: A row holds no image, or can no longer be had.
        """
        return self._read(indices, self.transform.store_size)

    def images(self, indices: np.ndarray) -> np.ndarray:
        """Reads rows as evaluation sees them, their centre: uint8 (n, image_size, image_size, 3), values 0 to 255.

        Raises:
            InputError: A row holds no image, or can no longer be had.
        """
        return self._read(indices, self.transform.image_size)

    def close(self) -> None:
        """Closes the files and lets the cache evict them."""
        self._rows.close()
        if self._hold is not None:
            self._hold.close()

    def _read(self, indices: np.ndarray, size: int) -> np.ndarray:
        rows = np.asarray(indices, np.int64)
        missing = rows[~self._ok[rows]]
        if len(missing):
            problem = self._packed.records["problem"][missing[0]].decode("utf-8", "replace")
            raise InputError(f"Expected rows that hold an image. Received: {self._items[missing[0]]}. {problem}")
        return self._rows.read(rows, size)

    def __reduce__(self) -> Any:
        return open_store, (self.manifest, self.transform)

    def _reader(self) -> RowReader:
        if self._packed.pixels is None:
            return StreamedRows(self.manifest.source, self._items, self.transform)
        checksums = np.array(self._packed.records["checksum"])
        return PackedRows(self._packed.pixels, checksums, self.transform, self._make_anew)

    def _make_anew(self, row: int) -> np.ndarray:
        """Decodes a row again that the disk has spoilt."""
        item = self._items[row]
        facts, pixels = look_at(self.manifest.source, item, self.transform)
        if pixels is None or facts.digest.encode() != self._packed.records[row]["digest"]:
            raise InputError(
                f"The packed pixels of {item} are damaged on disk, and the file itself has changed since they were "
                "packed. Run again: the changed file is then read anew."
            )
        self.notes.append(f"The packed pixels of {item} were damaged on disk and have been made anew.")
        return pixels


@dataclass(frozen=True)
class StorePlan:
    """What opening a store will take, known before anything is written.

    Attributes:
        path: The folder of the packed pixels.
        bytes: What they take on disk.
        cached: True where they are there already.
    """

    path: Path
    bytes: int
    cached: bool


def estimate_store_bytes(manifest: Manifest, transform: Transform) -> int:
    """Returns how many bytes the store of a manifest takes on disk."""
    return estimate_bytes(len(manifest), transform)


def plan_store(manifest: Manifest, transform: Transform) -> StorePlan:
    """Tells where the store of a manifest lies or would lie, and what it takes, without writing anything."""
    key = _Build(manifest, transform).key
    path = cache.cache_folder() / PIXELS / key
    return StorePlan(path, estimate_store_bytes(manifest, transform), cache.find(PIXELS, key) is not None)


def open_store(manifest: Manifest, transform: Transform, on_progress: OnProgress | None = None) -> Store:
    """Opens the packed store of a manifest: found in the cache, or made in one pass over all items.

    An interrupted pass is taken up where it ended, and what another process is packing is waited for. Where the cache
    has no room or cannot be written to, the store streams: it decodes images each time, and its `notes` say so.

    Args:
        manifest: The items; all are examined, those set aside as well.
        transform: What to do to each.
        on_progress: Called with (items done, items in all) while they are examined.
    """
    build = _Build(manifest, transform, on_progress)
    try:
        hold = build.hold(PIXELS)
    except cache.CacheError as error:
        return _open_streaming(build, str(error))
    return Store(manifest, transform, open_packed(hold.path, len(manifest), transform), hold)


def _open_streaming(build: _Build, reason: str) -> Store:
    count = len(build.manifest)
    hold: cache.Hold | None = None
    try:
        hold = build.hold(FACTS)
        packed = open_packed(hold.path, count, None)
    except cache.CacheError:
        packed = packed_in_memory(count)
        packing.pack(packed, build.manifest, build.transform, build.marks, build.on_progress)
    store = Store(build.manifest, build.transform, packed, hold)
    store.notes.append(f"{reason} Until then images are decoded anew in every epoch.")
    return store


class _Build:
    """Makes the cache entries of one manifest under one transform."""

    def __init__(self, manifest: Manifest, transform: Transform, on_progress: OnProgress | None = None):
        self.manifest, self.transform, self.on_progress = manifest, transform, on_progress
        self.marks = packing.marks_of(manifest)
        self.family = _family(manifest.source, transform)
        self.key = hashlib.sha256(self.family.encode() + self.marks.tobytes()).hexdigest()[:32]
        self._looked = 0.0

    def hold(self, kind: str) -> cache.Hold:
        """Finds an entry, or makes it, and keeps it.

        Raises:
            CacheError: The cache cannot take it.
        """
        transform = self.transform if kind == PIXELS else None
        for _ in range(3):  # Another process may evict it between the making and the holding.
            hold = cache.hold(kind, self.key)
            if hold is None:
                self._make(kind, transform)
            elif is_intact(hold.path):
                return hold
            else:
                hold.close()
                cache.discard(kind, self.key)
        raise cache.CacheFull(
            f"The cache {cache.cache_folder()} loses what is put into it: three times the entry was evicted or damaged "
            "at once. Set TLKIT_CACHE to a folder on another disk, or raise TLKIT_CACHE_BYTES."
        )

    def _make(self, kind: str, transform: Transform | None) -> None:
        size = estimate_bytes(len(self.manifest), transform)
        details = {"family": self.family, "source": self.manifest.source.name, "items": len(self.manifest)}
        if transform:
            details["transform"] = transform.to_dict()
        with cache.build(
            kind, self.key, size, details=details, resumable=True, while_waiting=self._show_progress_of_other
        ) as folder:
            if cache.find(kind, self.key) is not None:  # The other process has finished it.
                return
            packed = create_packed(folder, len(self.manifest), transform)
            if transform:
                self._copy_from_older(packed)
            packing.pack(packed, self.manifest, self.transform, self.marks, self.on_progress)
            seal(packed, folder)

    def _copy_from_older(self, packed: Packed) -> None:
        for entry in cache.list_entries(PIXELS):
            if entry.details.get("family") != self.family or not is_intact(entry.path):
                continue
            with contextlib.suppress(OSError, ValueError):  # Evicted or damaged: its images are decoded like new ones.
                older = open_packed(entry.path, entry.details["items"], self.transform)
                packing.copy_unchanged(packed, self.marks, older)

    def _show_progress_of_other(self, folder: Path) -> None:
        if self.on_progress is not None and time.monotonic() - self._looked > WAITING_SECONDS:
            self._looked = time.monotonic()
            self.on_progress(count_done(folder), len(self.manifest))


def _table_of_facts(packed: Packed) -> pd.DataFrame:
    columns: dict[str, object] = {}
    for name in TEXTS:
        columns[name] = np.char.decode(packed.records[name], "utf-8").astype(object)
    for name in NUMBERS:
        columns[name] = np.array(packed.records[name])
    pairs = zip(packed.thumbnails, packed.ok, strict=True)
    columns["thumbnail"] = [thumbnail.tobytes() if ok else b"" for thumbnail, ok in pairs]
    return pd.DataFrame(columns)[list(Facts.__dataclass_fields__)]


def _family(source: Source, transform: Transform) -> str:
    """Names what makes the pixels of equal items equal: where they come from and all that decodes and resizes them."""
    root = str(getattr(source, "root", source.name))
    versions = [f"{package} {importlib.metadata.version(package)}" for package in transform.packages]
    made_by = [FORMAT, type(source).__name__, os.path.realpath(root) if os.path.exists(root) else root]
    return json.dumps([*made_by, transform.digest(), *versions])
