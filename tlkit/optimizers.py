"""Optimizers of a phase: a rate for each depth, decay where it belongs, warm-up and a cosine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from tlkit.errors import unknown_name

OPTIMIZERS: dict[str, type[keras.optimizers.Optimizer]] = {
    "adamw": keras.optimizers.AdamW,
    "adam": keras.optimizers.Adam,
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
    "lion": keras.optimizers.Lion,
}
MOMENTUM = 0.9  # For SGD, as in the recipes of the papers of the networks.
CLIP_NORM = 1.0  # Of all gradients together: it keeps their direction. Far above what a healthy step has at the end.


def warmup_cosine(peak: float, steps: int, warmup: float) -> keras.optimizers.schedules.CosineDecay:
    """Makes a schedule that rises linearly from 0 to `peak`, then falls to 0 along a half cosine.

    Args:
        peak: The highest rate.
        steps: Steps in all.
        warmup: Share of the steps spent rising, 0 to 1.
    """
    rising = max(round(steps * warmup), 1)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0, decay_steps=max(steps - rising, 1), warmup_target=peak, warmup_steps=rising
    )


def make_optimizer(
    name: str,
    learning_rate: Any,
    *,
    factors: Mapping[str, float] | None = None,
    weight_decay: float = 0.0,
    not_decayed: list | None = None,
) -> keras.optimizers.Optimizer:
    """Makes an optimizer that moves each variable at its own share of the learning rate.

    The share multiplies the update, not the gradient: an Adam step does not depend on the gradient's scale. It
    multiplies the decay too, which belongs to the step.

    Args:
        name: One of `OPTIMIZERS`.
        learning_rate: A rate or a schedule.
        factors: Share of the rate by variable path; 1 for those not named.
        weight_decay: Decoupled decay, per unit of learning rate.
        not_decayed: Variables that are not decayed, such as biases and those of normalisation.

    Raises:
        InputError: The name is unknown.
    """
    if name not in OPTIMIZERS:
        raise unknown_name("optimizer", name, OPTIMIZERS)
    options: dict[str, Any] = {"learning_rate": learning_rate, "global_clipnorm": CLIP_NORM}
    if weight_decay or name == "adamw":  # AdamW's own default would decay unasked.
        options["weight_decay"] = weight_decay
    if name == "sgd":
        options["momentum"] = MOMENTUM
    optimizer = _with_factors(OPTIMIZERS[name], dict(factors or {}))(**options)
    if weight_decay and not_decayed:
        optimizer.exclude_from_weight_decay(var_list=not_decayed)
    return optimizer


def _with_factors(base: type[keras.optimizers.Optimizer], factors: dict[str, float]) -> type:
    """Derives an optimizer class whose updates are scaled by variable; Keras builds one class for each phase."""

    class Layerwise(base):
        def build(self, variables: list) -> None:
            super().build(variables)
            self._factors = [factors.get(variable.path, 1.0) for variable in variables]

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient, variable, learning_rate * self._factors[self._get_variable_index(variable)])

        def _apply_weight_decay(self, variables: list) -> None:
            if not self.weight_decay:
                return
            for variable in variables:
                if self._use_weight_decay(variable):
                    factor = self._factors[self._get_variable_index(variable)]
                    rate = keras.ops.cast(self.learning_rate, variable.dtype) * factor
                    variable.assign(variable - variable * self.weight_decay * rate)

    Layerwise.__name__ = base.__name__
    return Layerwise


def normalisation_and_biases(model: keras.Model) -> list:
    """Returns the trainable variables that weight decay should spare: vectors and scalars, not kernels."""
    return [variable for variable in model.trainable_variables if len(variable.shape) <= 1]
