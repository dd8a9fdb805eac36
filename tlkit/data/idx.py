"""The MNIST family's files: one of images and one of labels for training, and the same for testing.

The idx format: two zero bytes, the type of the values, the number of dimensions, then each dimension as a big-endian
32-bit number, then the values. Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits.
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tlkit.data.arrays import ArraySource, array_manifest, label_texts
from tlkit.data.folders import what_is_there
from tlkit.data.manifest import MIN_IMAGES_PER_CLASS, Manifest
from tlkit.errors import InputError

UNSIGNED_BYTE = 0x08
MAX_BYTES = 4 << 30
"""A file may hold 4 GiB of values; the whole MNIST family stays far below."""
NAME = re.compile(r"(?:.*[-_])?(train|t10k|test)[-_.](images|labels)[-_.]idx[13][-_.]ubyte(?:\.gz)?", re.IGNORECASE)
PARTS = {"train": "train", "t10k": "test", "test": "test"}


def from_idx(folder: str | Path, *, min_images: int = MIN_IMAGES_PER_CLASS) -> Manifest:
    """Makes a manifest of a folder with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and `t10k-…`, or `.gz`.

    The split into train and test is the files' own.

    Args:
        folder: Where the files lie, such as `/usr/share/datasets/fashion-mnist`.
        min_images: See `require_trainable`; 0 checks nothing.

    Raises:
        InputError: No such folder or files, or files that are damaged or do not fit each other.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"Expected a folder of idx files. Received: {str(folder)!r}, {what_is_there(root)}")
    files: dict[tuple[str, str], Path] = {}
    for path in sorted(root.iterdir()):
        match = NAME.fullmatch(path.name)
        if match:
            files.setdefault((PARTS[match[1].lower()], match[2].lower()), path)
    images, labels, parts = [], list[np.ndarray](), list[str]()
    for part in ("train", "test"):
        if (part, "images") in files or (part, "labels") in files:
            x, y = _pair(files, part, root)
            images.append(x)
            labels.append(y)
            parts += [part] * len(x)
    if not images:
        raise InputError(f"Expected train-images-idx3-ubyte and its like in {str(folder)!r}. Received: no such file.")
    if len({x.shape[1:] for x in images}) > 1:
        raise InputError(f"Expected images of one size. Received: {' and '.join(str(x.shape[1:]) for x in images)}.")
    texts = label_texts(np.concatenate(labels), None)
    source = ArraySource(f"idx:{folder}", np.concatenate(images))
    return array_manifest(source, root.resolve().name, texts, parts, min_images)


def _pair(files: dict[tuple[str, str], Path], part: str, root: Path) -> tuple[np.ndarray, np.ndarray]:
    missing = next((what for what in ("images", "labels") if (part, what) not in files), None)
    if missing:
        raise InputError(f"Expected images and labels for {part} in {str(root)!r}. Received: no {missing} file.")
    images, labels = (read_idx(files[part, what]) for what in ("images", "labels"))
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise InputError(
            f"Expected images (n, height, width) and n labels for {part} in {str(root)!r}. "
            f"Received: {images.shape} and {labels.shape}."
        )
    return images, labels


def read_idx(path: str | Path) -> np.ndarray:
    """Reads an idx file of bytes, packed with gzip or plain, whatever its name.

    Raises:
        InputError: It is no such file, holds other values, or breaks off.
    """
    with open(path, "rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else open(path, "rb") as file:
            return _read(file, str(path))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"Expected a sound idx file: {str(path)!r}. Received: {error}.") from error


def _read(file: BinaryIO | gzip.GzipFile, name: str) -> np.ndarray:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] != UNSIGNED_BYTE or not 1 <= head[3] <= 4:
        raise InputError(f"Expected an idx file of bytes: {name!r}. Received: a file that starts with {head!r}.")
    sizes = file.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise InputError(f"Expected a whole idx file: {name!r}. Received: one that breaks off in its header.")
    shape = struct.unpack(f">{head[3]}I", sizes)
    expected = int(np.prod([int(size) for size in shape], dtype=object))
    if expected > MAX_BYTES:
        raise InputError(f"Expected at most {MAX_BYTES:,} bytes in {name!r}. Received: {expected:,} by its header.")
    values = np.frombuffer(file.read(expected + 1), np.uint8)
    if len(values) != expected:
        received = f"{len(values):,}" if len(values) < expected else "more"
        raise InputError(f"Expected {expected:,} bytes of values in {name!r}, by its header. Received: {received}.")
    return values.reshape(shape)
