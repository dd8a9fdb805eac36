"""Keras callbacks of the training loop."""

from __future__ import annotations

from typing import Any

import keras

from tlkit.console import OnProgress


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the lowest validation loss and puts them back when training ends.

    The weights that training starts from count as a candidate: training can then not make the model worse.

    Args:
        initial_loss: Validation loss before the first epoch, in nats.
    """

    def __init__(self, initial_loss: float) -> None:
        super().__init__()
        self.best_loss = initial_loss
        self.best_epoch: int | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.best_weights = self.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {})["val_loss"]
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, epoch
            self.best_weights = self.model.get_weights()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.model.set_weights(self.best_weights)


class EpochProgress(keras.callbacks.Callback):
    """Tells how many epochs are done.

    Args:
        on_progress: Called with (epochs done, epochs in all).
    """

    def __init__(self, on_progress: OnProgress) -> None:
        super().__init__()
        self.on_progress = on_progress

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.on_progress(epoch + 1, self.params["epochs"])
