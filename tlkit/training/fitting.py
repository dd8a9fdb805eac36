"""Gradient training of the part of a model that a phase trains, within memory and time, best epoch kept."""

from __future__ import annotations

import math
from dataclasses import replace

import keras

from tlkit.config import AUTO
from tlkit.errors import InputError
from tlkit.features import has_accelerator
from tlkit.phases import Phase
from tlkit.regularisation import pulled_to_start
from tlkit.training.batch_statistics import keeping_up
from tlkit.training.choices import choices_of
from tlkit.training.datasets import Part, with_batch_size
from tlkit.training.gradient_training import Fitted, Fitting, train_part
from tlkit.training.job import Job
from tlkit.training.memory import available_bytes, fitting_batch_size, is_out_of_memory
from tlkit.training.precision import mixed_layers, mixed_precision, resolve_precision
from tlkit.training.saves import FitState


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
    saves, recipe = job.saves, job.recipe
    saves.deadline = deadline
    fitting = Fitting(train, validation, resolve_precision(recipe.precision), recipe.accumulate, deadline)
    if saves.resumed is not None:
        fitting = _as_before(part, fitting, saves.resumed)
    elif recipe.batch_size == AUTO:
        fitting = _fit_memory(part, fitting)
    start = part.get_weights()
    pull = pulled_to_start(part, recipe.l2_sp)
    with pull, mixed_precision(mixed_layers(job.model, part.layers), fitting.precision):
        while True:
            try:
                with keeping_up(part, fitting.train.steps):
                    return train_part(job, part, phase, fitting, start)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                fitting, saves.resumed = _halved(fitting), None
                part.set_weights(start)


def _as_before(part: keras.Model, fitting: Fitting, state: FitState) -> Fitting:
    """Returns how a training that is taken up was fitted, and gives the part the weights that it began with."""
    choices = choices_of(state)
    part.set_weights(state.start)
    train, validation = fitting.train, fitting.validation
    if choices.batch_size != train.batch_size:
        train, validation = (with_batch_size(data, choices.batch_size) for data in (train, validation))
    return replace(
        fitting, train=train, validation=validation, precision=choices.precision, accumulate=choices.accumulate
    )


def _fit_memory(part: keras.Model, fitting: Fitting) -> Fitting:
    """Makes batches as small as free memory wants, and accumulates what is missing."""
    if has_accelerator():
        return fitting  # Too large a batch is told there by an error, which halves it.
    available = available_bytes()
    if available is None:
        note = f"The free memory cannot be told on this system: batches of {fitting.train.batch_size}."
        return replace(fitting, notes=(*fitting.notes, note))
    size = fitting_batch_size(part, fitting.train.batch_size, available)
    if size == fitting.train.batch_size:
        note = f"Batches of {size}: {available / 1e9:.1f} GB of memory are free, and it takes less."
        return replace(fitting, notes=(*fitting.notes, note))
    return _with_batches(fitting, size, f"{available / 1e9:.1f} GB of memory are free")


def _halved(fitting: Fitting) -> Fitting:
    size = fitting.train.batch_size
    if size == 1:
        raise InputError(
            "Expected memory for one image at least. Received: an out-of-memory error at a batch size of 1. Use a "
            "smaller image_size, a smaller backbone, or train fewer stages."
        )
    return _with_batches(fitting, -(-size // 2), "The device has too little memory")


def _with_batches(fitting: Fitting, size: int, why: str) -> Fitting:
    accumulate = fitting.accumulate * -(-fitting.train.batch_size // size)
    note = f"{why}: batches of {size}, {accumulate} of them an update."
    train, validation = (with_batch_size(data, size) for data in (fitting.train, fitting.validation))
    return replace(fitting, train=train, validation=validation, accumulate=accumulate, notes=(*fitting.notes, note))
