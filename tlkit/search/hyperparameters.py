"""A space in KerasTuner's terms."""

from __future__ import annotations

from typing import Any

import keras_tuner
from keras_tuner.src.engine.conditions import Parent
from keras_tuner.src.engine.hyperparameters import hp_types

from tlkit.search.parameters import Parameter
from tlkit.search.space import Space


def declare(hp: keras_tuner.HyperParameters, space: Space, *, grid: bool = False) -> dict[str, Any]:
    """Registers every hyperparameter of a space and returns the values that are active.

    Args:
        hp: What KerasTuner gives to `build`.
        space: What is searched.
        grid: Whether ranges become choices, as a grid search needs them.
    """
    values = {}
    for parameter in space.parameters:
        # `hp.conditional_scope` knows a parent only under the very conditions that the child has besides.
        value = hp._retrieve(_hyperparameter(parameter, grid))
        if value is not None:
            values[parameter.name] = value
    return values


def _hyperparameter(parameter: Parameter, grid: bool) -> Any:
    conditions = [Parent(name, list(allowed)) for name, allowed in parameter.when]
    values = parameter.grid() if grid else parameter.values
    if set(map(type, values)) == {bool} and len(values) == 2:
        return hp_types.Boolean(parameter.name, default=values[0], conditions=conditions)
    if values:
        return hp_types.Choice(parameter.name, list(values), default=values[0], conditions=conditions)
    kind = hp_types.Int if isinstance(parameter.low, int) else hp_types.Float
    return kind(
        parameter.name,
        min_value=parameter.low,
        max_value=parameter.high,
        step=parameter.step,
        sampling=parameter.sampling,
        conditions=conditions,
    )


def hyperparameters(space: Space, *, grid: bool = False) -> keras_tuner.HyperParameters:
    """Returns the whole space, every hyperparameter registered."""
    hp = keras_tuner.HyperParameters()
    declare(hp, space, grid=grid)
    return hp
