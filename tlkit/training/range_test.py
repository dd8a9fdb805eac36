"""The learning-rate range test: a rate that is large without harm, found in some dozen steps that leave no trace."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from tlkit.errors import InputError
from tlkit.features import batches

LOWEST, HIGHEST = 1e-6, 1.0
STEPS = 60  # Ten a decade.
SMOOTHING = 0.8  # Momentum of the mean over steps.
DIVERGED = 2.0  # Times the lowest smoothed loss (and 1 nat more) at which the test ends.
MARGIN = 10.0  # The rate of the lowest loss is the last that helped; a tenth of it is safe for a whole phase.


def find_learning_rate(model: keras.Model, data: Any, *, batch_size: int = 32) -> float:
    """Suggests a peak learning rate for a compiled model by a range test.

    The rate rises from 1e-6 to 1 step by step, evenly on a logarithmic scale, until the loss is far above its lowest;
    suggested is a tenth of the rate at which the smoothed loss was lowest. Model and optimizer are put back bit for
    bit. Source: L. N. Smith, "Cyclical learning rates for training neural networks", 2017.

    Args:
        model: Compiled, with an optimizer whose rate is a number, not a schedule.
        data: What `fit` takes; read from its beginning, again and again where it is short. A data set that counts
            its epochs should be a copy.
        batch_size: Used for arrays only.

    Raises:
        InputError: The model is not compiled, or its optimizer follows a schedule.
    """
    if not model.compiled or model.optimizer is None:
        raise InputError("Expected a compiled model. Received one that is not: call model.compile first.")
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not isinstance(inner._learning_rate, keras.Variable):
        raise InputError("Expected an optimizer with a number as its learning rate. Received: one with a schedule.")
    rates = np.geomspace(LOWEST, HIGHEST, STEPS)
    with unchanged(model):
        losses = _losses(model, itertools.cycle(_held(data, batch_size)), rates)
    return float(rates[int(np.argmin(losses))] / MARGIN)


def _held(data: Any, batch_size: int) -> list[tuple]:
    """The first batches of the data, as many as there are steps at most."""
    return list(itertools.islice(batches(data, batch_size), STEPS))


def _losses(model: keras.Model, cycle: Iterator[tuple], rates: np.ndarray) -> list[float]:
    """Smoothed loss at each rate, until it diverges."""
    smoothed: list[float] = []
    mean = 0.0
    for step, rate in enumerate(rates, start=1):
        model.optimizer.learning_rate = float(rate)
        x, y = next(cycle)
        model.reset_metrics()
        loss = float(model.train_on_batch(x, y, return_dict=True)["loss"])
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        value = mean / (1 - SMOOTHING**step)
        if not math.isfinite(value) or (smoothed and value > DIVERGED * min(smoothed) + 1):
            break
        smoothed.append(value)
    return smoothed or [math.inf]


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
