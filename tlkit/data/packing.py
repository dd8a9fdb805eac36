"""One pass over all items: read, digest, decode, fingerprint, and write the pixels down, on all cores and resumably.

A packed folder holds three flat files, row i of each being row i of the manifest: `pixels.bin` (uint8 squares),
`facts.bin` (one fixed record an item) and `thumbnails.bin`. A record is written after its pixels, so that its `done`
mark is all that an interrupted pass needs to go on; the checksum in it shows what a disk has spoilt since.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tlkit.data.examine import THUMBNAIL_BYTES, Facts, examine
from tlkit.data.identity import digest_of
from tlkit.data.manifest import Manifest, Source
from tlkit.data.packing_helpers import Job, start_helpers
from tlkit.data.reading import RowFile
from tlkit.data.threads import in_tasks, in_threads
from tlkit.data.transform import Transform
from tlkit.errors import InputError
from tlkit.run import write_text

PIXELS, FACTS, THUMBNAILS, SEAL = "pixels.bin", "facts.bin", "thumbnails.bin", "facts.sha256"
MARK_BYTES = 16
IN_MEMORY = "array"  # What a source whose items are arrays says instead of a time of change.

RECORD = np.dtype(
    [
        ("done", "u1"),
        ("mark", "u1", (MARK_BYTES,)),
        ("checksum", "<u4"),
        ("digest", "S64"),
        ("status", "S16"),
        ("problem", "S200"),
        ("format", "S12"),
        ("mode", "S12"),
        ("width", "<u4"),
        ("height", "<u4"),
        ("frames", "<u4"),
        ("bytes", "<u8"),
        ("perceptual_hash", "<u8"),
        ("contrast", "<f8"),
    ]
)
TEXTS = ("digest", "status", "problem", "format", "mode")
NUMBERS = ("width", "height", "frames", "bytes", "perceptual_hash", "contrast")

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Packed:
    """What is known of each item, in memory or mapped from a packed folder; rows as in the manifest.

    Attributes:
        records: `RECORD` (n,).
        thumbnails: uint8 (n, 1024).
        pixels: The file of pixels, or None where only facts are kept.
    """

    records: np.ndarray
    thumbnails: np.ndarray
    pixels: RowFile | None

    @property
    def ok(self) -> np.ndarray:
        """True for the rows that hold an image: bool (n,)."""
        return np.asarray(self.records["status"] == b"ok")

    def facts(self) -> pd.DataFrame:
        """Returns the facts as a table, columns as the fields of `examine.Facts`."""
        columns: dict[str, object] = {}
        for name in TEXTS:
            columns[name] = np.char.decode(self.records[name], "utf-8").astype(object)
        for name in NUMBERS:
            columns[name] = np.array(self.records[name])
        pairs = zip(self.thumbnails, self.ok, strict=True)
        columns["thumbnail"] = [thumbnail.tobytes() if ok else b"" for thumbnail, ok in pairs]
        return pd.DataFrame(columns)[list(Facts.__dataclass_fields__)]


def bytes_of_row(transform: Transform) -> int:
    """Returns the bytes of one stored square."""
    return transform.store_size**2 * 3


def estimate_bytes(num_items: int, transform: Transform | None) -> int:
    """Returns how many bytes a packed folder takes; without a transform, one of facts alone."""
    pixels = bytes_of_row(transform) if transform else 0
    return num_items * (pixels + RECORD.itemsize + THUMBNAIL_BYTES)


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


def open_packed(folder: Path, num_items: int, transform: Transform | None) -> Packed:
    """Opens a finished packed folder for reading; without a transform, one of facts alone."""
    records = np.memmap(folder / FACTS, RECORD, "r", shape=(num_items,))
    thumbnails = np.memmap(folder / THUMBNAILS, np.uint8, "r", shape=(num_items, THUMBNAIL_BYTES))
    return Packed(records, thumbnails, RowFile(folder / PIXELS, bytes_of_row(transform)) if transform else None)


def create_packed(folder: Path, num_items: int, transform: Transform | None) -> Packed:
    """Makes the files of a packed folder, or opens for writing what an interrupted pass left there."""
    for name, row_bytes in ((FACTS, RECORD.itemsize), (THUMBNAILS, THUMBNAIL_BYTES)):
        _fill_with_zeros(folder / name, num_items * row_bytes)
    records = np.memmap(folder / FACTS, RECORD, "r+", shape=(num_items,))
    thumbnails = np.memmap(folder / THUMBNAILS, np.uint8, "r+", shape=(num_items, THUMBNAIL_BYTES))
    pixels = RowFile(folder / PIXELS, bytes_of_row(transform), write=True) if transform else None
    return Packed(records, thumbnails, pixels)


def packed_in_memory(num_items: int) -> Packed:
    """Makes room for facts where no file can hold them."""
    return Packed(np.zeros(num_items, RECORD), np.zeros((num_items, THUMBNAIL_BYTES), np.uint8), None)


def count_done(folder: Path) -> int:
    """Returns how many items of a folder that is being packed are done."""
    try:
        return int(np.memmap(folder / FACTS, RECORD, "r")["done"].sum())
    except (OSError, ValueError):  # Not begun yet, or just finished and renamed.
        return 0


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


def pack_rows(
    packed: Packed, source: Source, transform: Transform, rows: np.ndarray, items: Sequence[str], marks: np.ndarray
) -> None:
    """Examines and packs some rows, one after another.

    Args:
        packed: Where they go.
        source: Reads the items.
        transform: What is done to each.
        rows: Their places (n,).
        items: Their names.
        marks: What `marks_of` says of them: uint8 (n, 16).

    Raises:
        OSError: The pixels cannot be written.
    """
    for row, item, mark in zip(rows.tolist(), items, marks, strict=True):
        _pack_row(packed, row, mark, *look_at(source, item, transform, packed.pixels))


def seal(packed: Packed, folder: Path) -> None:
    """Brings the facts to the disk and writes down their digest, by which `is_intact` knows them again.

    Pixels are left to the operating system: each row's checksum shows what a power cut has taken.
    """
    for array in (packed.records, packed.thumbnails):
        assert isinstance(array, np.memmap)
        array.flush()
    write_text(folder / SEAL, _digest_of_facts(folder))
    if packed.pixels is not None:
        packed.pixels.close()


def is_intact(folder: Path) -> bool:
    """Tells whether the facts of a packed folder are as they were when it was sealed."""
    try:
        return (folder / SEAL).read_text("utf-8") == _digest_of_facts(folder)
    except (OSError, UnicodeDecodeError):
        return False


def _digest_of_facts(folder: Path) -> str:
    with open(folder / FACTS, "rb") as facts, open(folder / THUMBNAILS, "rb") as thumbnails:
        digests = [hashlib.file_digest(file, "sha256").hexdigest() for file in (facts, thumbnails)]
    return " ".join(digests)


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


def look_at(
    source: Source, item: str, transform: Transform, pixels_wanted: object = True
) -> tuple[Facts, np.ndarray | None]:
    """Reads and examines one item; returns its facts and, where it is an image and they are wanted, its pixels."""
    try:
        data = source.read(item)
    except (OSError, InputError) as error:
        return Facts(digest="", status="unreadable", problem=f"Cannot be read: {error}"), None
    facts, image = examine(data, smallest_side=transform.decoded_side, max_pixels=transform.max_pixels)
    if image is None or not pixels_wanted:
        return facts, None
    return facts, np.ascontiguousarray(transform.to_store(image))


def _pack_row(packed: Packed, row: int, mark: np.ndarray, facts: Facts, pixels: np.ndarray | None) -> None:
    """Writes an item's pixels, its thumbnail and, last, its record."""
    checksum = 0
    if packed.pixels is not None and pixels is not None:
        data = pixels.data.cast("B")
        checksum = zlib.crc32(data)
        packed.pixels.write(row, data)
    if facts.thumbnail:
        packed.thumbnails[row] = np.frombuffer(facts.thumbnail, np.uint8)
    texts = tuple(_shorten(getattr(facts, name), RECORD[name].itemsize) for name in TEXTS)
    packed.records[row] = (0, mark, checksum, *texts, *(getattr(facts, name) for name in NUMBERS))
    packed.records["done"][row] = 1  # Only now: a process may be killed between any two of these lines.


def _shorten(text: str, limit: int) -> bytes:
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded
    return encoded[: limit - 3].decode("utf-8", "ignore").encode() + "…".encode()


def _fill_with_zeros(path: Path, size: int) -> None:
    """Makes a file whole before it is mapped: a page that finds no disk behind it would kill the process."""
    if path.exists() and path.stat().st_size == size:
        return
    block = bytes(1 << 20)
    with open(path, "wb") as file:
        for start in range(0, size, len(block)):
            file.write(block[: min(len(block), size - start)])
