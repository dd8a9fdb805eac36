"""Training by phases is plain Keras training: the same weights as a loop written by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from tlkit.phases import Phase
from tlkit.training import Recipe, fine_tune

Arrays = tuple[np.ndarray, np.ndarray]
Build = Callable[..., keras.Model]
EPOCHS, RATE = 3, 0.01


def train_by_hand(model: keras.Model, trained: set[str], train: Arrays, validation: Arrays, **options: Any) -> None:
    for layer in model.layers:
        layer.trainable = layer.name in trained
    steps = EPOCHS * math.ceil(len(train[0]) / 32)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps - round(0.1 * steps), warmup_target=RATE, warmup_steps=round(0.1 * steps)
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=0.0, global_clipnorm=1.0, **options)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(), jit_compile=False)
    best = model.evaluate(*validation, verbose=0), model.get_weights()
    for epoch in range(EPOCHS):
        order = np.random.default_rng((0, epoch + 1)).permutation(len(train[0]))
        for rows in (order[start : start + 32] for start in range(0, len(order), 32)):
            model.train_on_batch(train[0][rows], train[1][rows])
        best = min(best, (model.evaluate(*validation, verbose=0), model.get_weights()), key=lambda found: found[0])
    model.set_weights(best[1])


@pytest.mark.parametrize(
    ("train_from", "trained"),
    [("head", {"head"}), ("stage3", {"second", "head"}), ("input", {"first", "second", "head"})],
)
def test_fine_tune_equals_a_loop_written_by_hand(
    digits: tuple[Arrays, Arrays], small_net: Build, train_from: str, trained: set[str]
) -> None:
    train, validation = digits
    ours, theirs = small_net(), small_net()
    start = ours.get_weights()
    phases = [Phase("phase", train_from, epochs=EPOCHS, learning_rate=RATE)]
    fine_tune(ours, train, validation_data=validation, strategy=phases)
    train_by_hand(theirs, trained, train, validation)
    for before, weight, expected in zip(start, ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-5)
        assert np.abs(weight - before).max() > 1e-3 or np.array_equal(weight, before)


def test_accumulated_training_is_training_in_large_batches(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    train, validation = digits
    phases = [Phase("all", "input", epochs=2, learning_rate=RATE)]
    whole, parts = small_net(), small_net()
    for model, recipe in ((whole, Recipe()), (parts, Recipe(batch_size=8, accumulate=4))):
        fine_tune(model, train, validation_data=validation, strategy=phases, recipe=recipe)
    for weight, expected in zip(parts.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-4)


def test_averaged_weights_are_what_is_validated_and_kept(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    """One epoch: what remains is the average over its updates, as Keras's own, and not the last weights."""
    train, validation = digits
    averaged, last, theirs = small_net(), small_net(), small_net()
    rate, momentum = 0.05, 0.5
    phases = [Phase("head", epochs=1, learning_rate=rate)]
    recipe = Recipe(ema=momentum)
    history = fine_tune(averaged, train, validation_data=validation, strategy=phases, recipe=recipe).history
    fine_tune(last, train, validation_data=validation, strategy=phases)
    for layer in theirs.layers:
        layer.trainable = layer.name == "head"
    schedule = keras.optimizers.schedules.CosineDecay(0.0, 6, warmup_target=rate, warmup_steps=1)
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=0.0, global_clipnorm=1.0, use_ema=True, ema_momentum=momentum
    )
    theirs.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(), jit_compile=False)
    order = np.random.default_rng((0, 1)).permutation(200)
    for rows in (order[start : start + 32] for start in range(0, 200, 32)):
        theirs.train_on_batch(train[0][rows], train[1][rows])
    optimizer.finalize_variable_values(theirs.trainable_variables)
    assert history["best"] == [True]
    kernels = [model.get_layer("head").get_weights()[0] for model in (averaged, theirs, last)]
    np.testing.assert_allclose(kernels[0], kernels[1], atol=1e-5)
    assert np.abs(kernels[0] - kernels[2]).max() > 1e-3
    assert history["val_loss"][0] == pytest.approx(theirs.evaluate(*validation, verbose=0), abs=1e-4)
