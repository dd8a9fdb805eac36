"""Keras callbacks of the training loop."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any

import keras

from tlkit.console import OnProgress
from tlkit.optimizers import averages, replan


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the last epoch whose tempered log-loss is as good as the lowest; training ends with them.

    As good is what the validation images cannot tell from the lowest: up to the standard error of a mean of n losses
    that are spread exponentially, a share of 1 / sqrt(n). While the rate is high the weights are noisy, and with it
    falls the test error; the lowest of several losses on few images is often that of a lucky early epoch.

    The weights that training starts from count as a candidate: training can then not make the model worse.

    Args:
        initial_loss: Tempered validation log-loss before the first epoch, in nats.
        images: How many images it is the mean of.
        patience: Epochs without one as good as the lowest of all epochs before, after which training ends; None never
            ends it early. The loss before the first epoch does not count here: a body that begins to move loses at
            first what the head knew of it, and needs some epochs to be ahead.
    """

    def __init__(self, initial_loss: float, images: int, patience: int | None = None) -> None:
        super().__init__()
        self.initial_loss, self.patience = initial_loss, patience
        self.tolerated = 1 + 1 / math.sqrt(images)
        self.best_epoch: int | None = None
        self.best_weights: list[Any] = []
        self._lowest, self._waited = math.inf, 0

    def to_facts(self) -> dict[str, Any]:
        """Returns what it knows beside the weights, JSON-able."""
        return {"best_epoch": self.best_epoch, "lowest": self._lowest, "waited": self._waited}

    def restore(self, facts: dict[str, Any], best_weights: list[Any]) -> None:
        """Goes on from what `to_facts` has told."""
        self.best_epoch, self.best_weights = facts["best_epoch"], best_weights
        self._lowest, self._waited = facts["lowest"], facts["waited"]

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.best_weights = self.best_weights or self.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {})["val_tempered_log_loss"]
        self._lowest = min(loss, self._lowest)
        as_good = loss <= self._lowest * self.tolerated
        if as_good and loss < self.initial_loss:
            self.best_epoch = epoch
            self.best_weights = self.model.get_weights()
        self._waited = 0 if as_good else self._waited + 1
        if self.patience is not None and self._waited >= self.patience:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.model.set_weights(self.best_weights)


class AverageWeights(keras.callbacks.Callback):
    """Validates with the moving average of the weights, and goes on training with the weights themselves.

    Stands after `BestWeights` in the list of callbacks, which then keeps averages too.
    """

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        pairs = averages(self.model.optimizer)
        self._own = [keras.ops.convert_to_numpy(variable) for variable, _ in pairs]
        for variable, average in pairs:  # A copy: JAX gives the arrays of what it evaluates away.
            variable.assign(keras.ops.copy(average))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for (variable, _), own in zip(averages(self.model.optimizer), self._own, strict=True):
            variable.assign(own)


class NotFinite(Exception):
    """A loss was NaN or infinite.

    Args:
        loss: Its value.
        place: Where that was, for people.
        learning_rate: At that step.
    """

    def __init__(self, loss: float, place: str, learning_rate: float) -> None:
        super().__init__(f"the loss was {loss} {place}, at a learning rate of {learning_rate:.3g}")


class FiniteLoss(keras.callbacks.Callback):
    """Raises `NotFinite` at the first loss that is not a number.

    Args:
        phase: Name of the phase.
    """

    def __init__(self, phase: str) -> None:
        super().__init__()
        self.phase, self.epoch = phase, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._check((logs or {}).get("loss", 0.0), f"in phase {self.phase!r}, epoch {self.epoch + 1}, step {batch + 1}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        place = f"on the validation images after epoch {epoch + 1} of phase {self.phase!r}"
        self._check((logs or {}).get("val_log_loss", 0.0), place)

    def _check(self, loss: float, place: str) -> None:
        if not math.isfinite(loss):
            synchronise(self.model)
            raise NotFinite(loss, place, float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))


def synchronise(model: keras.Model) -> None:
    """Puts what a fit has computed so far into the model's variables: under JAX they are out of reach in an epoch."""
    getattr(model, "jax_state_sync", lambda: None)()


class EpochProgress(keras.callbacks.Callback):
    """Tells how many epochs are done.

    Args:
        on_progress: Called with (epochs done, epochs in all, as far as they fit into the budget).
        budget: Stands before this in the list of callbacks.
    """

    def __init__(self, on_progress: OnProgress, budget: TimeBudget | None = None) -> None:
        super().__init__()
        self.on_progress, self.budget = on_progress, budget

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.budget is not None and self.budget.gave_up:  # In the middle of its first epoch.
            return
        fitting = self.params["epochs"] if self.budget is None else math.ceil(self.budget.fitting_epochs)
        self.on_progress(epoch + 1, max(fitting, epoch + 1))


class RateLog(keras.callbacks.Callback):
    """Adds the learning rate at the end of each epoch to its logs, as `learning_rate`."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))


class TimeBudget(keras.callbacks.Callback):
    """Ends training at a deadline, in the middle of an epoch if need be, and has the schedule end there too.

    After the first steps, and after each epoch, it is planned from the steps' median time how many updates fit.

    Args:
        deadline: As `time.monotonic()` tells time; the last validation and one more pass over it end before.
        validation_seconds: What a pass over the validation images took.
        updates_per_epoch: Updates of the weights in an epoch.
        warmup: Share of the updates in which the rate rises.
        whole_epoch: Whether to give up at once where not even one epoch fits.
    """

    def __init__(
        self, deadline: float, validation_seconds: float, updates_per_epoch: int, warmup: float, whole_epoch: bool
    ) -> None:
        super().__init__()
        self.deadline, self.validation_seconds, self.warmup = deadline, validation_seconds, warmup
        self.updates_per_epoch, self.whole_epoch = updates_per_epoch, whole_epoch
        self.epoch_seconds: float | None = None
        self.fitting_epochs = 0.0  # Of all epochs, as planned last.
        self.gave_up = self.ended = False
        self._steps: list[float] = []
        self._epoch, self._last, self._testing = 0, 0.0, 0.0

    def to_facts(self) -> dict[str, Any]:
        """Returns what it knows beside the deadline, JSON-able."""
        told = {"epoch_seconds": self.epoch_seconds, "gave_up": self.gave_up, "steps": self._steps}
        return told | {"validation_seconds": self.validation_seconds}

    def restore(self, facts: dict[str, Any]) -> None:
        """Goes on from what `to_facts` has told."""
        self.epoch_seconds, self.gave_up = facts["epoch_seconds"], facts["gave_up"]
        self._steps, self.validation_seconds = facts["steps"], facts["validation_seconds"]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch, self._last = epoch, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        now = time.monotonic()
        if self._epoch or batch:  # The very first step includes the compilation.
            self._steps = [*self._steps[-RECENT_STEPS:], now - self._last]
        self._last = now
        if not self._epoch and batch == PLAN_AFTER:
            self._plan((batch + 1) / self.params["steps"], self.warmup)
        out_of_time = now + self._step() + 2 * self.validation_seconds > self.deadline
        if out_of_time and self.whole_epoch and not self._epoch and batch + 1 < self.params["steps"]:
            self.epoch_seconds, self.gave_up = self._estimated_epoch(), True
        if out_of_time or self.gave_up:
            self.ended = self.model.stop_training = True

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._testing = time.monotonic()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self.validation_seconds = time.monotonic() - self._testing

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._plan(epoch + 1, None)

    def _step(self) -> float:
        return statistics.median(self._steps) if self._steps else 0.0

    def _estimated_epoch(self) -> float:
        return self._step() * self.params["steps"] + self.validation_seconds

    def _plan(self, epochs_done: float, warmup: float | None) -> None:
        """Sets the schedule's length to the epochs that fit."""
        self.epoch_seconds = self._estimated_epoch()
        left = max(self.deadline - time.monotonic() - self.validation_seconds, 0.0)
        epochs = self.fitting_epochs = min(self.params["epochs"], epochs_done + left / self.epoch_seconds)
        self.gave_up = self.gave_up or (self.whole_epoch and epochs < 1)
        synchronise(self.model)
        replan(self.model.optimizer, max(int(epochs * self.updates_per_epoch), 1), warmup)


RECENT_STEPS = 50
PLAN_AFTER = 4  # Number of the batch after which the first plan is made: five steps show how long one takes.
