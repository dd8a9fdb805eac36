"""Gradient training of the part of a model that a phase trains, within memory and time, best epoch kept."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import keras

from tlkit.analysis.flow_callback import GradientFlow
from tlkit.analysis.flow_record import describe_flow
from tlkit.callbacks import AverageWeights, BestWeights, EpochProgress, FiniteLoss, RateLog, TimeBudget
from tlkit.config import AUTO
from tlkit.errors import InputError
from tlkit.features import batches, has_accelerator
from tlkit.phases import Phase
from tlkit.regularisation import pulled_to_start
from tlkit.training.compiling import choose_jit, compile_part
from tlkit.training.datasets import Part, class_weights, with_batch_size
from tlkit.training.job import Job
from tlkit.training.memory import available_bytes, fitting_batch_size, is_out_of_memory
from tlkit.training.precision import mixed_layers, mixed_precision, resolve_precision
from tlkit.training.range_test import find_learning_rate


@dataclass(frozen=True)
class Fitting:
    """How a phase's part is fitted; memory may change it.

    Attributes:
        train: Training data.
        validation: Validation data.
        precision: As `resolve_precision` gives it.
        accumulate: Steps an update.
        deadline: When it must have ended, as `time.monotonic()` tells time.
    """

    train: Part
    validation: Part
    precision: str
    accumulate: int
    deadline: float


@dataclass(frozen=True)
class Fitted:
    """What came of it.

    Attributes:
        rows: Of the history, one an epoch.
        notes: What the user should know, one line each.
        flow: How gradients flowed, where that was recorded.
        gave_up: Seconds of an epoch, where not even one fitted in the time; else None.
    """

    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()
    gave_up: float | None = None
    flow: dict[str, Any] | None = None


def fit_part(
    job: Job, part: keras.Model, phase: Phase, train: Part, validation: Part, deadline: float = math.inf
) -> Fitted:
    """Compiles and fits the part of the model that trains, and keeps its best epoch.

    Where an accelerator has too little memory the batch is halved and twice as many are accumulated, from the weights
    that the phase began with. A processor's memory is looked at beforehand, for there the system ends the process.

    Args:
        job: Of which model `part` is a part.
        part: The model that `fit` is called on.
        phase: Already applied to the model.
        train: Training data.
        validation: Validation data.
        deadline: When it must have ended, as `time.monotonic()` tells time.

    Raises:
        InputError: The loss is not finite, or not even one image fits in memory.
    """
    fitting = Fitting(train, validation, resolve_precision(job.recipe.precision), job.recipe.accumulate, deadline)
    notes: list[str] = []
    if job.recipe.batch_size == AUTO:
        fitting = _fit_memory(part, fitting, notes)
    start = part.get_weights()
    pull = pulled_to_start(part, job.recipe.l2_sp)
    with pull, mixed_precision(mixed_layers(job.model, part.layers), fitting.precision):
        while True:
            try:
                fitted = _fit_once(job, part, phase, fitting)
                return replace(fitted, notes=(*notes, *fitted.notes))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                fitting = _halved(fitting, notes)
                part.set_weights(start)


def _fit_memory(part: keras.Model, fitting: Fitting, notes: list[str]) -> Fitting:
    """Makes batches as small as free memory wants, and accumulates what is missing."""
    if has_accelerator():
        return fitting  # Too large a batch is told there by an error, which halves it.
    available = available_bytes()
    if available is None:
        notes.append(f"The free memory cannot be told on this system: batches of {fitting.train.batch_size}.")
        return fitting
    size = fitting_batch_size(part, fitting.train.batch_size, available)
    if size == fitting.train.batch_size:
        return fitting
    return _with_batches(fitting, size, notes, f"{available / 1e9:.1f} GB of memory are free")


def _halved(fitting: Fitting, notes: list[str]) -> Fitting:
    size = fitting.train.batch_size
    if size == 1:
        raise InputError(
            "Expected memory for one image at least. Received: an out-of-memory error at a batch size of 1. Use a "
            "smaller image_size, a smaller backbone, or train fewer stages."
        )
    return _with_batches(fitting, -(-size // 2), notes, "The device has too little memory")


def _with_batches(fitting: Fitting, size: int, notes: list[str], why: str) -> Fitting:
    accumulate = fitting.accumulate * -(-fitting.train.batch_size // size)
    notes.append(f"{why}: batches of {size}, {accumulate} of them an update.")
    train, validation = (with_batch_size(data, size) for data in (fitting.train, fitting.validation))
    return replace(fitting, train=train, validation=validation, accumulate=accumulate)


def _fit_once(job: Job, part: keras.Model, phase: Phase, fitting: Fitting) -> Fitted:
    keras.utils.set_random_seed(job.seed)
    train, validation = fitting.train, fitting.validation
    notes: list[str] = []
    rate = phase.learning_rate
    if isinstance(rate, str):
        compile_part(job, part, phase, train, None, fitting.precision, 1)
        with job.step("Trying learning rates"):
            rate = find_learning_rate(part, train.data)
        notes.append(f"The range test chose a learning rate of {rate:.2g}.")
    accumulation = compile_part(job, part, phase, train, rate, fitting.precision, fitting.accumulate)
    found = choose_jit(job, part, train, phase.epochs)
    notes += [found] if found else []
    began = time.monotonic()
    start_loss = part.evaluate(validation.data, verbose=0, return_dict=True)["log_loss"]
    if not math.isfinite(start_loss):
        raise InputError(
            f"Expected a finite loss. Received: {start_loss} on the validation images before phase {phase.name!r}: "
            "NaN in the images or in the weights."
        )
    best = BestWeights(start_loss, phase.patience)
    callbacks: list[keras.callbacks.Callback] = [RateLog(), FiniteLoss(phase.name, rate), best]
    callbacks += [AverageWeights()] if job.recipe.ema is not None else []
    budget = None
    if fitting.deadline < math.inf:
        updates = accumulation.updates_per_epoch
        seconds = time.monotonic() - began
        budget = TimeBudget(fitting.deadline, seconds, updates, phase.warmup, phase.only_if_better)
        callbacks.append(budget)
    flow = GradientFlow(*next(iter(batches(train.data)))) if job.recipe.record_gradients else None
    callbacks += [flow] if flow else []
    logs = _call_fit(job, part, phase, fitting, callbacks)
    if budget is not None and budget.gave_up:
        return Fitted((), tuple(notes), budget.epoch_seconds)
    rows = tuple(_row(phase, logs, epoch, best.best_epoch) for epoch in range(len(logs["loss"])))
    return Fitted(rows, tuple(notes), flow=describe_flow(phase.name, flow.record) if flow else None)


def _call_fit(
    job: Job, part: keras.Model, phase: Phase, fitting: Fitting, callbacks: list[keras.callbacks.Callback]
) -> dict[str, list[float]]:
    weights = class_weights(fitting.train.labels, job.num_classes) if job.recipe.balance else None
    with job.step(f"Training {phase.name} for up to {phase.epochs} epochs", "epochs") as on_progress:
        return part.fit(
            fitting.train.data,
            shuffle=False,  # The data bring their own order, by seed and epoch.
            validation_data=fitting.validation.data,
            epochs=phase.epochs,
            class_weight=weights,
            callbacks=[*callbacks, *job.callbacks, *([EpochProgress(on_progress)] if on_progress else [])],
            verbose=0,
        ).history


def _row(phase: Phase, logs: dict[str, list[float]], epoch: int, best: int | None) -> dict[str, Any]:
    """One row of the history; the validation loss told is the log-loss that chose the best epoch."""
    columns = {"loss": "loss", "accuracy": "accuracy", "val_loss": "val_log_loss", "val_accuracy": "val_accuracy"}
    return {
        "phase": phase.name,
        "epoch": epoch,
        "penalty": None,
        "learning_rate": float(logs["learning_rate"][epoch]),
        **{name: float(logs[log][epoch]) for name, log in columns.items()},
        "best": epoch == best,
    }
