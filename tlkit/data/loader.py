"""Batches for `fit`, `evaluate` and `predict`: a `keras.utils.PyDataset` over a store."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tlkit.config import DEFAULT_STORE_SCALE
from tlkit.data.findings import count, name_some
from tlkit.data.manifest import Manifest
from tlkit.data.packing import OnProgress
from tlkit.data.store import Store, open_store
from tlkit.data.transform import make_transform
from tlkit.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf


class ImageDataset(keras.utils.PyDataset):
    """Batches of raw uint8 images, in an order that depends on the seed and the epoch alone.

    A batch is `images`, `(images, labels)` or `(images, labels, sample_weight)`: images uint8 (n, S, S, 3) from 0 to
    255, labels int64 (n,) or, one-hot, float32 (n, num_classes), weights float32 (n,). The last one may be smaller.
    Each pass is one epoch, be it Keras's or a plain `for` loop.

    Keras's `fit` shuffles the order of a `PyDataset`'s batches with Python's global generator; `fit(…, shuffle=False)`
    keeps the order that the seed gives. Batches are read without worker processes, ahead of the model by a thread of
    TensorFlow's; `workers=2` or more reads them in as many threads under any backend.

    Args:
        store: Holds the pixels.
        indices: The store's rows to take, int (n,).
        labels: Class numbers of those rows, int (n,), or None for images alone.
        batch_size: Images a batch.
        shuffle: Whether each epoch has an order of its own.
        seed: Of that order.
        one_hot: Whether labels are one-hot vectors.
        sample_weight: Weights of those rows, (n,), or None.
        **kwargs: `workers`, `use_multiprocessing` and `max_queue_size` as for `keras.utils.PyDataset`.

    Raises:
        InputError: Lengths that do not fit, or a batch size below 1.
    """

    def __init__(
        self,
        store: Store,
        indices: np.ndarray,
        labels: np.ndarray | None = None,
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 0,
        one_hot: bool = False,
        sample_weight: np.ndarray | None = None,
        **kwargs: Any,
    ):
        super().__init__(**{"workers": 0, **kwargs})
        self.store, self.indices = store, np.asarray(indices, np.int64)
        self.labels = labels if labels is None else np.asarray(labels)
        self.sample_weight = None if sample_weight is None else np.asarray(sample_weight, np.float32)
        self.batch_size, self.shuffle, self.seed, self.one_hot = batch_size, shuffle, seed, one_hot
        self.notes = list(store.notes)
        self._check()
        self.resume()

    def resume(self, epoch: int = 0, start_batch: int = 0) -> None:
        """Goes to a batch of an epoch, which then has the rest of its batches only; the next ones have all.

        Keras asks for the number of batches once, so give the rest of an epoch a `fit` of its own.

        Args:
            epoch: Number of the epoch, from 0.
            start_batch: Number of the first batch to give, from 0.
        """
        if not 0 <= start_batch < max(self._batches_of_epoch, 1):
            raise InputError(f"Expected start_batch below {self._batches_of_epoch}. Received: {start_batch}.")
        self.epoch, self.start_batch, self._within_epoch = epoch, start_batch, False
        self._order = self._order_of(epoch)

    def rows(self, index: int) -> np.ndarray:
        """Returns the store's rows in batch `index` of this epoch, int64 (n,)."""
        return self.indices[self._positions(index)]

    def __len__(self) -> int:
        return self._batches_of_epoch - self.start_batch

    def __iter__(self) -> Iterator[Any]:
        self.on_epoch_begin()
        for index in range(len(self)):
            yield self[index]
        self.on_epoch_end()

    def __getitem__(self, index: int) -> Any:
        images = self.store.images(self.rows(index))
        return images if self.labels is None else (images, *self.targets(index))

    def targets(self, index: int) -> tuple[np.ndarray, ...]:
        """Returns what batch `index` has beside its images: nothing, its labels, or labels and weights."""
        if self.labels is None:
            return ()
        positions = self._positions(index)
        labels = self.labels[positions]
        if self.one_hot:
            labels = np.eye(self.store.manifest.num_classes, dtype=np.float32)[labels]
        return (labels,) if self.sample_weight is None else (labels, self.sample_weight[positions])

    def on_epoch_begin(self) -> None:
        """Begins an epoch; Keras calls this. One that was begun and never ended counts as done."""
        if self._within_epoch:
            self.resume(self.epoch + 1)
        self._within_epoch = True

    def on_epoch_end(self) -> None:
        """Goes on to the next epoch and its order. Keras calls this, once also before the first: that is ignored."""
        if self._within_epoch:
            self.resume(self.epoch + 1)

    @property
    def _batches_of_epoch(self) -> int:
        return math.ceil(len(self.indices) / self.batch_size)

    def _positions(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(f"Expected a batch below {len(self)}. Received: {index}.")
        start = (self.start_batch + index) * self.batch_size
        return self._order[start : start + self.batch_size]

    def _order_of(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(len(self.indices))
        return np.random.default_rng((self.seed, epoch)).permutation(len(self.indices))

    def _check(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"Expected a batch_size of at least 1. Received: {self.batch_size}.")
        for name, values in (("labels", self.labels), ("sample_weight", self.sample_weight)):
            if values is not None and values.shape != self.indices.shape:
                raise InputError(f"Expected {name} of shape {self.indices.shape}. Received: {values.shape}.")
        if self.sample_weight is not None and self.labels is None:
            raise InputError("Expected labels together with sample_weight. Received: weights without labels.")


def load(
    manifest: Manifest,
    split: str | None = None,
    image_size: int = 224,
    batch_size: int = 32,
    *,
    geometry: str = "crop",
    store_scale: float = DEFAULT_STORE_SCALE,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> ImageDataset:
    """Loads one part of a manifest as batches for Keras; images that cannot be decoded are left out and noted.

    Args:
        manifest: The items, split where `split` is given.
        split: `"train"`, `"validation"`, `"test"`, or None for all usable items.
        image_size: Side of the square images, in pixels.
        batch_size: Images a batch; the last one may be smaller.
        geometry: `"crop"`, `"pad"` or `"squash"`; see `Transform`.
        store_scale: Store size over image size; see `make_transform`.
        on_progress: Called with (images done, images in all) while they are packed for the first time.
        **options: As for `ImageDataset`: `shuffle` (by default the training part only), `seed`, `one_hot`, `workers`;
            `sample_weight` has one weight for each row of the manifest.

    Returns:
        The batches; what the user should know is in their `notes`.

    Raises:
        InputError: The part is empty, or a value cannot be used.

    Example:
        train = tlkit.data.load(manifest, "train", image_size=224, batch_size=32)
    """
    chosen = np.flatnonzero(manifest.usable) if split is None else manifest.indices(split)
    weights = options.pop("sample_weight", None)
    if weights is not None and len(weights) != len(manifest):
        raise InputError(
            f"Expected sample_weight for each of the manifest's {len(manifest)} items. Received: {len(weights)}."
        )
    if not len(chosen):  # Told before anything is decoded.
        raise InputError(f"Expected images in the part {split!r}. Received: {_why_none(manifest)}.")
    store = open_store(manifest, make_transform(image_size, geometry=geometry, store_scale=store_scale), on_progress)
    rows = chosen[store.ok[chosen]]
    if not len(rows):
        raise InputError(f"Expected images in the part {split!r}. Received: none that can be decoded.")
    dataset = ImageDataset(
        store,
        rows,
        manifest.labels()[rows],
        batch_size,
        sample_weight=None if weights is None else np.asarray(weights)[rows],
        **{"shuffle": split == "train", **options},
    )
    bad = manifest.items["item"].to_numpy(object)[chosen[~store.ok[chosen]]]
    if len(bad):
        dataset.notes.append(f"{count(len(bad), 'image')} cannot be decoded and left out: {name_some(bad)}.")
    return dataset


def _why_none(manifest: Manifest) -> str:
    if not manifest.items["split"].any():
        return "a manifest that is not split. Split it first: manifest.split(validation=0.15, test=0.15)"
    return "none, for the split puts none there"


def as_numpy(dataset: ImageDataset) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a whole dataset into memory, in the order of its `indices`.

    Returns:
        Images uint8 (n, S, S, 3), and the labels as the dataset gives them, or None.
    """
    labels = dataset.labels
    if labels is not None and dataset.one_hot:
        labels = np.eye(dataset.store.manifest.num_classes, dtype=np.float32)[labels]
    return dataset.store.images(dataset.indices), labels


def as_tf_dataset(dataset: ImageDataset) -> tf.data.Dataset:
    """Wraps a dataset as a `tf.data.Dataset` of the same batches; each pass over it is one epoch. Needs TensorFlow."""
    import tensorflow as tf

    def spec(array: np.ndarray) -> tf.TensorSpec:
        return tf.TensorSpec((None, *array.shape[1:]), tf.as_dtype(array.dtype))

    first = dataset[0]
    signature = tuple(spec(array) for array in first) if isinstance(first, tuple) else spec(first)
    wrapped = tf.data.Dataset.from_generator(lambda: iter(dataset), output_signature=signature)
    return wrapped.apply(tf.data.experimental.assert_cardinality(len(dataset))).prefetch(tf.data.AUTOTUNE)
