"""Augmented views of what a frozen prefix sees, each computed when an epoch first needs it, and kept for the next.

With V views, epoch e trains on view e mod V. Where V is at least the number of epochs every epoch sees pictures of its
own, as without any cache; each view less is one pass over the frozen part saved.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tlkit import cache
from tlkit.activations.addressing import images_digest
from tlkit.activations.rows import epoch_order
from tlkit.augment.batches import AugmentedDataset
from tlkit.console import OnProgress
from tlkit.data.loader import ImageDataset
from tlkit.features import predicted_batches
from tlkit.fingerprints import graph_digests

KIND = "views"
FORMAT = 1  # Of the files; a change makes older entries unknown.
ROWS, LABELS = "rows.bin", "labels.npy"


class Views:
    """The views of a data set as a frozen prefix sees them.

    Args:
        prefix: From `graph.split_model`; runs in inference mode.
        dataset: Of ours, with labels, in the order of its rows.
        layers: Augmentation layers.
        count: How many views there are.
        seed: Of the augmentation: views are those that epochs of live augmentation with this seed would see.
        keep: Whether a view is kept, in the cache or in memory; else it is computed anew where another came between.
    """

    def __init__(
        self,
        prefix: keras.Model,
        dataset: ImageDataset,
        layers: Sequence[keras.layers.Layer],
        count: int,
        seed: int,
        keep: bool = True,
    ):
        plain = ImageDataset(dataset.store, dataset.indices, dataset.labels, dataset.batch_size)
        self.prefix, self.count, self.keep = prefix, count, keep
        self.dataset = AugmentedDataset(plain, layers, seed, view=0)
        self.shape = (len(plain.indices), *prefix.output_shape[1:])
        self._seen: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._holds: list[cache.Hold] = []
        self._address: str | None = None

    def rows(self, view: int, on_progress: OnProgress | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Returns a view: rows float32 (images, ...), labels int64 (images,) or shares (images, classes)."""
        view %= self.count
        if view not in self._seen:
            if not self.keep:
                self._seen.clear()
            self._seen[view] = self._found(view, on_progress) if self.keep else self._computed(view, on_progress)
        return self._seen[view]

    def close(self) -> None:
        """Lets the cache evict the views."""
        for hold in self._holds:
            hold.close()

    def _found(self, view: int, on_progress: OnProgress | None) -> tuple[np.ndarray, np.ndarray]:
        key = self._key(view)
        if key is None:
            return self._computed(view, on_progress)
        try:
            while (hold := cache.hold(KIND, key)) is None:
                self._keep(key, view, on_progress)
        except cache.CacheError:  # No room: memory has to serve.
            return self._computed(view, on_progress)
        self._holds.append(hold)
        rows = np.memmap(hold.path / ROWS, "float32", "r", shape=self.shape)
        return rows, np.load(hold.path / LABELS, allow_pickle=False)

    def _keep(self, key: str, view: int, on_progress: OnProgress | None) -> None:
        details = {"model": self.prefix.name, "view": view, "images": self.shape[0], "shape": list(self.shape[1:])}
        with cache.build(KIND, key, 4 * math.prod(self.shape), details=details) as folder:
            rows, labels = self._computed(view, on_progress)
            np.ascontiguousarray(rows, "float32").tofile(folder / ROWS)
            np.save(folder / LABELS, labels, allow_pickle=False)

    def _computed(self, view: int, on_progress: OnProgress | None) -> tuple[np.ndarray, np.ndarray]:
        self.dataset.view = view
        found = list(predicted_batches(self.prefix, self.dataset, on_progress=on_progress))
        return np.concatenate([rows for rows, _ in found]), np.concatenate([labels for _, labels in found])

    def _key(self, view: int) -> str | None:
        """Returns the address of a view: everything that decides it; None for pictures without digests."""
        store = self.dataset.dataset.store
        if not hasattr(store, "facts"):
            return None
        if self._address is None:
            self._address = _address(self.prefix, self.dataset)
        return hashlib.blake2b(f"{self._address} {view}".encode(), digest_size=16).hexdigest()


def _address(prefix: keras.Model, dataset: AugmentedDataset) -> str:
    """Returns what all views have in common, as a digest."""
    plain = dataset.dataset
    facts = {
        "format": FORMAT,
        "backend": keras.backend.backend(),
        "keras": keras.version(),
        "network": graph_digests(prefix)[prefix.outputs[0]._keras_history.operation.name],
        "images": images_digest(plain),
        "layers": [_described(layer) for layer in dataset.layers],
        "seed": dataset.seed,
        "batch_size": plain.batch_size,
        "rows": plain.indices.tolist(),
    }
    return hashlib.blake2b(json.dumps(facts, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def _described(layer: keras.layers.Layer) -> Any:
    """Returns what a layer does, without the name that Keras numbers anew."""
    return type(layer).__name__, {name: value for name, value in layer.get_config().items() if name != "name"}


class ViewDataset(keras.utils.PyDataset):
    """Batches of views of rows, an epoch a view, each epoch in an order of its own.

    Args:
        views: Where the rows come from.
        batch_size: Rows a batch; the last one may be smaller.
        seed: Of the order.
    """

    def __init__(self, views: Views, batch_size: int, seed: int = 0):
        super().__init__()
        self.views, self.batch_size, self.seed = views, batch_size, seed
        self.resume()

    def resume(self, epoch: int = 0) -> None:
        """Goes to the beginning of an epoch."""
        self.epoch, self._within_epoch = epoch, False
        self._order = epoch_order(self.views.shape[0], self.seed, epoch)

    def __len__(self) -> int:
        return math.ceil(self.views.shape[0] / self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        rows, labels = self.views.rows(self.epoch)
        return np.asarray(rows[chosen]), labels[chosen]

    def with_batch_size(self, batch_size: int) -> ViewDataset:
        """Returns the same from the first epoch on, in batches of another size."""
        return ViewDataset(self.views, batch_size, self.seed)

    def on_epoch_begin(self) -> None:
        """Begins an epoch; Keras calls this."""
        self._within_epoch = True

    def on_epoch_end(self) -> None:
        """Goes on to the next epoch; Keras calls this, once also before the first: that is ignored."""
        if self._within_epoch:
            self.resume(self.epoch + 1)
