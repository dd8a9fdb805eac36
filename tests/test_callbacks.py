from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import pytest

from tlkit import callbacks
from tlkit.callbacks import BestWeights, EpochProgress, TimeBudget
from tlkit.optimizers import make_optimizer, warmup_cosine


def epochs(
    losses: list[float], initial_loss: float, patience: int | None = None, images: int = 10_000
) -> tuple[keras.Model, BestWeights, int]:
    """Ends epochs with validation losses, each with weights of its own, until training is stopped."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(inputs))
    model.set_weights([np.full((1, 1), -1.0)])
    best = BestWeights(initial_loss, images, patience)
    best.set_model(model)
    model.stop_training = False
    best.on_train_begin()
    done = 0
    for done, loss in enumerate(losses, start=1):
        model.set_weights([np.full((1, 1), done)])
        best.on_epoch_end(done - 1, {"val_tempered_log_loss": loss})
        if model.stop_training:
            break
    best.on_train_end()
    return model, best, done


def test_the_best_epoch_comes_back() -> None:
    model, best, done = epochs([0.9, 0.3, 0.5], initial_loss=1.0, patience=None)
    assert (best.best_epoch, done) == (1, 3)
    assert model.get_weights()[0].item() == 2


def test_the_start_comes_back_where_no_epoch_is_better() -> None:
    model, best, _ = epochs([0.9, 0.3, 0.5], initial_loss=0.2, patience=None)
    assert best.best_epoch is None
    assert model.get_weights()[0].item() == -1


@pytest.mark.parametrize(("images", "best_epoch"), [(100, 3), (10_000, 1)])
def test_of_epochs_that_so_few_images_cannot_tell_apart_the_last_is_kept(images: int, best_epoch: int) -> None:
    """The fourth is 8 % above the lowest: a hundred images tell 10 % apart, ten thousand 1 %."""
    model, best, _ = epochs([0.9, 0.50, 0.60, 0.54, 0.56], initial_loss=1.0, images=images)
    assert best.best_epoch == best_epoch
    assert model.get_weights()[0].item() == best_epoch + 1


def test_losses_that_creep_up_are_held_against_the_lowest_of_all() -> None:
    losses = [0.50, 0.53, 0.56, 0.59]  # Each within 10 % of the one before.
    _, best, _ = epochs(losses, initial_loss=1.0, images=100)
    assert best.best_epoch == 1


def test_an_epoch_no_better_than_the_start_is_not_kept_however_few_the_images() -> None:
    _, best, _ = epochs([0.51], initial_loss=0.5, images=4)
    assert best.best_epoch is None


def test_patience_is_with_epochs_that_are_as_good_as_the_lowest() -> None:
    _, best, done = epochs([0.50, 0.54, 0.53, 0.52, 0.45], initial_loss=1.0, patience=2, images=100)
    assert (best.best_epoch, done) == (4, 5)


def test_patience_is_with_epochs_among_themselves() -> None:
    """Losses fall from epoch to epoch, and only the last is below that of the start."""
    _, best, done = epochs([0.9, 0.8, 0.7, 0.6, 0.1], initial_loss=0.2, patience=2)
    assert (best.best_epoch, done) == (4, 5)
    _, best, done = epochs([0.9, 0.1, 0.2, 0.3, 0.05], initial_loss=0.2, patience=2)
    assert (best.best_epoch, done) == (1, 4)


@dataclass
class Clock:
    """Time as the test wants it."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Simulated:
    """What training within a time budget came to."""

    seconds: float
    epochs: int
    last_rate: float
    budget: TimeBudget
    told: list[tuple[int, int]]


def simulate(monkeypatch: pytest.MonkeyPatch, seconds: float, step: float, whole_epoch: bool = False) -> Simulated:
    """Goes through up to 50 epochs of 20 steps, with a first step of 8 seconds and validation that takes 2."""
    clock = Clock()
    monkeypatch.setattr(callbacks, "time", clock)
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(make_optimizer("adamw", warmup_cosine(1.0, 1000, 0.1)), "mse")
    model.optimizer.build(model.trainable_variables)
    budget = TimeBudget(clock.now + seconds, 2.0, 20, 0.1, whole_epoch)
    budget.set_model(model)
    told: list[tuple[int, int]] = []
    progress = EpochProgress(lambda done, total: told.append((done, total)), budget)
    budget.set_params({"steps": 20, "epochs": 50})
    progress.set_params({"steps": 20, "epochs": 50})
    model.stop_training = False
    epoch, rate = 0, 0.0
    while epoch < 50 and not model.stop_training:
        budget.on_epoch_begin(epoch)
        for batch in range(20):
            clock.now += step if epoch or batch else 8.0
            rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
            model.optimizer.iterations.assign_add(1)
            budget.on_train_batch_end(batch)
            if model.stop_training:
                break
        budget.on_test_begin()
        clock.now += 2.0
        budget.on_test_end()
        budget.on_epoch_end(epoch)
        progress.on_epoch_end(epoch)
        epoch += 1
    return Simulated(clock.now - 1000.0, epoch, rate, budget, told)


@pytest.mark.parametrize("step", [0.1, 0.5, 3.0])
def test_a_time_budget_is_used_and_kept_and_the_rate_ends_low(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    """The budget ends in the middle of an epoch; one pass over validation is left to the caller."""
    found = simulate(monkeypatch, 200.0, step)
    used = found.seconds + 2.0
    assert 0.9 * 200 <= used <= 200 or found.epochs == 50
    assert found.last_rate < 0.1


def test_progress_counts_the_epochs_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    found = simulate(monkeypatch, 200.0, 0.5)
    assert found.epochs < 50
    assert all(abs(total - found.epochs) <= 1 for _, total in found.told)
    assert found.told[-1] == (found.epochs, found.epochs)
    assert [total for _, total in simulate(monkeypatch, 10_000.0, 0.1).told] == [50] * 50


def test_time_enough_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = simulate(monkeypatch, 10_000.0, 0.1)
    assert found.epochs == 50
    assert found.last_rate < 1e-4


def test_a_trial_gives_up_where_no_epoch_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    found = simulate(monkeypatch, 60.0, 30.0, whole_epoch=True)
    assert found.budget.gave_up
    assert found.seconds < 60 * 1.1
    assert found.budget.epoch_seconds == pytest.approx(602, rel=0.1)
    assert not simulate(monkeypatch, 60.0, 0.5, whole_epoch=True).budget.gave_up
