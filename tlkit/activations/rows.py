"""Rows of activations as training reads them: kept in a file, in memory, or computed anew whenever asked for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np

from tlkit.data.loader import ImageDataset
from tlkit.features import predict_in_order

PART = 64  # Images that are run through a network together.
DTYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


class HalfRows:
    """Rows kept in 16 bits and given as float32.

    Args:
        kept: float16 or bfloat16 (n, ...), such as a memory map.
    """

    def __init__(self, kept: np.ndarray):
        self.kept, self.shape, self.dtype = kept, kept.shape, np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, chosen: Any) -> np.ndarray:
        return np.asarray(self.kept[chosen]).astype(np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.kept).astype(dtype or np.float32)


class LiveRows:
    """Rows that are computed anew whenever they are asked for: training as it would be without a cache.

    Args:
        prefix: The frozen part.
        images: uint8 (n, S, S, 3), or a data set of ours.
    """

    def __init__(self, prefix: keras.Model, images: ImageDataset | np.ndarray):
        self.prefix, self.images = prefix, images
        self.shape, self.dtype = (len(self), *prefix.output_shape[1:]), np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self.images.indices) if isinstance(self.images, ImageDataset) else len(self.images)

    def __getitem__(self, chosen: Any) -> np.ndarray:
        numbers = np.arange(len(self))[chosen]
        parts = (numbers[start : start + PART] for start in range(0, max(len(numbers), 1), PART))
        return predict_in_order(self.prefix, ((self._images(part), None) for part in parts))[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or np.float32, copy=False)

    def _images(self, numbers: np.ndarray) -> np.ndarray:
        images = self.images
        return (
            images.store.images(images.indices[numbers])
            if isinstance(images, ImageDataset)
            else np.asarray(images)[numbers]
        )


Rows = np.ndarray | HalfRows | LiveRows  # `numpy.asarray` gives all rows at once.


def open_rows(path: Path, shape: tuple[int, ...], storage: str) -> Rows:
    """Maps rows that lie in a file; what is read of them does not become anonymous memory.

    Args:
        path: Their bytes, one row after the other.
        shape: (n, ...).
        storage: How they are kept: a key of `DTYPES`.
    """
    kept = np.memmap(path, DTYPES[storage], "r", shape=shape)
    return kept if storage == "float32" else HalfRows(kept)


class RowDataset(keras.utils.PyDataset):
    """Batches of rows with their labels, each epoch in an order that depends on the seed and the epoch alone.

    Args:
        rows: (n, ...), read as it is needed.
        labels: int (n,).
        batch_size: Rows a batch; the last one may be smaller.
        shuffle: Whether each epoch has its own order.
        seed: Of the order.
    """

    def __init__(self, rows: Rows, labels: np.ndarray, batch_size: int, shuffle: bool = False, seed: int = 0):
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
        self.resume(self.epoch + 1)

    def resume(self, epoch: int = 0) -> None:
        """Goes to the order that a `fit` begins with which has `epoch` epochs behind it: Keras ends one before."""
        self.epoch = epoch
        self._order = self._order_of(epoch)

    def _order_of(self, epoch: int) -> np.ndarray:
        return epoch_order(len(self.labels), self.seed, epoch) if self.shuffle else np.arange(len(self.labels))


def epoch_order(number: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the order of `number` rows that depends on the seed and the epoch alone."""
    return np.random.default_rng((seed, epoch)).permutation(number)
