"""One pass over all items, on all cores and resumably: `packed_folder` tells what it leaves behind."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from tlkit.data.identity import digest_of
from tlkit.data.items import Source
from tlkit.data.manifest import Manifest
from tlkit.data.packed_folder import MARK_BYTES, Packed
from tlkit.data.packing_helpers import Job, start_helpers
from tlkit.data.packing_rows import pack_rows
from tlkit.data.threads import in_tasks, in_threads
from tlkit.data.transform import Transform
from tlkit.errors import InputError

IN_MEMORY = "array"  # What a source whose items are arrays says instead of a time of change.

OnProgress = Callable[[int, int], None]


def marks_of(manifest: Manifest) -> np.ndarray:
    """Returns a fingerprint of each item's name and change mark: uint8 (n, 16)."""
    marks = np.zeros((len(manifest), MARK_BYTES), np.uint8)
    for row, item in enumerate(manifest.items["item"]):
        text = f"{item}\0{_stamp(manifest.source, item)}".encode("utf-8", "surrogateescape")
        marks[row] = np.frombuffer(hashlib.blake2b(text, digest_size=MARK_BYTES).digest(), np.uint8)
    return marks


def _stamp(source: Source, item: str) -> str:
    try:
        stamp = source.stamp(item)
        return digest_of(source.read(item)) if stamp == IN_MEMORY else stamp
    except (OSError, InputError):  # Reading it will fail likewise, and set it aside with the reason.
        return ""


def pack(
    packed: Packed, manifest: Manifest, transform: Transform, marks: np.ndarray, on_progress: OnProgress | None = None
) -> None:
    """Examines and packs every item that is not done yet.

    Raises:
        OSError: The pixels cannot be written.
    """
    items = manifest.items["item"].tolist()
    todo = np.flatnonzero((packed.records["done"] == 0) | (packed.records["mark"] != marks).any(axis=1))
    done = len(items) - len(todo)
    job = Job(_folder_of(packed), manifest.source, transform, len(items), packed.pixels is not None)
    with start_helpers(job, len(todo)) as helpers:

        def work(rows: np.ndarray) -> int:
            names = [items[row] for row in rows]
            with helpers.one() as helper:
                if helper is None or not helper.pack(rows, names, marks[rows]):
                    pack_rows(packed, manifest.source, transform, rows, names, marks[rows])
            return len(rows)

        with closing(in_threads(work, in_tasks(todo), len(helpers))) as finished:  # None goes on after an interruption.
            for count in finished:
                done += count
                if on_progress is not None:
                    on_progress(done, len(items))
    if packed.pixels is not None:
        packed.pixels.extend_to(len(items))


def _folder_of(packed: Packed) -> Path | None:
    records = packed.records
    return Path(records.filename).parent if isinstance(records, np.memmap) and records.filename else None


def copy_unchanged(packed: Packed, marks: np.ndarray, older: Packed) -> int:
    """Copies what an older store holds of items that have not changed since; returns how many."""
    assert packed.pixels is not None
    assert older.pixels is not None
    places = {mark.tobytes(): row for row, mark in enumerate(older.records["mark"])}
    buffer = bytearray(packed.pixels.row_bytes)
    copied = 0
    for row in np.flatnonzero(packed.records["done"] == 0).tolist():
        place = places.get(marks[row].tobytes())
        if place is None:
            continue
        record = older.records[place]
        if record["status"] == b"ok":
            view = memoryview(buffer)
            if not older.pixels.read_into(place, view) or zlib.crc32(view) != record["checksum"]:
                continue
            packed.pixels.write(row, view)
        packed.thumbnails[row] = older.thumbnails[place]
        packed.records[row] = record
        copied += 1
    return copied
