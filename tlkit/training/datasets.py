"""Training and validation data: checked, counted, and given batches of the size and order that training wants."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tlkit.activations import RowDataset
from tlkit.augment.batches import ArrayStore, AugmentedDataset, OneHotLabels
from tlkit.data.loader import ImageDataset
from tlkit.errors import InputError
from tlkit.features import batches
from tlkit.probe import class_balance
from tlkit.training.checks import checked_labels
from tlkit.views import ViewDataset

BATCH_SIZE = 32  # For arrays; datasets bring their own.


@dataclass(frozen=True)
class Part:
    """One part of the data, ready for `fit`.

    Attributes:
        data: A `PyDataset` or another iterable of (inputs, labels).
        labels: int64 (rows,), in the order of the rows for all but shuffled data of others.
        batch_size: Rows of a batch, the last one apart.
        one_hot: Whether the batches' labels are vectors over the classes.
    """

    data: Any
    labels: np.ndarray
    batch_size: int
    one_hot: bool = False

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return math.ceil(len(self.labels) / self.batch_size)

    @property
    def last_share(self) -> float:
        """Rows of the last batch over those of the others."""
        return (len(self.labels) - (self.steps - 1) * self.batch_size) / self.batch_size


def prepare(
    data: Any, num_classes: int, name: str, *, batch_size: int | None = None, shuffle: bool = False, seed: int = 0
) -> Part:
    """Makes data ready for `fit`.

    Arrays and data sets of ours get an order of their own each epoch, by seed and epoch alone; others keep theirs,
    and are read once, to know their labels and how many batches there are.

    Args:
        data: What `keras.Model.fit` takes.
        num_classes: Labels go from 0 to `num_classes - 1`.
        name: "training" or "validation", for messages.
        batch_size: Rows a batch; as the data bring them when None.
        shuffle: Whether each epoch has an order of its own.
        seed: Of that order.

    Raises:
        InputError: Labels are missing or out of range, images hold NaN or infinity, or the data cannot be given another
            batch size.
    """
    if isinstance(data, tuple | list):
        labels = checked_labels(np.asarray(data[1]), num_classes, name)
        size = batch_size or BATCH_SIZE
        return Part(RowDataset(np.asarray(data[0]), labels, size, shuffle, seed), labels, size)
    if isinstance(data, AugmentedDataset):
        labels = checked_labels(data.dataset.labels, num_classes, name)
        varied = data.over(_changed(data.dataset, batch_size or data.batch_size, shuffle, seed))
        return Part(varied, labels, varied.batch_size, varied.mixes or data.dataset.one_hot)
    if isinstance(data, ImageDataset | RowDataset):
        labels = checked_labels(data.labels, num_classes, name)
        own = _changed(data, batch_size or data.batch_size, shuffle, seed)
        return Part(own, labels, own.batch_size, getattr(own, "one_hot", False))
    found = list(_labels(data, name))
    labels = checked_labels(np.concatenate(found), num_classes, name)
    size = len(found[0])
    if batch_size not in (None, size):
        data, size = _rebatched(data, size, int(batch_size or size)), int(batch_size or size)
    return Part(data, labels, size, found[0].ndim == 2 and found[0].shape[1] == num_classes)


def with_batch_size(part: Part, batch_size: int) -> Part:
    """Returns the same data in batches of another size, shuffled as before."""
    if isinstance(part.data, ImageDataset | RowDataset):
        data = _changed(part.data, batch_size, part.data.shuffle, part.data.seed)
    elif isinstance(part.data, AugmentedDataset | OneHotLabels | ViewDataset):
        data = part.data.with_batch_size(batch_size)
    else:
        data = _rebatched(part.data, part.batch_size, batch_size)
    return Part(data, part.labels, batch_size, part.one_hot)


def with_labels_like(part: Part, other: Part, num_classes: int) -> Part:
    """Returns a part whose labels are vectors over the classes where those of another are, for the same loss."""
    if part.one_hot or not other.one_hot:
        return part
    return replace(part, data=OneHotLabels(part.data, num_classes), one_hot=True)


def without_augmentation(data: Any) -> Any:
    """Returns the plain pictures of a data set: as arrays where they came as such."""
    if not isinstance(data, AugmentedDataset):
        return data
    plain = data.dataset
    return (plain.store.images(plain.indices), plain.labels) if isinstance(plain.store, ArrayStore) else plain


def _changed(data: Any, batch_size: int, shuffle: bool, seed: int) -> Any:
    """Returns a copy of a data set of ours at the start of its first epoch."""
    if isinstance(data, RowDataset):
        return RowDataset(data.rows, data.labels, batch_size, shuffle, seed)
    own = copy.copy(data)
    own.batch_size, own.shuffle, own.seed = batch_size, shuffle, seed
    own.resume()
    return own


def _rebatched(data: Any, size: int, batch_size: int) -> Any:
    if hasattr(data, "unbatch"):
        return data.unbatch().batch(batch_size)
    raise InputError(
        f"Expected data whose batches can be changed to {batch_size} images: arrays, a tf.data.Dataset, or those of "
        f"tlkit.data.load. Received: {type(data).__name__} with batches of {size}. Make it with that batch size."
    )


def _labels(data: Any, name: str) -> Iterator[np.ndarray]:
    for _, labels in batches(data, name=name):
        if labels is None:
            raise InputError("Expected batches of (images, labels). Received images without labels.")
        yield labels


def class_weights(labels: np.ndarray, num_classes: int) -> dict[int, float]:
    """Returns the weights of `probe.class_balance` as `fit` takes them."""
    return dict(enumerate(class_balance(labels, num_classes).tolist()))
