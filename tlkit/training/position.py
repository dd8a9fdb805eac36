"""Going on within an epoch: the rest of its batches, numbered as in the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tlkit.activations import RowDataset
from tlkit.augment.batches import AugmentedDataset
from tlkit.data.loader import ImageDataset
from tlkit.views import ViewDataset

OURS = ImageDataset | AugmentedDataset | RowDataset | ViewDataset
ORDER_OF_THEIR_OWN = (
    "The training data are read as they come, in an order of their own: a resumed training begins their next epoch, "
    "and does not end as an uninterrupted one would. Arrays and tlkit.data.load can be resumed at any step."
)


def has_position(data: Any) -> bool:
    """Tells whether data can be read from any batch of any epoch on, always in the same order."""
    return isinstance(data, OURS)


def begin_at(data: Any, epoch: int, step: int = 0) -> Any:
    """Returns what to give `fit` for it to go on with a batch of an epoch, both numbered from 0.

    For a batch within an epoch that is the rest of this one epoch only.
    """
    if not has_position(data):
        return data
    data.resume(epoch)
    return RestOfEpoch(data, step) if step else data


class RestOfEpoch(keras.utils.PyDataset):
    """The batches of an epoch from one on.

    Args:
        dataset: Of ours, at the epoch.
        first: Number of the first batch, from 0.
    """

    def __init__(self, dataset: OURS, first: int):
        super().__init__(workers=0)
        self.dataset, self.first = dataset, first

    def __len__(self) -> int:
        return len(self.dataset) - self.first

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.first + index]

    def on_epoch_begin(self) -> None:
        """Begins the epoch; Keras calls this."""
        self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Goes on to the next epoch; Keras calls this."""
        self.dataset.on_epoch_end()


class FromStep(keras.callbacks.CallbackList):
    """Callbacks that are told of the rest of an epoch as of steps of the whole.

    Args:
        callbacks: To be called.
        first: Number of the first step, from 0.
        model: That is fitted.
        steps: Of the whole epoch.
        epochs: Of the whole training.
    """

    def __init__(
        self, callbacks: Sequence[keras.callbacks.Callback], first: int, model: keras.Model, steps: int, epochs: int
    ):
        super().__init__(list(callbacks), add_history=True, model=model, verbose=0, steps=steps, epochs=epochs)
        self.first = first

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_train_batch_begin(self.first + batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_train_batch_end(self.first + batch, logs)
