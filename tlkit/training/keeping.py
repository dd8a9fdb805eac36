"""Keeps how a gradient training stands: after every epoch, and within one where that is asked for."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np

from tlkit import interruption
from tlkit.callbacks import synchronise
from tlkit.features import batches
from tlkit.training.job import Job
from tlkit.training.saves import FitState


class KeepState(keras.callbacks.Callback):
    """Keeps a state after every epoch and saves it; also within epochs, and where a stop was asked for: then it ends.

    Stands last in the list of callbacks: what the others did at the same moment is part of the state.

    Args:
        job: Says where states are saved, and how often.
        known: Callbacks by name whose `to_facts` are part of the state; `best` keeps the best weights.
        choices: What was settled before the first step, JSON-able.
        start: The weights that the gradient training began with.
        within_epochs: Whether training could go on within an epoch.
        measured: Whether a choice was made by measuring: then the state before the first step is saved too, for another
            process might choose otherwise.
        state: To go on from; None at the beginning.

    Attributes:
        state: The last one kept.
        logs: Of each epoch so far.
    """

    def __init__(
        self,
        job: Job,
        known: dict[str, Any],
        choices: dict[str, Any],
        start: list[np.ndarray],
        within_epochs: bool,
        measured: bool,
        state: FitState | None,
    ):
        super().__init__()
        self.job, self.known, self.choices, self.start = job, known, choices, start
        self.within_epochs, self.measured, self.state = within_epochs, measured, state
        self.logs: list[dict[str, float]] = list(state.facts["logs"]) if state is not None else []
        self._metrics = state.metrics if state is not None else []
        self._epoch, self._unsaved, self._saved_at = 0, 0, time.monotonic()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self.state is None:
            _build_optimizer(self.model)
            self._keep(0, 0, save=self.measured)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch
        for variable, value in zip(self.model.metrics_variables, self._metrics, strict=bool(self._metrics)):
            variable.assign(value)
        self._metrics = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._unsaved += 1
        if self.model.stop_training or batch + 1 >= self.params["steps"]:
            return  # The epoch's end is near, and saves.
        asked = interruption.is_asked()
        if self.within_epochs and (asked or self._is_due()):
            self._keep(self._epoch, batch + 1)
        if asked:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.logs.append({name: float(value) for name, value in (logs or {}).items()})
        self._keep(epoch + 1, 0)
        if interruption.is_asked():
            raise KeyboardInterrupt

    def _is_due(self) -> bool:
        saving = self.job.saves.saving
        if saving is None:
            return False
        due = saving.every_steps is not None and self._unsaved >= saving.every_steps
        minutes = (time.monotonic() - self._saved_at) / 60
        return due or (saving.every_minutes is not None and minutes >= saving.every_minutes)

    def _keep(self, epoch: int, step: int, save: bool = True) -> None:
        synchronise(self.model)
        good = self.state if self.state is None or self.state.good is None else self.state.good
        facts = {"epoch": epoch, "step": step, "stopped": self.model.stop_training, "logs": list(self.logs)}
        facts |= {name: callback.to_facts() for name, callback in self.known.items()} | {"choices": self.choices}
        metrics = _values(self.model.metrics_variables) if step else []
        self.state = FitState(
            facts,
            self._weights(epoch, step),
            _values(_rest(self.model)),
            metrics,
            self.known["best"].best_weights,
            self.start,
            good if step else None,
        )
        if save:
            self.job.saves.save_fit(self.job, self.state)
        self._unsaved, self._saved_at = 0, time.monotonic()

    def _weights(self, epoch: int, step: int) -> list[np.ndarray]:
        """Returns the weights; where they are the best ones, the very list, which is then written once."""
        best = self.known["best"]
        is_best = not step and (best.best_epoch == epoch - 1 if epoch else best.best_epoch is None)
        if is_best and self.job.recipe.ema is None:
            return best.best_weights
        return _values(self.model.weights)


def last_good(state: FitState) -> FitState:
    """Returns the last state between epochs."""
    return state if state.good is None else state.good


def put_back(part: keras.Model, state: FitState, data: Any) -> None:
    """Gives a compiled model, its seeds and its optimizer what they were when a state was kept.

    Args:
        part: Compiled as it was then.
        state: From `KeepState`.
        data: Any of the model's data: metrics are made of a first batch.
    """
    _build_optimizer(part)
    if len(part.metrics_variables) < len(state.metrics):
        part.test_on_batch(*next(iter(batches(data))))
    variables, values = [*part.weights, *_rest(part)], [*state.weights, *state.rest]
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value.view(variable.dtype) if value.dtype.kind == "V" else value)


def _build_optimizer(part: keras.Model) -> None:
    if not part.optimizer.built:
        part.optimizer.build(part.trainable_variables)


def _rest(part: keras.Model) -> list[keras.Variable]:
    """Returns what changes in training beside the weights: seeds, and what the optimizer knows."""
    weights = {id(variable) for variable in part.weights}
    seeds = [variable for variable in part.variables if id(variable) not in weights]
    return [*seeds, *part.optimizer.variables]


def _values(variables: list[keras.Variable]) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
