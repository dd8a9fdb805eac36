"""Sets of TensorFlow Datasets as a source: `tfds:NAME[:SPLIT]`.

A builder prepared as `array_record` is read at random, without TensorFlow; any other is read once from front to back
into a temporary file. Images come as the encoded bytes that the set stores, so that a digest is that of the bytes.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import socket
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tlkit.data.findings import Finding, name_some
from tlkit.data.items import Source
from tlkit.data.layout import SPLIT_FOLDERS
from tlkit.data.manifest import MIN_IMAGES_PER_CLASS, Manifest, make_manifest
from tlkit.data.spool import SpooledSource
from tlkit.errors import InputError, nearest

CONNECT_SECONDS = 10  # TFDS itself waits without end where a network drops packets.
VERSION = re.compile(r"(\d+\.\d+\.\d+|\d+\.\d+\.\*|\d+\.\*\.\*)(?::(.*))?")
RANDOM_ACCESS = "array_record"

Record = tuple[str, int, "bytes | np.ndarray"]  # Item, integer label, image.


class RandomAccessSource:
    """Records of a builder prepared as `array_record`, opened when first read in each process."""

    def __init__(self, name: str, folder: str, feature: str, stamp: str):
        self.name, self._folder, self._feature, self._stamp = name, folder, feature, stamp
        self._parts: dict[str, Any] = {}

    def read(self, item: str) -> bytes | np.ndarray:
        _, part, number = item.rsplit("/", 2)
        if part not in self._parts:
            self._parts[part] = _opened(self._folder, part, self._feature)
        return _pixels(self._parts[part][int(number)][self._feature])

    def stamp(self, item: str) -> str:
        return self._stamp

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_parts": {}}


def from_tfds(name: str, *, data_dir: str | Path | None = None, min_images: int = MIN_IMAGES_PER_CLASS) -> Manifest:
    """Makes a manifest of a set of TensorFlow Datasets, downloading and preparing it where it is not yet.

    Args:
        name: `NAME[/CONFIG][:VERSION][:SPLIT]`, such as `mnist`, `tf_flowers:train` or `mnist:train`, or the folder of
            a prepared builder. Without a split, all parts are taken and are the given split where there are several.
        data_dir: Where sets are kept; TFDS's own default (`~/tensorflow_datasets`) where None.
        min_images: See `require_trainable`; 0 checks nothing.

    Raises:
        InputError: No such set, not prepared and not to be had, or not one of images with one label each.
    """
    base, version, split = _parse(name)
    builder = _builder(base, version, data_dir)
    image, label = _features(builder, base)
    parts, findings = _parts(builder, split, base)
    folder, stamp = str(builder.data_path), f"{builder.info.full_name}:{builder.info.dataset_size}"
    class_names = builder.info.features[label].names
    rows: list[dict[str, str]] = []

    def noted(records: Iterator[Record]) -> Iterator[tuple[str, bytes]]:
        for item, number, pixels in records:
            part = parts[item.rsplit("/", 2)[1]]
            rows.append({"item": item, "label": class_names[number], "split": part})
            yield item, pixels  # type: ignore[misc]

    source: Source
    if builder.info.file_format.value == RANDOM_ACCESS:
        source = RandomAccessSource(f"tfds:{name}", folder, image, stamp)
        for _ in noted(_random_records(folder, image, label, tuple(parts))):
            pass
    else:
        source = SpooledSource(f"tfds:{name}", stamp, partial(_contents, folder, image, label, tuple(parts)))
        source.fill(noted(_records(folder, image, label, tuple(parts))))
    return make_manifest(rows, source, findings, min_images=min_images)


def open_builder(name: str, data_dir: str | Path | None = None) -> tuple[Any, str]:
    """Returns the prepared builder of a set, and the split that its name asks for or ""; see `from_tfds`."""
    base, version, split = _parse(name)
    return _builder(base, version, data_dir), split


def examples(builder: Any, split: str) -> Iterator[dict[str, Any]]:
    """Yields the examples of a split in their order, decoded: arrays by the name of the feature."""
    dataset = builder.as_dataset(split=split, shuffle_files=False)
    yield from _import().as_numpy(dataset)


def _parse(name: str) -> tuple[str, str, str]:
    """Splits NAME[:VERSION][:SPLIT]; a folder is a name without either."""
    if os.path.isdir(name):
        return name, "", ""
    base, _, rest = name.partition(":")
    match = VERSION.fullmatch(rest)
    return (base, match[1], match[2] or "") if match else (base, "", rest)


def _import() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise InputError(
            f"Expected tensorflow-datasets for tfds: sets. Received: {error}. Remedy: pip install it."
        ) from error
    module.disable_progress_bar()
    return module


def _builder(base: str, version: str, data_dir: str | Path | None) -> Any:
    tfds = _import()
    try:
        if os.path.isdir(base):
            return tfds.builder_from_directory(base)
        builder = tfds.builder(f"{base}:{version}" if version else base, data_dir=data_dir)
    except Exception as error:  # Sets are programs of many authors; whatever they raise, it is this name that fails.
        raise _no_builder(tfds, base, error) from error
    if not builder.data_path.exists():
        _prepare(builder, base)
    return builder


def _no_builder(tfds: Any, base: str, error: Exception) -> InputError:
    if isinstance(error, ModuleNotFoundError):
        return InputError(f"Expected the package {error.name} for tfds:{base}. Remedy: pip install {error.name}")
    if type(error).__name__ == "DatasetNotFoundError":
        guess = nearest(base, tfds.list_builders(with_community_datasets=False))
        remedy = f" Did you mean {guess!r}?" if guess else ""
        return InputError(f"Expected a set of TensorFlow Datasets. Received: {base!r}, which it does not know.{remedy}")
    return InputError(f"Expected a set of TensorFlow Datasets. Received: {base!r}: {_one_line(error)}")


def _prepare(builder: Any, base: str) -> None:
    unprepared = f"Expected tfds:{base} to be prepared in {builder.data_path}, or a network to fetch it."
    addresses = {urlsplit(url).netloc for url in builder.url_infos or ()}
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        for address in sorted(addresses):
            host, _, port = address.partition(":")
            try:
                socket.create_connection((host, int(port or 443)), CONNECT_SECONDS).close()
            except OSError as error:
                raise InputError(f"{unprepared} Received: no answer from {host} ({_one_line(error)}).") from error
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # It prints what it does.
            builder.download_and_prepare()
    except Exception as error:
        raise InputError(f"{unprepared} Received: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _features(builder: Any, base: str) -> tuple[str, str]:
    """Returns the names of the image and of the label, from the set's own statement or by their types."""
    features = builder.info.features
    kinds = {name: type(feature).__name__ for name, feature in features.items()}
    image, label = builder.info.supervised_keys or (None, None)
    image = image if kinds.get(image) == "Image" else next((n for n, kind in kinds.items() if kind == "Image"), None)
    label = (
        label if kinds.get(label) == "ClassLabel" else next((n for n, k in kinds.items() if k == "ClassLabel"), None)
    )
    if image is None or label is None:
        raise InputError(f"Expected images with one class label each in tfds:{base}. Received: features {kinds}.")
    return image, label


def _parts(builder: Any, split: str, base: str) -> tuple[dict[str, str], list[Finding]]:
    """Returns the set's splits to read, each with the part it stands for, and findings on those left out."""
    names = list(builder.info.splits)
    if split:
        if split not in names:
            raise InputError(f"Expected one of {', '.join(names)} after tfds:{base}:. Received: {split!r}.")
        return {split: ""}, []
    known = {name: SPLIT_FOLDERS[name.lower()] for name in names if name.lower() in SPLIT_FOLDERS}
    if len(known) < 2 or "train" not in known.values():
        return dict.fromkeys(known or names, ""), []
    left_out = tuple(name for name in names if name not in known)
    if not left_out:
        return known, []
    message = f"Splits of tfds:{base} left out: {name_some(left_out)}; name one to use it, tfds:{base}:{left_out[0]}."
    return known, [Finding("split left out", "note", message, left_out)]


def _opened(folder: str, part: str, image: str) -> Any:
    tfds = _import()
    decoders = {image: tfds.decode.SkipDecoding()}
    return tfds.builder_from_directory(folder).as_data_source(part, decoders=decoders)


def _random_records(folder: str, image: str, label: str, parts: tuple[str, ...]) -> Iterator[Record]:
    for part in parts:
        for number, record in enumerate(_opened(folder, part, image)):
            yield _item(folder, part, number), int(record[label]), _pixels(record[image])


def _records(folder: str, image: str, label: str, parts: tuple[str, ...]) -> Iterator[Record]:
    tfds = _import()
    builder = tfds.builder_from_directory(folder)
    in_order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    decoders = {image: tfds.decode.SkipDecoding()}
    for part in parts:
        dataset = builder.as_dataset(split=part, decoders=decoders, shuffle_files=False, read_config=in_order)
        for number, record in enumerate(tfds.as_numpy(dataset)):
            yield _item(folder, part, number), int(record[label]), _pixels(record[image])


def _contents(folder: str, image: str, label: str, parts: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for item, _, pixels in _records(folder, image, label, parts):
        yield item, pixels  # type: ignore[misc]


def _item(folder: str, part: str, number: int) -> str:
    return f"{Path(folder).parent.name}/{part}/{number:06d}"


def _pixels(value: Any) -> bytes | np.ndarray:
    return value if isinstance(value, bytes | np.ndarray) else bytes(value)
