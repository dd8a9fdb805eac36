"""The learning-rate range test: a rate that is large without harm, found in some dozen steps that leave no trace."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from tlkit.errors import InputError
from tlkit.features import batches

LOWEST, HIGHEST = 1e-6, 1.0
STEPS = 60  # Ten a decade.
FEWEST_STEPS = 20  # Where time is short.
HELD = 10  # Batches at most, seen in turn: their first losses, at rates that change nothing, are what later ones miss.
SMOOTHING = 0.8  # Momentum of the mean over steps.
DIVERGED = 2.0  # Times the first losses (and 1 nat more) at which the test ends.
NOTICED = 0.02  # Share of the first losses below which a change counts as none.
MARGIN = 10.0  # The rate of the lowest loss is the last that helped; a tenth of it is safe for a whole phase.


def find_learning_rate(model: keras.Model, data: Any, *, batch_size: int = 32, seconds: float = math.inf) -> float:
    """Suggests a peak learning rate for a compiled model by a range test.

    The rate rises from 1e-6 to 1 step by step, evenly on a logarithmic scale, until the loss is far above what it was.
    Each batch's loss is held against its own first one, for batches differ more than a model that is nearly right can
    still gain. Suggested is a tenth of the rate at which the smoothed difference was lowest, or, where nothing was
    gained at any rate, of the highest that did no harm. Model and optimizer are put back bit for bit. Source:
    L. N. Smith, "Cyclical learning rates for training neural networks", 2017.

    Args:
        model: Compiled, with an optimizer whose rate is a number, not a schedule.
        data: What `fit` takes; its first batches are used, again and again. A data set that counts its epochs should
            be a copy.
        batch_size: Used for arrays only.
        seconds: That it should take; where steps are slow there are fewer, at least 20, further apart.

    Raises:
        InputError: The model is not compiled, or its optimizer follows a schedule.
    """
    if not model.compiled or model.optimizer is None:
        raise InputError("Expected a compiled model. Received one that is not: call model.compile first.")
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not isinstance(inner._learning_rate, keras.Variable):
        raise InputError("Expected an optimizer with a number as its learning rate. Received: one with a schedule.")
    held = list(itertools.islice(batches(data, batch_size), HELD))
    with unchanged(model):
        rates, changes = _changes(model, held, time.monotonic() + seconds)
    return suggested_rate(rates, changes)


def suggested_rate(rates: Sequence[float], changes: Sequence[float]) -> float:
    """Returns the rate that a range test suggests.

    Args:
        rates: Tried, rising.
        changes: Of the smoothed loss at each, as shares of what it was; negative where it fell.
    """
    best = int(np.argmin(changes))
    if changes[best] > -NOTICED:
        harmful = next((index for index, change in enumerate(changes) if change > NOTICED), len(changes))
        best = max(harmful - 1, 0)
    return float(rates[best] / MARGIN)


def _changes(model: keras.Model, held: list[tuple], deadline: float) -> tuple[list[float], list[float]]:
    """Returns rates and the smoothed change of the loss at each, as a share of the first losses, until it diverges."""
    rates, changes, first = list[float](), list[float](), list[float]()
    mean, rate, steps = 0.0, LOWEST, STEPS
    while len(rates) < steps:
        model.optimizer.learning_rate = rate
        began = time.monotonic()
        model.reset_metrics()
        place = len(rates) % len(held)
        loss = float(model.train_on_batch(*held[place], return_dict=True)["loss"])
        if len(first) < len(held):
            first.append(loss)
        mean = SMOOTHING * mean + (1 - SMOOTHING) * (loss - first[place])
        change = mean / (1 - SMOOTHING ** (len(rates) + 1))
        scale = float(np.mean(first))
        if not math.isfinite(change) or change > (DIVERGED - 1) * scale + 1:
            break
        rates.append(rate)
        changes.append(change / max(scale, 1e-12))
        if rates[1:]:  # The first step includes the compilation.
            now = time.monotonic()
            fitting = len(rates) + int((deadline - now) / max(now - began, 1e-9)) if deadline < math.inf else STEPS
            steps = min(STEPS, max(fitting, FEWEST_STEPS))
        rate *= (HIGHEST / rate) ** (1 / max(steps - len(rates), 1))
    return (rates, changes) if rates else ([LOWEST], [0.0])


@contextmanager
def unchanged(model: keras.Model) -> Iterator[None]:
    """Puts a compiled model and its optimizer back, bit for bit, after the block; seeds of dropout included."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
