"""Compiling the part of a model that trains: loss, optimizer, and XLA where it is faster."""

from __future__ import annotations

import statistics
import time
from typing import Any

import keras
from keras import layers

from tlkit.features import batches, has_accelerator
from tlkit.optimizers import Accumulation, make_optimizer, normalisation_and_biases, warmup_cosine
from tlkit.phases import Phase
from tlkit.strategies import rate_factors
from tlkit.training.datasets import Part
from tlkit.training.job import Job
from tlkit.training.losses import LogLoss, TemperedLogLoss, make_loss
from tlkit.training.range_test import unchanged

TIMED_STEPS = 5
SHORTEST_TRIAL = 500  # Steps of a phase below which compiling twice costs more than the faster way saves.


def gives_probabilities(model: keras.Model) -> bool:
    """Tells whether the model's output went through softmax; the last layer says so."""
    activation = getattr(model.layers[-1], "activation", None)
    return isinstance(model.layers[-1], layers.Softmax) or activation is keras.activations.softmax


def gives_logits_or_softmax(model: keras.Model) -> bool:
    """Tells whether the model's output is what a softmax makes, or what it takes."""
    activation = getattr(model.layers[-1], "activation", None)
    return gives_probabilities(model) or activation in (None, keras.activations.linear)


def compile_part(
    job: Job, part: keras.Model, phase: Phase, train: Part, rate: float | None, precision: str, accumulate: int
) -> Accumulation:
    """Compiles what trains in a phase.

    Args:
        job: Of which model `part` is a part.
        part: The model that `fit` is called on.
        phase: What is asked for.
        train: The training data.
        rate: Peak of the warm-up and cosine; None for a plain rate that a range test sets.
        precision: As `resolve_precision` gives it.
        accumulate: Steps an update.

    Returns:
        How steps make updates.
    """
    from_logits = not gives_probabilities(job.model)
    accumulation = Accumulation(accumulate, train.steps, train.last_share)
    schedule: Any = 1e-6
    if rate is not None:
        schedule = warmup_cosine(rate, accumulation.updates_per_epoch * phase.epochs, phase.warmup)
    optimizer = make_optimizer(
        phase.optimizer,
        schedule,
        factors=rate_factors(job.model, phase, job.stages),
        weight_decay=phase.weight_decay,
        not_decayed=normalisation_and_biases(part),
        clip_norm=job.recipe.clip_norm,
        ema=job.recipe.ema,
        accumulation=accumulation,
    )
    if precision == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    metric = keras.metrics.CategoricalAccuracy if train.one_hot else keras.metrics.SparseCategoricalAccuracy
    part.compile(
        optimizer=optimizer,
        loss=make_loss(from_logits, train.one_hot, job.recipe.label_smoothing),
        metrics=[
            metric(name="accuracy"),
            LogLoss(job.num_classes, from_logits, train.one_hot, job.recipe.balance),
            TemperedLogLoss(job.num_classes, from_logits, train.one_hot, job.recipe.balance),
        ],
        jit_compile=_jit(job.recipe.jit, job.recipe.deterministic),
    )
    return accumulation


def _jit(asked: str, deterministic: bool) -> bool | str:
    """Returns what `compile` takes.

    On processors TensorFlow's steps are faster without XLA, several times so in networks of depthwise convolutions,
    and compile in seconds instead of minutes. JAX is slow without it everywhere.
    """
    if deterministic and keras.backend.backend() == "tensorflow":
        return False
    if asked in ("on", "off"):
        return asked == "on"
    return False if keras.backend.backend() == "tensorflow" and not has_accelerator() else "auto"


def choose_jit(job: Job, part: keras.Model, train: Part, epochs: int) -> str | None:
    """Measures, where it can pay, whether the compiled part is faster with XLA, and sets the faster.

    Returns:
        What was found, in a sentence; None where nothing was measured.
    """
    backend = keras.backend.backend()
    measurable = backend == "tensorflow" and has_accelerator() and not job.recipe.deterministic
    if job.recipe.jit != "auto" or not measurable or train.steps * epochs < SHORTEST_TRIAL:
        return None
    batch = next(iter(batches(train.data)))
    seconds = measure_jit(part, *batch)
    part.jit_compile = seconds[True] < seconds[False]
    part.make_train_function(force=True)
    part.make_test_function(force=True)
    return f"A step takes {1000 * seconds[True]:.0f} ms with XLA and {1000 * seconds[False]:.0f} ms without."


def measure_jit(part: keras.Model, x: Any, y: Any) -> dict[bool, float]:
    """Times training steps of a compiled model with and without XLA; weights and optimizer are left as they were.

    Args:
        part: Compiled.
        x: A batch of inputs.
        y: Its labels.

    Returns:
        Median seconds of a step, by whether XLA compiles it.
    """
    seconds = {}
    for jit in (False, True):
        part.jit_compile = jit
        part.make_train_function(force=True)
        with unchanged(part):
            taken = []
            for _ in range(TIMED_STEPS + 1):
                start = time.perf_counter()
                part.train_on_batch(x, y)
                taken.append(time.perf_counter() - start)
        seconds[jit] = statistics.median(taken[1:])
    return seconds
