"""Sets of TensorFlow Datasets as a source: `tfds:NAME[:SPLIT]`.

A builder prepared as `array_record` is read at random, without TensorFlow; any other is read once from front to back
into a temporary file. Images come as the encoded bytes that the set stores, so that their digest is the file's own.
"""

from __future__ import annotations

import os
import re
import socket
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tlkit.data.findings import Finding, name_some
from tlkit.data.layout import SPLIT_FOLDERS
from tlkit.data.manifest import MIN_IMAGES_PER_CLASS, Manifest, make_manifest
from tlkit.data.spool import SpooledSource
from tlkit.errors import InputError, nearest

CONNECT_SECONDS = 10  # TFDS itself waits for ever where a network drops packets.
VERSION = re.compile(r"(\d+\.\d+\.\d+|\d+\.\d+\.\*|\d+\.\*\.\*)(?::(.*))?")


class RandomAccessSource:
    """Records of a builder prepared as `array_record`, opened when first read in each process."""

    def __init__(self, name: str, folder: str, feature: str, stamp: str):
        self.name, self._folder, self._feature, self._stamp = name, folder, feature, stamp
        self._parts: dict[str, Any] = {}

    def read(self, item: str) -> bytes | np.ndarray:
        _, part, number = item.rsplit("/", 2)
        if part not in self._parts:
            self._parts[part] = _data_source(_import().builder_from_directory(self._folder), part, self._feature)
        return _pixels(self._parts[part][int(number)][self._feature])

    def stamp(self, item: str) -> str:
        return self._stamp

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_parts": {}}


def from_tfds(
    name: str, *, data_dir: str | Path | None = None, min_images: int = MIN_IMAGES_PER_CLASS
) -> Manifest:
    """Makes a manifest of a set of TensorFlow Datasets, downloading and preparing it where it is not yet.

    Args:
        name: `NAME[/CONFIG][:VERSION][:SPLIT]`, such as `mnist`, `tf_flowers:train` or `mnist:train[:10%]`, or the
            folder of a prepared builder. Without a split, the set's own train, validation and test parts are given.
        data_dir: Where sets are kept; TFDS's own default (`~/tensorflow_datasets`) where None.
        min_images: See `require_trainable`; 0 checks nothing.

    Raises:
        InputError: No such set, not prepared and not to be had, or not one of images with one label each.
    """
    base, version, split = _parse(name)
    builder = _builder(base, version, data_dir)
    image, label = _features(builder, base)
    parts, findings = _parts(builder, split, base)
    random = builder.info.file_format is not None and builder.info.file_format.value == "array_record"
    names = builder.info.features[label].names
    prefix = builder.info.full_name.replace(":", "_")
    stamp = f"{builder.info.full_name}:{builder.info.dataset_size}"
    rows: list[dict[str, str]] = []
    records = partial(_records, str(builder.data_path), image, label, tuple(parts), random, prefix)
    if random:
        source: Any = RandomAccessSource(f"tfds:{name}", str(builder.data_path), image, stamp)
        rows += [_row(item, number, names, parts) for item, number, _ in records()]
    else:
        source = SpooledSource(f"tfds:{name}", stamp, partial(_contents, records))
        source.fill(_contents(lambda: _noting(records(), rows, names, parts)))
    return make_manifest(rows, source, findings, min_images=min_images)


def _noting(records: Iterator[Any], rows: list[dict[str, str]], names: Any, parts: Mapping[str, str]) -> Iterator[Any]:
    for item, number, pixels in records:
        rows.append(_row(item, number, names, parts))
        yield item, number, pixels


def _contents(records: Any) -> Iterator[tuple[str, Any]]:
    for item, _, pixels in records():
        yield item, pixels
