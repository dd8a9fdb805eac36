"""Augmented batches for `fit`: the same for a seed, an epoch and a picture, however they are batched or resumed."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.augment.chain import Augment
from tlkit.augment.layer import central_crop
from tlkit.config import DEFAULT_VIEWS
from tlkit.data.loader import ImageDataset
from tlkit.errors import InputError


class AugmentedDataset(keras.utils.PyDataset):
    """The batches of a dataset, augmented: raw uint8 images and their labels.

    What happens to a picture follows from the seed, the epoch and the picture alone; whom MixUp and CutMix mix it
    with, and what Keras's own layers do, from the seed, the epoch and the batch. So a run that is taken up again
    (`resume`) sees the same batches. Labels are int64 (n,), or float32 shares of the classes (n, classes) where a
    layer mixes or the dataset is one-hot; sample weights stay with their picture.

    Args:
        dataset: Of ours, with labels, whose order, batch size and seed are kept; or arrays (images, labels), which
            come in batches of 32 in a new order each epoch.
        layers: Augmentation layers, such as those of `preset`.
        seed: Of the augmentation.
        view: Where given, every epoch sees what this epoch would: one fixed view of each picture.
        views: How many views `fine_tune` keeps of what the frozen part of a network makes of each picture.
        **kwargs: As for `keras.utils.PyDataset`.

    Raises:
        InputError: There are no labels, one class is to be mixed, or a crop is larger than the stored pictures.

    Example:
        train = tlkit.data.load(manifest, "train", image_size=224)
        model.fit(AugmentedDataset(train, preset("standard", 224)), shuffle=False)
    """

    def __init__(
        self,
        dataset: ImageDataset | tuple[np.ndarray, np.ndarray],
        layers: Sequence[keras.layers.Layer],
        seed: int = 0,
        view: int | None = None,
        views: int = DEFAULT_VIEWS,
        **kwargs: Any,
    ):
        super().__init__(**{"workers": 0, **kwargs})
        if views < 1:
            raise InputError(f"Expected views of at least 1. Received: {views}.")
        self.views = views
        if isinstance(dataset, tuple):
            images, labels = dataset
            store: Any = ArrayStore(images)
            dataset = ImageDataset(store, np.arange(len(images)), labels, shuffle=True, seed=seed)
        self.layers, self.seed, self.view = list(layers), seed, view
        if not isinstance(dataset, ImageDataset):
            raise InputError(
                "Expected arrays (images, labels), or a dataset of tlkit.data.load, to augment. Received: "
                f"{type(dataset).__name__}. Map Augment(layers) over it, with training=True."
            )
        if dataset.labels is None:
            raise InputError("Expected a dataset with labels to augment. Received: images alone.")
        self.dataset, self.chain = dataset, Augment(layers)
        present = len(np.unique(dataset.labels))
        if self.chain.mixes and present < 2:
            raise InputError(f"Expected pictures of at least two classes to mix. Received: {present}.")
        self._compiled = _compiled(self.chain, dataset)

    def over(self, dataset: ImageDataset) -> AugmentedDataset:
        """Returns the same augmentation of another dataset, or of the same in another order."""
        return AugmentedDataset(dataset, self.layers, self.seed, self.view, self.views)

    def with_batch_size(self, batch_size: int) -> AugmentedDataset:
        """Returns the same from the first epoch on, in batches of another size."""
        changed = copy.copy(self.dataset)
        changed.batch_size = batch_size
        changed.resume()
        return self.over(changed)

    @property
    def mixes(self) -> bool:
        """Whether labels come out as shares of the classes."""
        return self.chain.mixes

    @property
    def batch_size(self) -> int:
        """Images a batch."""
        return self.dataset.batch_size

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[Any]:
        self.on_epoch_begin()
        for index in range(len(self)):
            yield self[index]
        self.on_epoch_end()

    def __getitem__(self, index: int) -> Any:
        epoch = self.dataset.epoch if self.view is None else self.view
        rows, (labels, *weights) = self.dataset.rows(index), self.dataset.targets(index)
        data = {"images": self.dataset.store.pixels(rows), "draws": self._draws(rows, epoch)}
        if self.mixes:
            data["labels"] = self._shares(labels)
        self.chain.reseed(self.seed, epoch * max(len(self), 1) + index)
        made = self._compiled.predict_on_batch(data)
        return (made["images"], made["labels"] if self.mixes else labels, *weights)

    def resume(self, epoch: int = 0, start_batch: int = 0) -> None:
        """Goes to a batch of an epoch; see `ImageDataset.resume`."""
        self.dataset.resume(epoch, start_batch)

    def on_epoch_begin(self) -> None:
        """Begins an epoch; Keras calls this."""
        self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Goes on to the next epoch; Keras calls this."""
        self.dataset.on_epoch_end()

    def _draws(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        """Returns the draws of pictures, float32 (n, num_draws): a generator for each, for they must not depend on
        one another."""
        count = max(self.chain.num_draws, 1)
        made = [np.random.default_rng((self.seed, epoch, row)).random(count, np.float32) for row in rows.tolist()]
        return np.stack(made)

    def _shares(self, labels: np.ndarray) -> np.ndarray:
        if labels.ndim == 2:
            return labels
        return np.eye(_num_classes(self.chain), dtype=np.float32)[labels]


class OneHotLabels(keras.utils.PyDataset):
    """Batches of another dataset with labels as float32 vectors over the classes, for the loss that mixing needs.

    Args:
        dataset: Batches (inputs, labels) with int labels (n,).
        num_classes: Length of the vectors.
    """

    def __init__(self, dataset: Any, num_classes: int):
        super().__init__(workers=0)
        self.dataset, self.num_classes = dataset, num_classes

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, np.ndarray]:
        inputs, labels = self.dataset[index]
        return inputs, np.eye(self.num_classes, dtype=np.float32)[np.asarray(labels, np.int64)]

    def with_batch_size(self, batch_size: int) -> OneHotLabels:
        """Returns the same in batches of another size."""
        changed = copy.copy(self.dataset)
        changed.batch_size = batch_size
        return OneHotLabels(changed, self.num_classes)


class _Run(keras.layers.Layer):
    """Runs a chain with draws that are given, and rounds what comes out to whole numbers."""

    def __init__(self, chain: Augment, image_size: tuple[int, int]):
        super().__init__(dtype="float32")
        self.chain, self.image_size = chain, image_size
        self.built = True

    def call(self, data: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in data.items() if name != "draws"}
        made = self.chain.transform_batch(given, data["draws"])
        images = central_crop(made["images"], self.image_size)
        return {**made, "images": ops.cast(ops.round(images), "uint8")}

    def compute_output_spec(self, data: dict[str, Any]) -> dict[str, Any]:
        made = {"images": keras.KerasTensor((None, *self.image_size, data["images"].shape[-1]), "uint8")}
        if "labels" in data:
            made["labels"] = keras.KerasTensor(data["labels"].shape, "float32")
        return made


def _compiled(chain: Augment, dataset: ImageDataset) -> keras.Model:
    """Makes the function that augments a batch, compiled by whichever backend there is."""
    pixels, images = dataset.store.pixels(dataset.indices[:1]), dataset.store.images(dataset.indices[:1])
    made = chain.output_size(pixels.shape[1:3])
    if min(made) < min(images.shape[1:3]):
        raise InputError(
            f"Expected augmented pictures of at least {images.shape[1]} pixels a side, as the network takes them. "
            f"Received: layers that give {made[1]} x {made[0]}."
        )
    data = {
        "images": keras.Input(pixels.shape[1:], dtype="uint8", name="images"),
        "draws": keras.Input((max(chain.num_draws, 1),), name="draws"),
    }
    if chain.mixes:
        data["labels"] = keras.Input((_num_classes(chain),), name="labels")
    model = keras.Model(data, _Run(chain, images.shape[1:3])(data))
    model.jit_compile = keras.backend.backend() != "tensorflow"  # Compiling takes longer than it saves there.
    return model


def _num_classes(chain: Augment) -> int:
    return next(layer.num_classes for layer in chain.layers if hasattr(layer, "num_classes"))


class ArrayStore:
    """Pictures in memory, read as a store is: what `fit` takes as `(x, y)`.

    Args:
        images: uint8 or float (n, height, width, 3), from 0 to 255.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, images: np.ndarray):
        self._images = np.asarray(images)
        if self._images.ndim != 4 or self._images.shape[-1] != 3:
            raise InputError(f"Expected pictures (n, height, width, 3) to augment. Received: {self._images.shape}.")

    def pixels(self, rows: np.ndarray) -> np.ndarray:
        """Returns pictures, uint8 (n, height, width, 3)."""
        chosen = self._images[rows]
        return chosen if chosen.dtype == np.uint8 else np.clip(np.rint(chosen), 0, 255).astype(np.uint8)

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Returns the same: there is no room for crops beyond what the model sees."""
        return self.pixels(rows)
