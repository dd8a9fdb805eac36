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
from tlkit.views import ViewDataset

BATCH_SIZE = 32  # For arrays; datasets bring their own.
CHECKED_ROWS = 1024  # Of an array at a time.
ENDLESS = -1  # tf.data.INFINITE_CARDINALITY


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


def check_arrays(data: Any, num_classes: int, name: str) -> None:
    """Looks at data given as arrays before anything is computed: shapes, labels, and values that are no numbers.

    Raises:
        InputError: With what is wrong, and in which image.
    """
    data = without_augmentation(data)
    if isinstance(data, ImageDataset):
        checked_labels(data.labels, num_classes, name)
    if not isinstance(data, tuple | list):
        return
    if len(data) != 2 or not all(hasattr(array, "shape") for array in data):
        raise InputError(
            f"Expected {name} data as a pair of arrays (images, labels), or as a dataset. Received: a "
            f"{type(data).__name__} of {len(data)}. Weights by image are not supported; recipe=Recipe(balance=True) "
            "weights classes."
        )
    images, labels = data
    if len(images) != len(labels) or not len(images):
        raise InputError(
            f"Expected as many {name} labels as images, and at least one. Received: {len(images)} images, "
            f"{len(labels)} labels."
        )
    checked_labels(np.asarray(labels), num_classes, name)
    check_finite(np.asarray(images), f"{name} image")


def check_shape(data: Any, input_shape: tuple[int | None, ...], name: str) -> None:
    """Makes sure that images given as arrays, or by data sets of ours, are such as the model takes.

    Args:
        data: What `keras.Model.fit` takes.
        input_shape: Of the model, the batch first; None where any number will do.
        name: "training" or "validation".

    Raises:
        InputError: They have another shape.
    """
    data = without_augmentation(data)
    if isinstance(data, ImageDataset):
        size = data.store.transform.image_size
        shape: tuple[int, ...] = (size, size, 3)
    elif isinstance(data, tuple | list):
        shape = tuple(data[0].shape[1:])
    else:
        return
    expected = input_shape[1:]
    if len(shape) != len(expected) or any(known not in (None, had) for known, had in zip(expected, shape, strict=True)):
        raise InputError(f"Expected {name} images of shape {expected}. Received: {shape}.")


def check_finite(array: np.ndarray, name: str) -> None:
    """Raises InputError where a float array holds NaN or infinity, with the first such row."""
    if array.dtype.kind != "f":
        return
    for start in range(0, len(array), CHECKED_ROWS):
        rows = array[start : start + CHECKED_ROWS]
        wrong = ~np.isfinite(rows.reshape(len(rows), -1).sum(axis=1, dtype="float64"))
        if wrong.any():
            raise InputError(f"Expected finite numbers. Received: NaN or infinity in {name} {start + wrong.argmax()}.")


def checked_labels(labels: np.ndarray | None, num_classes: int, name: str) -> np.ndarray:
    """Returns labels as int64 (n,); one-hot ones are turned into class numbers.

    Raises:
        InputError: There are none, or they are out of range or of another shape.
    """
    expected = f"Expected integer {name} labels of shape (images,) from 0 to {num_classes - 1}. Received: "
    if labels is None:
        raise InputError(f"{expected}none. Give batches (images, labels).")
    if labels.ndim == 2 and labels.shape[1] == num_classes:
        labels = labels.argmax(axis=1)  # One-hot labels, as Keras users often have them.
    elif labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(f"{expected}shape {labels.shape}.")
    if labels.dtype.kind not in "iufb":
        raise InputError(f"{expected}values such as {str(labels[0])!r}. Number the classes first.")
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.round(labels)):
        raise InputError(f"{expected}numbers such as {labels[labels != np.round(labels)][0]:g}.")
    if len(labels) and (labels.min() < 0 or labels.max() >= num_classes):
        raise InputError(f"{expected}{labels.min()} to {labels.max()}.")
    return labels.astype("int64")


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
        InputError: Labels are missing or out of range, or the data cannot be given another batch size.
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
    if hasattr(data, "cardinality") and int(data.cardinality()) == ENDLESS:
        raise InputError(f"Expected {name} data that end. Received: an endless tf.data.Dataset. Leave .repeat() out.")
    found = list(_labels(data))
    if not found:
        raise InputError(f"Expected {name} data with at least one batch. Received: none.")
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


def _labels(data: Any) -> Iterator[np.ndarray]:
    for _, labels in batches(data):
        if labels is None:
            raise InputError("Expected batches of (images, labels). Received images without labels.")
        yield labels


def class_weights(labels: np.ndarray, num_classes: int) -> dict[int, float]:
    """Returns the weights of `probe.class_balance` as `fit` takes them."""
    return dict(enumerate(class_balance(labels, num_classes).tolist()))
