"""NumPy's `.npz` files as a source: images and labels, whole or already in parts."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from tlkit.data.arrays import ArraySource, array_manifest, check_images, label_texts
from tlkit.data.folders import what_is_there
from tlkit.data.manifest import MIN_IMAGES_PER_CLASS, Manifest
from tlkit.data.members import check_total
from tlkit.errors import InputError

IMAGE_KEYS, LABEL_KEYS = ("images", "image", "x", "X", "data"), ("labels", "label", "y", "targets", "target")
CLASS_NAME_KEYS = ("class_names", "classes", "label_names", "names")
PART_KEYS = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}


def from_npz(path: str | Path, *, min_images: int = MIN_IMAGES_PER_CLASS) -> Manifest:
    """Makes a manifest of an `.npz` file.

    Args:
        path: The file, with `images` and `labels` (or `x` and `y`), or with `x_train`, `y_train`, `x_test`, … or
            `train_images`, `train_labels`, … which then give the split; perhaps with `class_names`.
        min_images: See `require_trainable`; 0 checks nothing.

    Raises:
        InputError: The file cannot be read, or its arrays do not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"Expected an .npz file. Received: {str(path)!r}, {what_is_there(path)}")
    arrays = _load(path)
    pieces = list(_pieces(arrays))
    if not pieces:
        raise InputError(
            f"Expected arrays images and labels (or x_train, y_train, ...) in {str(path)!r}. "
            f"Received: {', '.join(arrays) or 'none'}."
        )
    names_key = next((key for key in CLASS_NAME_KEYS if key in arrays), None)
    class_names = None if names_key is None else [str(name) for name in arrays[names_key].tolist()]
    images, labels, parts = [], list[str](), list[str]()
    width = len(str(max(int(y.max(initial=0)) if y.dtype.kind in "iu" else 0 for _, _, y in pieces)))
    for part, x, y in pieces:
        check_images(x)
        texts = label_texts(y, class_names, width)
        if len(texts) != len(x):
            raise InputError(f"Expected one label an image in {str(path)!r}. Received: {len(x)} and {len(texts)}.")
        images.append(x)
        labels += texts
        parts += [part] * len(x)
    if len({(x.shape[1:], x.dtype) for x in images}) > 1:
        raise InputError(f"Expected parts of one image shape. Received: {', '.join(str(x.shape) for x in images)}.")
    stacked = images[0] if len(images) == 1 else np.concatenate(images)
    return array_manifest(ArraySource(str(path), stacked), path.stem, labels, parts, min_images)


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            check_total(sum(entry.file_size for entry in archive.infolist()), path.stat().st_size, str(path))
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, KeyError) as error:
        told = " ".join(str(error).split())
        if "allow_pickle" in told:
            told = "arrays of Python objects, which could run code when read"
        raise InputError(f"Expected an .npz file of plain arrays: {str(path)!r}. Received: {told}.") from error


def _pieces(arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yields (part, images, labels); the part is empty where the file has but one."""
    for key, part in PART_KEYS.items():
        for image_key in IMAGE_KEYS:
            for label_key in LABEL_KEYS:
                for pattern in ("{0}_{1}", "{1}_{0}"):
                    x, y = pattern.format(image_key, key), pattern.format(label_key, key)
                    if x in arrays and y in arrays:
                        yield part, arrays[x], arrays[y]
    x_key = next((key for key in IMAGE_KEYS if key in arrays), None)
    y_key = next((key for key in LABEL_KEYS if key in arrays), None)
    if x_key is not None and y_key is not None:
        yield "", arrays[x_key], arrays[y_key]
