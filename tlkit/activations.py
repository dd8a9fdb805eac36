"""Activations of a frozen prefix, computed once, kept in the cache, and fed to the rest of the network.

A network cut in two at a single tensor trains the same whether the first half is run anew for every batch or its
outputs are read back: the halves share their weights with the whole, and the frozen half runs in inference mode.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tlkit import cache
from tlkit.console import OnProgress
from tlkit.data.loader import ImageDataset
from tlkit.errors import InputError
from tlkit.features import predict_in_order, predicted_batches

KIND = "activations"
FORMAT = 1  # Of the file; a change makes older entries unknown.
FILE = "rows.bin"


@dataclass(frozen=True)
class Activations:
    """What a frozen prefix makes of a data set.

    Attributes:
        rows: float32 (images, ...): an array, or a memory map of a file in the cache.
        labels: int64 (images,).
        notes: What the user should know, one line each.
        hold: Keeps the cache from evicting the file, until `close`.
    """

    rows: np.ndarray
    labels: np.ndarray
    notes: tuple[str, ...] = ()
    hold: cache.Hold | None = None

    def close(self) -> None:
        """Lets the cache evict the rows."""
        if self.hold is not None:
            self.hold.close()


class RowDataset(keras.utils.PyDataset):
    """Batches of rows with their labels, each epoch in an order that depends on the seed and the epoch alone.

    Args:
        rows: (n, ...), read as it is needed.
        labels: int (n,).
        batch_size: Rows a batch; the last one may be smaller.
        shuffle: Whether each epoch has its own order.
        seed: Of the order.
    """

    def __init__(self, rows: np.ndarray, labels: np.ndarray, batch_size: int, shuffle: bool = False, seed: int = 0):
        super().__init__()
        self.rows, self.labels, self.batch_size, self.shuffle, self.seed = rows, labels, batch_size, shuffle, seed
        self.epoch = 0
        self._order = self._order_of(0)

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        return np.asarray(self.rows[chosen]), self.labels[chosen]

    def on_epoch_end(self) -> None:
        """Goes on to the next epoch's order."""
        self.epoch += 1
        self._order = self._order_of(self.epoch)

    def _order_of(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(len(self.labels))
        return np.random.default_rng((self.seed, epoch)).permutation(len(self.labels))


def in_order(data: Any) -> Any:
    """Returns `data` with its images in the order of their rows, where it is ours; other data keep their own order."""
    if not isinstance(data, ImageDataset) or not data.shuffle:
        return data
    return ImageDataset(data.store, data.indices, data.labels, data.batch_size)


def activations(prefix: keras.Model, data: Any, on_progress: OnProgress | None = None) -> Activations:
    """Runs a frozen prefix over a data set, or finds in the cache what it gave before.

    The cache is used for an `ImageDataset`: its content is known by the digests of the files. The address is made of
    the prefix's weights and graph, the transform and those digests: other weights never find what these gave.

    Args:
        prefix: From `graph.split_model`; runs in inference mode whatever its `trainable` flags.
        data: What `keras.Model.fit` takes, with labels.
        on_progress: Called with (batches done, batches in all).
    """
    if not isinstance(data, ImageDataset):
        rows, labels = predict_in_order(prefix, data, on_progress=on_progress)
        return Activations(rows, _required(labels))
    dataset = in_order(data)
    labels = _required(dataset.labels)
    key = _key(prefix, dataset)
    shape = (len(dataset.indices), *prefix.output_shape[1:])
    try:
        while (hold := cache.hold(KIND, key)) is None:
            _extract(prefix, dataset, key, shape, on_progress)
    except cache.CacheError as error:
        rows, _ = predict_in_order(prefix, dataset, on_progress=on_progress)
        return Activations(rows, labels, (f"Activations are kept in memory only: {error}",))
    return Activations(np.memmap(hold.path / FILE, "float32", "r", shape=shape), labels, hold=hold)


def _required(labels: np.ndarray | None) -> np.ndarray:
    if labels is None:
        raise InputError("Expected batches of (images, labels). Received images without labels.")
    return labels


def _extract(
    prefix: keras.Model, dataset: ImageDataset, key: str, shape: tuple[int, ...], on_progress: OnProgress | None
) -> None:
    """Computes the rows into the cache, going on where an interrupted extraction stopped."""
    row_bytes = 4 * math.prod(shape[1:])
    batch_bytes = row_bytes * dataset.batch_size
    details = {"model": prefix.name, "cut": prefix.layers[-1].name, "images": shape[0], "shape": list(shape[1:])}
    with cache.build(KIND, key, shape[0] * row_bytes, details=details, resumable=True) as folder:
        if cache.find(KIND, key) is None:
            with open(folder / FILE, "ab") as file:
                done = min(file.tell() // batch_bytes, len(dataset))
                file.truncate(done * batch_bytes)
                for output, _ in predicted_batches(prefix, _rest(dataset, done), on_progress=_shift(on_progress, done)):
                    file.write(np.ascontiguousarray(output, "float32").tobytes())


def _rest(dataset: ImageDataset, done: int) -> ImageDataset:
    """The dataset without its first batches."""
    start = done * dataset.batch_size
    labels = None if dataset.labels is None else dataset.labels[start:]
    return ImageDataset(dataset.store, dataset.indices[start:], labels, dataset.batch_size)


def _shift(on_progress: OnProgress | None, done: int) -> OnProgress | None:
    return None if on_progress is None else lambda now, total: on_progress(done + now, done + total)


def _key(prefix: keras.Model, dataset: ImageDataset) -> str:
    """The address: everything that decides the rows, bit for bit."""
    transform = dataset.store.transform
    facts = {
        "format": FORMAT,
        "backend": keras.backend.backend(),
        "keras": keras.version(),
        "transform": transform.to_dict(),
        "graph": [(layer.name, type(layer).__name__, layer.get_config()) for layer in prefix.layers],
    }
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True, default=str).encode(), digest_size=16)
    for weight in prefix.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    digests = dataset.store.facts["digest"].to_numpy()[dataset.indices]
    digest.update("\n".join(digests).encode())
    return digest.hexdigest()
