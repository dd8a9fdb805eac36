"""Looking at every item without packing any: what `tlkit check` does."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import fields, replace

import numpy as np
import pandas as pd

from tlkit.config import MAX_PIXELS
from tlkit.data.examine import FINGERPRINT_SIDE, THUMBNAIL_BYTES, Facts, examine
from tlkit.data.items import Source
from tlkit.data.manifest import Manifest
from tlkit.data.threads import in_tasks, in_threads
from tlkit.errors import InputError


def scan(
    manifest: Manifest,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    max_pixels: int | None = MAX_PIXELS,
) -> pd.DataFrame:
    """Reads, decodes and fingerprints every item, in as many threads as there are cores.

    Few images are in memory at a time. What is kept of each takes half a kilobyte and its thumbnail, which lies in a
    temporary file without a name.

    Args:
        manifest: What to look at.
        on_progress: Called with (items done, items in all).
        max_pixels: See `decode`.

    Returns:
        One row an item in the manifest's order, columns as the fields of `Facts`; thumbnails as read-only memory views.
    """
    items = manifest.items["item"].tolist()
    facts: list[Facts] = [Facts("")] * len(items)
    room = _room(len(items) * THUMBNAIL_BYTES)
    kept = room.toreadonly()

    def look(rows: np.ndarray) -> int:
        for row in rows.tolist():
            found = examine_item(manifest.source, items[row], max_pixels=max_pixels)
            place = slice(row * THUMBNAIL_BYTES, row * THUMBNAIL_BYTES + len(found.thumbnail))
            room[place] = found.thumbnail
            facts[row] = replace(found, thumbnail=kept[place])
        return len(rows)

    done = 0
    for number in in_threads(look, in_tasks(np.arange(len(items)))):
        done += number
        if on_progress is not None:
            on_progress(done, len(items))
    return facts_table(facts)


def facts_table(rows: Iterable[Facts]) -> pd.DataFrame:
    """Returns facts as a table, one row an item, columns named as the fields of `Facts`."""
    rows = list(rows)
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in fields(Facts)}
    table = pd.DataFrame(columns)
    table["perceptual_hash"] = np.array(columns["perceptual_hash"], np.uint64)
    return table


def _room(size: int) -> memoryview:
    """Returns writable bytes: of a temporary file, or of memory where there is no disk for it."""
    if not size:
        return memoryview(b"")
    try:
        with tempfile.TemporaryFile() as file:
            block = bytes(1 << 20)  # Written out: a mapped page that finds no disk behind it would kill the process.
            for start in range(0, size, len(block)):
                file.write(block[: min(len(block), size - start)])
            file.flush()
            return memoryview(mmap.mmap(file.fileno(), size))
    except OSError:
        return memoryview(mmap.mmap(-1, size))


def examine_item(source: Source, item: str, *, max_pixels: int | None = MAX_PIXELS) -> Facts:
    """Reads and examines one item; what cannot be read gets the status `unreadable`."""
    try:
        data = source.read(item)
    except (OSError, InputError) as error:
        return Facts("", "unreadable", read_problem(error))
    return examine(data, smallest_side=FINGERPRINT_SIDE, max_pixels=max_pixels)[0]


def read_problem(error: Exception) -> str:
    """Puts an error of reading into one line without the path, which stands beside it anyway."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"Cannot be read: {' '.join(str(reason).split())}."
