"""Keras callbacks of the training loop."""

from __future__ import annotations

import math
from typing import Any

import keras

from tlkit.console import OnProgress
from tlkit.errors import InputError


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the lowest validation loss and puts them back when training ends.

    The weights that training starts from count as a candidate: training can then not make the model worse.

    Args:
        initial_loss: Validation loss before the first epoch, in nats.
        patience: Epochs without a better validation loss before training ends; None never ends it early.
    """

    def __init__(self, initial_loss: float, patience: int | None = None) -> None:
        super().__init__()
        self.best_loss = initial_loss
        self.best_epoch: int | None = None
        self.patience = patience
        self._waited = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.best_weights = self.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {})["val_loss"]
        if loss < self.best_loss:
            self.best_loss, self.best_epoch, self._waited = loss, epoch, 0
            self.best_weights = self.model.get_weights()
            return
        self._waited += 1
        if self.patience is not None and self._waited >= self.patience:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.restore()

    def restore(self) -> None:
        """Puts the best weights back."""
        self.model.set_weights(self.best_weights)


class FiniteLoss(keras.callbacks.Callback):
    """Stops training at the first loss that is not a number, with the phase and the rate told.

    Args:
        phase: Name of the phase.
        learning_rate: Its peak learning rate.
    """

    def __init__(self, phase: str, learning_rate: float) -> None:
        super().__init__()
        self.phase, self.learning_rate = phase, learning_rate
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise InputError(
                f"Expected a finite loss. Received: {loss} in phase {self.phase!r}, epoch {self.epoch + 1}, step "
                f"{batch + 1}, at a peak learning rate of {self.learning_rate:g}. Use a lower --learning-rate."
            )


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


class RateLog(keras.callbacks.Callback):
    """Adds the learning rate at the end of each epoch to its logs, as `learning_rate`."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
