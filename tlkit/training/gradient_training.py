"""One gradient training from its choices to its end: taken up where it was saved, gone back where it diverged."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np

from tlkit import interruption
from tlkit.analysis.flow_callback import GradientFlow
from tlkit.analysis.flow_record import describe_flow
from tlkit.callbacks import AverageWeights, BestWeights, EpochProgress, FiniteLoss, NotFinite, RateLog, TimeBudget
from tlkit.durations import tell_duration
from tlkit.errors import NotFiniteError
from tlkit.features import batches
from tlkit.optimizers import Accumulation
from tlkit.phases import Phase
from tlkit.training.choices import Choices, choices_of
from tlkit.training.compiling import choose_jit, compile_part
from tlkit.training.datasets import Part, class_weights
from tlkit.training.job import Job
from tlkit.training.keeping import KeepState, last_good, put_back
from tlkit.training.outcome import GIVEN_UP, WENT_BACK
from tlkit.training.position import ORDER_OF_THEIR_OWN, FromStep, begin_at, has_position
from tlkit.training.range_test import find_learning_rate
from tlkit.training.saves import FitState

LOGGED = {  # Column of the history, and what Keras calls it here.
    "loss": "loss",
    "accuracy": "accuracy",
    "val_loss": "val_log_loss",
    "val_tempered_loss": "val_tempered_log_loss",
    "val_accuracy": "val_accuracy",
}
LATE_SECONDS = 1.0  # That the end of a training may lie beyond its budget untold.
RANGE_TEST_SHARE = 0.25  # Of the time that is left, at most, for the choice of a rate.


@dataclass(frozen=True)
class Fitting:
    """How a phase's part is fitted; memory may change it.

    Attributes:
        train: Training data.
        validation: Validation data.
        precision: As `resolve_precision` gives it.
        accumulate: Steps an update.
        deadline: When it must have ended, as `time.monotonic()` tells time.
        notes: Why it is not as it was asked for, one line each.
    """

    train: Part
    validation: Part
    precision: str
    accumulate: int
    deadline: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fitted:
    """What came of it.

    Attributes:
        rows: Of the history, one an epoch.
        notes: What the user should know, one line each.
        flow: How gradients flowed, where that was recorded.
        gave_up: Seconds of an epoch, where not even one fitted in the time; else None.
        went_back: Whether no epoch was better than the weights it began with, which it then ends with.
    """

    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()
    gave_up: float | None = None
    flow: dict[str, Any] | None = None
    went_back: bool = False


def train_part(job: Job, part: keras.Model, phase: Phase, fitting: Fitting, start: list[np.ndarray]) -> Fitted:
    """Trains a part of the model by gradients and gives it the weights of its best epoch.

    At a loss that is not finite it goes back to the last good epoch, once, at half the rate; at the second one it ends
    with the best weights so far.

    Args:
        job: Of which model `part` is a part; its saves say whether a training is taken up.
        part: The model that `fit` is called on.
        phase: What is asked for.
        fitting: How.
        start: The weights that it has.

    Raises:
        NotFiniteError: The loss is not finite before any training.
    """
    keras.utils.set_random_seed(job.seed)
    state = job.saves.resumed
    if state is None:
        choices, accumulation = _choose(job, part, phase, fitting)
    else:
        choices = choices_of(state)
        accumulation = _compile(job, part, phase, fitting, choices)
    training = _Training(job, part, phase, fitting, start, next(iter(batches(fitting.train.data))))
    while True:
        keeper = training.keeper(choices, accumulation, state)
        try:
            training.fit(keeper, state)
            return training.result(keeper)
        except NotFinite as error:
            assert keeper.state is not None
            state = last_good(keeper.state)
            if choices.halved:
                return training.given_up(state, error)
            choices = _halved(choices, error, state)
            accumulation = _compile(job, part, phase, fitting, choices)


def _choose(job: Job, part: keras.Model, phase: Phase, fitting: Fitting) -> tuple[Choices, Accumulation]:
    """Settles the rate and XLA, compiles, and measures the loss to begin with."""
    train, rate = fitting.train, phase.learning_rate
    notes = list(fitting.notes)
    if isinstance(rate, str):
        compile_part(job, part, phase, train, None, fitting.precision, 1)
        with job.step("Trying learning rates"):
            left = fitting.deadline - time.monotonic()
            rate = find_learning_rate(part, train.data, seconds=RANGE_TEST_SHARE * max(left, 0.0))
        notes.append(f"The range test chose a learning rate of {rate:.2g}.")
    accumulation = compile_part(job, part, phase, train, rate, fitting.precision, fitting.accumulate)
    found = choose_jit(job, part, train, phase.epochs)
    notes += [found] if found else []
    if job.saves.saving is not None and not has_position(train.data):
        notes.append(ORDER_OF_THEIR_OWN)
    began = time.monotonic()
    loss = part.evaluate(fitting.validation.data, verbose=0, return_dict=True)["tempered_log_loss"]
    if not math.isfinite(loss):
        raise NotFiniteError(
            f"Expected a finite loss. Received: {loss} on the validation images before phase {phase.name!r}: "
            "NaN in the images or in the weights."
        )
    settled = (train.batch_size, fitting.accumulate, fitting.precision, tuple(notes))
    jit = bool(part.jit_compile) if found else None
    return Choices(float(rate), jit, float(loss), time.monotonic() - began, *settled), accumulation


def _compile(job: Job, part: keras.Model, phase: Phase, fitting: Fitting, choices: Choices) -> Accumulation:
    accumulation = compile_part(job, part, phase, fitting.train, choices.rate, choices.precision, choices.accumulate)
    if choices.jit is not None:
        part.jit_compile = choices.jit
    return accumulation


def _halved(choices: Choices, error: NotFinite, state: FitState) -> Choices:
    done = f"the end of epoch {state.facts['epoch']}" if state.facts["epoch"] else "the start of the phase"
    note = f"Stopped: {error}. Gone back to {done}, at half the peak rate of {choices.rate:.3g}."
    return replace(choices, rate=choices.rate / 2, halved=True, notes=(*choices.notes, note))


@dataclass(frozen=True)
class _Training:
    """What the attempts at one gradient training share."""

    job: Job
    part: keras.Model
    phase: Phase
    fitting: Fitting
    start: list[np.ndarray]
    probe: tuple[np.ndarray, Any]  # A batch to measure gradients on.

    def keeper(self, choices: Choices, accumulation: Accumulation, state: FitState | None) -> KeepState:
        """Makes what keeps the states of an attempt, with the callbacks that know something; from a state or anew."""
        phase = self.phase
        images = len(self.fitting.validation.labels)
        known: dict[str, Any] = {"best": BestWeights(choices.start_loss, images, phase.patience)}
        if self.fitting.deadline < math.inf:
            updates = (accumulation.updates_per_epoch, phase.warmup)
            known["budget"] = TimeBudget(
                self.fitting.deadline, choices.validation_seconds, *updates, phase.only_if_better
            )
        if self.job.recipe.record_gradients:
            known["flow"] = GradientFlow(*self.probe)
        known["best"].best_weights = self.start
        if state is not None:
            known["best"].restore(state.facts["best"], state.best)
            for name in {"budget", "flow"} & known.keys() & state.facts.keys():
                known[name].restore(state.facts[name])
        within_epochs = has_position(self.fitting.train.data)
        measured = isinstance(phase.learning_rate, str) or choices.jit is not None or bool(self.fitting.notes)
        return KeepState(self.job, known, asdict(choices), self.start, within_epochs, measured, state)

    def fit(self, keeper: KeepState, state: FitState | None) -> None:
        """Trains to the end, from a state where there is one."""
        phase, part, known = self.phase, self.part, keeper.known
        epoch, step = (state.facts["epoch"], state.facts["step"]) if state is not None else (0, 0)
        if state is not None:
            put_back(part, state, self.fitting.validation.data)
        stopped = state is not None and state.facts["stopped"]
        with self.job.step(f"Training {phase.name} for up to {phase.epochs} epochs", "epochs") as on_progress:
            callbacks = [RateLog(), FiniteLoss(phase.name), known["best"]]
            callbacks += [AverageWeights()] if self.job.recipe.ema is not None else []
            callbacks += [known[name] for name in ("budget", "flow") if name in known]
            told = [EpochProgress(on_progress, known.get("budget"))] if on_progress else []
            callbacks += [*self.job.callbacks, *told, keeper]
            if step and not stopped:
                steps = FromStep(callbacks, step, part, self.fitting.train.steps, phase.epochs)
                self._call_fit(steps, epoch, epoch + 1, step)
                assert keeper.state is not None  # Averages, or the best weights, belong to the end of all epochs.
                put_back(part, keeper.state, self.fitting.validation.data)
                epoch, stopped = epoch + 1, part.stop_training
            if epoch < phase.epochs and not stopped:
                self._call_fit(callbacks, epoch, phase.epochs)
        part.set_weights(known["best"].best_weights)

    def _call_fit(self, callbacks: Any, first: int, epochs: int, step: int = 0) -> None:
        train = self.fitting.train
        weights = class_weights(train.labels, self.job.num_classes) if self.job.recipe.balance else None
        with interruption.postponed():
            self.part.fit(
                begin_at(train.data, first, step),
                shuffle=False,  # The data bring their own order, by seed and epoch.
                validation_data=self.fitting.validation.data,
                initial_epoch=first,
                epochs=epochs,
                class_weight=weights,
                callbacks=callbacks,
                verbose=0,
            )
        if interruption.is_asked():
            raise KeyboardInterrupt

    def result(self, keeper: KeepState) -> Fitted:
        """Tells what came of an attempt that went to its end."""
        notes, budget, flow = keeper.choices["notes"], keeper.known.get("budget"), keeper.known.get("flow")
        if budget is not None and budget.gave_up:
            return Fitted((), notes, budget.epoch_seconds)
        best = keeper.known["best"].best_epoch
        rows = _rows(self.phase, keeper.logs, best)
        if budget is not None and budget.ended:
            notes = (*notes, _tell_budget(len(rows), self.phase.epochs, time.monotonic() - self.fitting.deadline))
        if best is None and rows:
            notes = (*notes, _tell_return([row["val_tempered_loss"] for row in rows], keeper.choices["start_loss"]))
        return Fitted(rows, notes, flow=self._told(flow) if flow is not None else None, went_back=best is None)

    def given_up(self, state: FitState, error: NotFinite) -> Fitted:
        """Ends with the best weights so far.

        Raises:
            NotFiniteError: There are none but those of the start, before which nothing was trained.
        """
        self.part.set_weights(state.best)
        best = state.facts["best"]["best_epoch"]
        if best is None and not self.phase.convex_head and not self.job.history.outcomes:
            raise NotFiniteError(
                f"Expected a finite loss. Received: {error}, after the peak rate was halved, and nothing was learnt "
                "before. Use a lower --learning-rate."
            )
        kept = "the weights it began with" if best is None else f"the weights of its epoch {best + 1}"
        note = (
            f"{GIVEN_UP} {error}, after the peak rate was halved. Phase {self.phase.name!r} ends with {kept}, the best "
            "so far. A lower --learning-rate may help."
        )
        rows = _rows(self.phase, state.facts["logs"], best)
        return Fitted(rows, (*choices_of(state).notes, note), went_back=best is None)

    def _told(self, flow: GradientFlow) -> dict[str, Any]:
        if flow.model is None:  # All epochs were done before this process began.
            flow.set_model(self.part)
            flow.on_train_begin()
        return describe_flow(self.phase.name, flow.record)


def _tell_return(losses: list[float], start: float) -> str:
    return (
        f"{WENT_BACK}: the lowest validation log-loss was {min(losses):.3g}, before training {start:.3g}, each at the "
        "temperature that suits it best. It ends with those weights. A lower --learning-rate or more epochs may help."
    )


def _tell_budget(epochs: int, wanted: int, seconds_over: float) -> str:
    told = f"The time budget ended it in epoch {epochs} of {wanted}; the rate fell to its end there."
    if seconds_over < LATE_SECONDS:
        return told
    return f"{told} It ended {tell_duration(seconds_over)} late: beginning alone takes longer than was left."


def _rows(phase: Phase, logs: list[dict[str, float]], best: int | None) -> tuple[dict[str, Any], ...]:
    """Rows of the history; losses of validation are log-losses, whatever was trained on."""
    return tuple(
        {
            "phase": phase.name,
            "epoch": epoch,
            "penalty": None,
            "learning_rate": of_epoch["learning_rate"],
            **{name: of_epoch[log] for name, log in LOGGED.items()},
            "best": epoch == best,
        }
        for epoch, of_epoch in enumerate(logs)
    )
