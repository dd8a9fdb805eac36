"""Having activations: found in the cache, computed into it, kept in memory, or computed anew whenever asked for."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit import cache
from tlkit.activations.addressing import address, images_digest
from tlkit.activations.blocks import ROWS, BlockFile
from tlkit.activations.extraction import KIND, Target, extract, lower_cut, pixels
from tlkit.activations.memory import available_memory
from tlkit.activations.rows import LiveRows, Rows, open_rows
from tlkit.activations.worth import is_worth_keeping
from tlkit.config import ExtractionConfig
from tlkit.console import OnProgress
from tlkit.data.loader import ImageDataset
from tlkit.engines import choose_engine, preferred
from tlkit.errors import InputError
from tlkit.features import predict_in_order
from tlkit.fingerprints import graph_digests

DEFAULT = ExtractionConfig()
SHARE_OF_MEMORY = 0.5  # Of what is available, that rows may take where the cache cannot.


@dataclass(frozen=True)
class Activations:
    """What a frozen prefix makes of a data set.

    Attributes:
        rows: float32 (images, ...): an array, a memory map of a file in the cache, or what looks like one;
            `numpy.asarray(rows)` gives all of them.
        labels: int64 (images,).
        notes: What the user should know, one line each.
        facts: How they were had: JSON-able.
        hold: Keeps the cache from evicting the file, until `close`.
    """

    rows: Rows
    labels: np.ndarray
    notes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    hold: cache.Hold | None = None

    def close(self) -> None:
        """Lets the cache evict the rows."""
        if self.hold is not None:
            self.hold.close()


@dataclass(frozen=True)
class Plan:
    """What having activations will take.

    Attributes:
        bytes: Of the rows.
        path: Folder in the cache where they lie or will lie; None where they are not kept.
        cached: Whether they lie there already.
    """

    bytes: int
    path: Path | None
    cached: bool


def in_order(data: Any) -> Any:
    """Returns `data` with its images in the order of their rows, where it is ours; other data keep their own order."""
    if not isinstance(data, ImageDataset) or not data.shuffle:
        return data
    return ImageDataset(data.store, data.indices, data.labels, data.batch_size)


def plan_activations(prefix: keras.Model, data: Any, extraction: ExtractionConfig = DEFAULT) -> Plan | None:
    """Tells what `activations` will take, without computing anything; None for data whose size is not known."""
    if not isinstance(data, ImageDataset):
        return None
    if extraction.cache == "off" or not is_worth_keeping(prefix, extraction.storage):
        return Plan(0, None, False)
    work = _Work(prefix, data, extraction)
    cached = next((target for target in work.targets() if cache.find(KIND, target.key)), None)
    target = cached or work.targets()[0]
    return Plan(target.bytes, cache.cache_folder() / KIND / target.key, cached is not None)


def activations(
    prefix: keras.Model,
    data: Any,
    on_progress: OnProgress | None = None,
    extraction: ExtractionConfig = DEFAULT,
    name: str = "",
) -> Activations:
    """Runs a frozen prefix over a data set, or finds in the cache what it gave before.

    The cache is used for an `ImageDataset`: its content is known by the digests of the files. The address is made of
    the prefix's weights and graph, the transform, those digests, the engine and the storage: other weights never find
    what these gave. Where rows of a lower cut lie in the cache, the rest is computed from them. Rows are checked for
    damage before they are given; damaged ones are computed anew, and a note says so.

    Args:
        prefix: From `graph.split_model`; runs in inference mode whatever its `trainable` flags.
        data: What `keras.Model.fit` takes, with labels.
        on_progress: Called with (images done, images in all); for data that are not ours, with batches.
        extraction: Cache on or off, the engine, the storage.
        name: Of the data, for messages, such as `"training"`.

    Returns:
        The rows. With the cache off they are computed anew whenever they are read.

    Raises:
        InputError: There are no labels, inputs hold NaN or infinity, or an engine that is asked for is not installed.
    """
    data = in_order(data)
    if extraction.cache == "off":
        return _uncached(prefix, data, on_progress, name)
    if not isinstance(data, ImageDataset):
        rows, labels = predict_in_order(prefix, data, on_progress=on_progress, name=name)
        return Activations(rows, _required(labels))
    labels = _required(data.labels)
    if not is_worth_keeping(prefix, extraction.storage):
        cut = prefix.outputs[0]._keras_history.operation.name
        note = (
            f"What comes before {cut!r} is computed anew at every step: reading it back would take longer. "
            "Features of the head are kept."
        )
        return Activations(LiveRows(prefix, data), labels, (note,))
    work = _Work(prefix, data, extraction)
    try:
        return work.from_cache(labels, on_progress)
    except cache.CacheError as error:
        return work.without_cache(labels, str(error), on_progress)


def _uncached(prefix: keras.Model, data: Any, on_progress: OnProgress | None, name: str) -> Activations:
    if isinstance(data, ImageDataset):
        return Activations(LiveRows(prefix, data), _required(data.labels))
    if isinstance(data, tuple):
        return Activations(LiveRows(prefix, data[0]), np.asarray(data[1]))
    rows, labels = predict_in_order(prefix, data, on_progress=on_progress, name=name)
    note = "These data give batches in an order of their own: what is frozen is computed once, in spite of cache off."
    return Activations(rows, _required(labels), (note,))


def _required(labels: np.ndarray | None) -> np.ndarray:
    if labels is None:
        raise InputError("Expected batches of (images, labels). Received images without labels.")
    return labels


class _Work:
    """One prefix over one data set of ours."""

    def __init__(self, prefix: keras.Model, dataset: ImageDataset, extraction: ExtractionConfig):
        self.prefix, self.dataset, self.extraction = prefix, dataset, extraction
        self.digests = graph_digests(prefix)
        self.images = images_digest(dataset)
        self.cut = prefix.outputs[0]._keras_history.operation.name
        self.shape = (len(dataset.indices), *prefix.output_shape[1:])

    def targets(self) -> list[Target]:
        """What would serve, the most exact first."""
        return [self._target(name) for name in preferred(self.extraction.engine)]

    def from_cache(self, labels: np.ndarray, on_progress: OnProgress | None) -> Activations:
        """Finds the rows in the cache, or computes them into it.

        Raises:
            CacheError: The cache cannot take them.
        """
        notes: list[str] = []
        facts: dict[str, Any] = {"cut": self.cut, "images": self.shape[0], "cached": True}
        for _ in range(3):  # Another process may evict them between the making and the holding.
            for target in self.targets():
                hold = self._intact(target, notes)
                if hold is not None:
                    facts |= {"engine": target.details["engine"], "bytes": target.bytes, "storage": target.storage}
                    rows = open_rows(hold.path / ROWS, self.shape, target.storage)
                    return Activations(rows, labels, tuple(notes), facts, hold)
            facts |= {"cached": False} | self._compute(notes, on_progress)
        raise cache.CacheFull(f"The cache {cache.cache_folder()} loses what is put into it. Raise TLKIT_CACHE_BYTES.")

    def without_cache(self, labels: np.ndarray, reason: str, on_progress: OnProgress | None) -> Activations:
        """Computes the rows into memory where they fit, and otherwise whenever they are read."""
        size = 4 * math.prod(self.shape)
        if size > SHARE_OF_MEMORY * available_memory():
            note = f"The frozen part is computed anew at every step: {reason}"
            return Activations(LiveRows(self.prefix, self.dataset), labels, (note,))
        rows, _ = predict_in_order(self.prefix, self.dataset, on_progress=on_progress)
        return Activations(rows, labels, (f"Activations are kept in memory only: {reason}",))

    def _target(self, engine: str) -> Target:
        storage = self.extraction.storage
        key = address(self.digests[self.cut], self.images, engine, storage)
        details = {
            "model": self.prefix.name,
            "cut": self.cut,
            "images": self.shape[0],
            "shape": list(self.shape[1:]),
            "engine": engine,
            "storage": storage,
        }
        return Target(key, self.shape, storage, details)

    def _intact(self, target: Target, notes: list[str]) -> cache.Hold | None:
        """Holds rows that are as they were written; others are removed, and a note says so."""
        folder = cache.cache_folder() / KIND / target.key
        was_there = folder.exists()
        hold = cache.hold(KIND, target.key)
        if hold is not None and BlockFile(hold.path, self.shape[0], target.row_bytes).is_intact():
            return hold
        if was_there:
            notes.append(f"The activations of {self.cut} in the cache were damaged on disk and are computed anew.")
        if hold is not None:
            hold.close()
            cache.discard(KIND, target.key)
        return None

    def _compute(self, notes: list[str], on_progress: OnProgress | None) -> dict[str, Any]:
        """Computes the rows into the cache and returns how."""
        inputs = pixels(self.prefix, self.dataset)
        for name in preferred(self.extraction.engine):
            inputs = lower_cut(self.prefix, self.digests, self.images, name) or inputs
            if inputs.hold is not None:
                break
        try:
            wanted = self.extraction.engine if inputs.hold is None else name
            engine, choice = choose_engine(inputs.model, wanted, inputs.sample(self.shape[0]), self.shape[0])
            if choice.note:
                notes.append(choice.note)
            start = time.perf_counter()
            extract(inputs, engine, self._target(engine.name), on_progress)
        finally:
            inputs.close()
        seconds = time.perf_counter() - start
        rates = {name: round(rate, 1) for name, rate in choice.rates.items()}
        return {
            "computed_from": inputs.told,
            "batch_size": engine.batch_size,
            "seconds": round(seconds, 3),
            "tried_images_per_second": rates,
        }
