"""What training and validation data must be, looked at before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from tlkit.activations import RowDataset
from tlkit.data.loader import ImageDataset
from tlkit.errors import InputError
from tlkit.features import check_finite

ENDLESS = -1  # tf.data.INFINITE_CARDINALITY
MOST_TOLD = 8

Shape = tuple[int | None, ...]


def check_data(data: Any, input_shape: Shape, num_classes: int, name: str) -> None:
    """Looks at data before they are used: at all of arrays, at the labels of data sets of ours, at others' first batch.

    Args:
        data: What `keras.Model.fit` takes; not augmented.
        input_shape: Of the model, the batch first; None where any number will do.
        num_classes: Labels go from 0 to `num_classes - 1`.
        name: "training" or "validation", for messages.

    Raises:
        InputError: They cannot be trained on; with what is wrong and what was expected.
    """
    if isinstance(data, ImageDataset):
        checked_labels(data.labels, num_classes, name)
        size = data.store.transform.image_size
        _check_shape((size, size, 3), input_shape, name)
    elif isinstance(data, tuple | list):
        _check_arrays(data, input_shape, num_classes, name)
    elif not isinstance(data, RowDataset):
        _check_first_batch(data, input_shape, num_classes, name)


def _check_arrays(data: tuple | list, input_shape: Shape, num_classes: int, name: str) -> None:
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
    _check_shape(tuple(images.shape[1:]), input_shape, name)


def _check_first_batch(data: Any, input_shape: Shape, num_classes: int, name: str) -> None:
    """Looks at data of others as far as that takes no pass over all of them."""
    if isinstance(data, str) or not (isinstance(data, Iterable) or hasattr(data, "__getitem__")):
        raise InputError(
            f"Expected {name} data as a pair of arrays (images, labels), or as a dataset. Received: {data!r}. To train "
            "on a folder there is the command `tlkit finetune`."
        )
    if hasattr(data, "shape"):
        raise InputError(
            f"Expected {name} data as a pair of arrays (images, labels). Received: one array of shape "
            f"{tuple(data.shape)}, without labels."
        )
    if hasattr(data, "__next__"):
        raise InputError(
            f"Expected {name} data that can be read again in every epoch. Received: a {type(data).__name__}, which "
            "gives each batch once. Use arrays, a keras.utils.PyDataset or a tf.data.Dataset."
        )
    if _is_endless(data):
        raise InputError(
            f"Expected {name} data that end. Received: an endless {type(data).__name__}. Leave .repeat() out, or give "
            "the number of batches in an epoch: .take(batches)."
        )
    numbered = isinstance(data, keras.utils.PyDataset)
    batch = next(((data[index] for index in range(len(data))) if numbered else iter(data)), None)
    if batch is None:
        raise InputError(f"Expected {name} data with at least one batch. Received: none.")
    parts = len(batch) if isinstance(batch, tuple | list) else 1
    if parts != 2:
        told = "images without labels" if parts == 1 else f"{parts} of a batch; weights by image are not supported"
        raise InputError(f"Expected {name} batches of (images, labels). Received: {told}.")
    images, labels = (np.asarray(part) for part in batch)
    if images.ndim == len(input_shape) - 1 and not labels.ndim:
        raise InputError(
            f"Expected {name} data in batches. Received: single images of shape {images.shape}. Batch them first: "
            ".batch(32)."
        )
    _check_shape(images.shape[1:], input_shape, name)
    checked_labels(labels, num_classes, name)


def tell_missing_classes(data: Any, num_classes: int) -> tuple[str, ...]:
    """Returns a line where arrays have no image of some classes; of folders the audit tells it."""
    if not isinstance(data, tuple | list):
        return ()
    missing = sorted(set(range(num_classes)) - set(checked_labels(np.asarray(data[1]), num_classes, "training")))
    if not missing:
        return ()
    told = ", ".join(map(str, missing[:MOST_TOLD])) + (", ..." if len(missing) > MOST_TOLD else "")
    return (f"The head has {num_classes} classes, and no training image is of {told}: is it one for these images?",)


def _is_endless(data: Any) -> bool:
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches is None
    return hasattr(data, "cardinality") and int(data.cardinality()) == ENDLESS


def _check_shape(shape: tuple[int, ...], input_shape: Shape, name: str) -> None:
    expected = input_shape[1:]
    if len(shape) != len(expected) or any(known not in (None, had) for known, had in zip(expected, shape, strict=True)):
        raise InputError(f"Expected {name} images of shape {expected}. Received: {shape}.")


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
