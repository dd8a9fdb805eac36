"""Optimizers of a phase: a rate for each depth, decay where it belongs, warm-up and a cosine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from tlkit.distribution import summed_over_devices
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


@dataclass(frozen=True)
class Accumulation:
    """Which batches are gathered into one update.

    Attributes:
        batches: Batches an update.
        per_epoch: Batches an epoch: the group that it ends in is applied, however small.
        last_share: Rows of an epoch's last batch over those of the others, above 0 up to 1.
    """

    batches: int
    per_epoch: int
    last_share: float = 1.0

    @property
    def updates_per_epoch(self) -> int:
        """Updates of the weights in an epoch."""
        return -(-self.per_epoch // self.batches)


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
    clip_norm: float | None = CLIP_NORM,
    ema: float | None = None,
    accumulation: Accumulation | None = None,
) -> keras.optimizers.Optimizer:
    """Makes an optimizer that moves each variable at its own share of the learning rate.

    The share multiplies the update, not the gradient: an Adam step does not depend on the gradient's scale. It
    multiplies the decay too, which belongs to the step.

    Args:
        name: One of `OPTIMIZERS`.
        learning_rate: A rate or a schedule; the length of a `CosineDecay` can be changed later, by `replan`.
        factors: Share of the rate by variable path; 1 for those not named.
        weight_decay: Decoupled decay, per unit of learning rate.
        not_decayed: Variables that are not decayed, such as biases and those of normalisation.
        clip_norm: Largest norm of all gradients together; None leaves them as they are.
        ema: Momentum of the exponential moving average of the weights, 0 to 1; None keeps no average.
        accumulation: Groups of batches that make one update; each batch makes one when None.

    Raises:
        InputError: The name is unknown.
    """
    if name not in OPTIMIZERS:
        raise unknown_name("optimizer", name, OPTIMIZERS)
    options: dict[str, Any] = {"learning_rate": learning_rate, "global_clipnorm": clip_norm}
    if weight_decay or name == "adamw":  # AdamW's own default would decay unasked.
        options["weight_decay"] = weight_decay
    if name == "sgd":
        options["momentum"] = MOMENTUM
    if ema is not None:
        options |= {"use_ema": True, "ema_momentum": ema}
    if accumulation is not None and accumulation.batches == 1:
        accumulation = None
    optimizer = _derive(OPTIMIZERS[name], dict(factors or {}), accumulation)(**options)
    if weight_decay and not_decayed:
        optimizer.exclude_from_weight_decay(var_list=not_decayed)
    return optimizer


def _derive(
    base: type[keras.optimizers.Optimizer], factors: dict[str, float], accumulation: Accumulation | None
) -> type[keras.optimizers.Optimizer]:
    """Derives an optimizer class with shares by variable; Keras builds one class for each phase."""

    class Layerwise(base):
        def build(self, variables: list) -> None:
            super().build(variables)
            self._factors = [factors.get(variable.path, 1.0) for variable in variables]
            if isinstance(self._learning_rate, keras.optimizers.schedules.CosineDecay):
                _make_length_variable(self)

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient, variable, learning_rate * self._factors[self._get_variable_index(variable)])

        def _clip_gradients(self, gradients: list) -> list:
            found = summed_over_devices(gradients)
            if found is None:
                return super()._clip_gradients(gradients)
            sums, devices = found  # Keras clips what each device has, and adds it up afterwards.
            return [None if one is None else one / devices for one in super()._clip_gradients(sums)]

        def _apply_weight_decay(self, variables: list) -> None:
            if not self.weight_decay:
                return
            for variable in variables:
                if self._use_weight_decay(variable):
                    factor = self._factors[self._get_variable_index(variable)]
                    rate = keras.ops.cast(self.learning_rate, variable.dtype) * factor
                    variable.assign(variable - variable * self.weight_decay * rate)

    derived = Layerwise if accumulation is None else _accumulating(Layerwise, accumulation)
    derived.__name__ = base.__name__
    return derived


def _make_length_variable(optimizer: keras.optimizers.Optimizer) -> None:
    """Makes the length of a schedule part of the optimizer's state, so that compiled steps see it change."""
    schedule = optimizer._learning_rate
    for name in ("decay_steps", "warmup_steps"):
        start = keras.initializers.Constant(getattr(schedule, name))
        setattr(schedule, name, optimizer.add_variable((), initializer=start, dtype="float32", name=name))


def replan(optimizer: keras.optimizers.Optimizer, updates: int, warmup: float | None = None) -> None:
    """Gives the warm-up and cosine of a built optimizer from `make_optimizer` another length.

    Args:
        optimizer: Made with a `CosineDecay`.
        updates: Updates in all, those done counted in.
        warmup: Share of them in which the rate rises; None leaves the warm-up as it is.
    """
    schedule = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
    if warmup is not None:
        schedule.warmup_steps.assign(max(round(updates * warmup), 1))
    schedule.decay_steps.assign(keras.ops.maximum(updates - schedule.warmup_steps, 1.0))


def averages(optimizer: keras.optimizers.Optimizer) -> list[tuple[Any, Any]]:
    """Returns (variable, its moving average) for each trained variable of a built optimizer made with `ema`."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return list(zip(inner._trainable_variables, inner._model_variables_moving_average, strict=True))


def _accumulating(
    base: type[keras.optimizers.Optimizer], accumulation: Accumulation
) -> type[keras.optimizers.Optimizer]:
    """Derives an optimizer that gathers gradients over groups of batches, the group an epoch ends in included.

    Keras's own `gradient_accumulation_steps` counts batches where schedules and averages should count updates, and
    leaves the last group of an epoch for the next one. Here nothing but the sums changes between updates.
    """

    class Accumulating(base):
        def build(self, variables: list) -> None:
            super().build(variables)
            self._kept = list(self.variables)
            self._sums = [self.add_variable_from_reference(variable, name="sum") for variable in variables]
            self._batches = self.add_variable((), initializer="zeros", dtype="int32", name="batches")
            self._rows = self.add_variable((), initializer="zeros", dtype="float32", name="rows")

        def _backend_apply_gradients(self, gradients: list, variables: list) -> None:
            done = keras.ops.convert_to_tensor(self._batches) + 1
            epoch_ends = keras.ops.equal(done, accumulation.per_epoch)
            due = keras.ops.logical_or(epoch_ends, keras.ops.equal(done % accumulation.batches, 0))
            share = keras.ops.where(epoch_ends, accumulation.last_share, 1.0)
            sums = [self._sums[self._get_variable_index(variable)] for variable in variables]
            for total, gradient in zip(sums, gradients, strict=True):
                total.assign(total + gradient * keras.ops.cast(share, total.dtype))
            self._rows.assign(self._rows + share)
            state = [*variables, *self._kept]
            before = [keras.ops.copy(keras.ops.convert_to_tensor(variable)) for variable in state]
            super()._backend_apply_gradients([total / self._rows for total in sums], variables)
            for variable, old in zip(state, before, strict=True):
                variable.assign(keras.ops.where(due, keras.ops.convert_to_tensor(variable), old))
            for total in (*sums, self._rows):
                value = keras.ops.convert_to_tensor(total)
                total.assign(keras.ops.where(due, keras.ops.zeros_like(value), value))
            self._batches.assign(keras.ops.where(epoch_ends, 0, done))
            # Keras adds 1 after every batch: what counts are updates.
            self._iterations.assign_add(keras.ops.cast(due, self._iterations.dtype) - 1)

    return Accumulating


def normalisation_and_biases(model: keras.Model) -> list:
    """Returns the trainable variables that weight decay should spare: vectors and scalars, not kernels."""
    return [variable for variable in model.trainable_variables if len(variable.shape) <= 1]
