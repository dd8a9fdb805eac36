"""Unfreezing that is tried, measured, and undone where it is not worth it; and the time it may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import pytest

import tlkit
from tlkit.activations import RowDataset
from tlkit.features import predict_in_order
from tlkit.phase_gains import Gain
from tlkit.phases import Phase
from tlkit.strategies import get_strategy, phases_for
from tlkit.training import Recipe, fine_tune
from tlkit.training.outcome import PhaseOutcome, gains_table, tell_outcome

Arrays = tuple[np.ndarray, np.ndarray]
Build = Callable[..., keras.Model]


def test_auto_is_the_head_then_trials() -> None:
    stages = [tlkit.strategies.Stage(name, name) for name in ("one", "two", "three")]
    phases = get_strategy("auto", stages, last_stages="two")
    assert [(phase.train_from, phase.only_if_better) for phase in phases] == [
        ("head", False),
        ("two", True),
        ("input", True),
    ]
    assert [phase.train_from for phase in get_strategy("auto", stages[:1])] == ["head", "input"]


def test_what_helps_is_kept_and_what_it_gained_is_told(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    train, validation = digits
    model = small_net()
    seen: list[PhaseOutcome] = []
    phases = [
        Phase("head", epochs=1, learning_rate=1e-6),
        Phase("last", "stage3", epochs=12, learning_rate=3e-3, only_if_better=True),
    ]
    history = fine_tune(model, train, validation_data=validation, strategy=phases, on_phase=seen.append)
    head, last = history.outcomes
    assert seen == [head, last]
    assert last.kept
    assert last.gain is not None
    low, high = last.gain.accuracy_interval
    assert 0.2 < low < last.gain.accuracy < high
    assert tell_outcome(last).startswith("Unfreezing from stage3 on gained +")
    np.testing.assert_allclose(predict_in_order(model, validation)[0], last.probabilities, atol=1e-5)
    table = gains_table(history.outcomes)
    assert table["phase"].tolist() == ["head", "last"]
    assert table.loc[1, "accuracy"] - table.loc[0, "accuracy"] == pytest.approx(table.loc[1, "gain"], abs=1e-6)


def test_what_does_not_help_is_undone(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    train, validation = digits
    frozen, model = small_net(), small_net()
    fine_tune(frozen, train, validation_data=validation)
    history = fine_tune(model, train, validation_data=validation, strategy="auto", epochs=1, learning_rate=1e-12)
    assert [outcome.kept for outcome in history.outcomes] == [True, False, False]
    for weight, expected in zip(model.get_weights(), frozen.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert [layer.name for layer in model.layers if layer.trainable and layer.weights] == ["head"]
    columns = history.history
    assert not any(best for phase, best in zip(columns["phase"], columns["best"], strict=True) if phase != "probe")
    assert "gained nothing, and what it began with stays" in tell_outcome(history.outcomes[1])
    assert gains_table(history.outcomes)["kept"].tolist() == [True, False, False]


def test_a_first_phase_is_held_against_the_model_as_it_came(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    train, validation = digits
    model = small_net()
    phase = Phase("all", "input", epochs=1, learning_rate=1e-12, only_if_better=True)
    history = fine_tune(model, train, validation_data=validation, strategy=[phase])
    assert [outcome.phase.name for outcome in history.outcomes] == ["start", "all"]
    assert [outcome.kept for outcome in history.outcomes] == [True, False]


class SlowRows(RowDataset):
    """Rows that take their time to come."""

    def __getitem__(self, index: int) -> Arrays:
        time.sleep(0.05 if self.shuffle else 0)  # Those to train on.
        return super().__getitem__(index)


@pytest.fixture
def slow_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlkit.training.phase_running.RowDataset", SlowRows)


def test_training_ends_when_its_time_does(digits: tuple[Arrays, Arrays], small_net: Build, slow_rows: None) -> None:
    """10 hours of epochs are asked for; the bound is generous, for the machine may be busy."""
    train, validation = digits
    phase = Phase("head", epochs=100_000, learning_rate=0.01)
    started = time.monotonic()
    history = fine_tune(
        small_net(), train, validation_data=validation, strategy=[phase], recipe=Recipe(time_budget=3)
    ).history
    assert time.monotonic() - started < 120
    assert history["phase"] == ["head"] * len(history["phase"])


def test_a_trial_that_is_too_long_is_not_begun(
    digits: tuple[Arrays, Arrays], small_net: Build, slow_rows: None
) -> None:
    """Two hundred batches of one image: an epoch of ten seconds, where three are left."""
    train, validation = digits
    model = small_net()
    phases = [replace(phase, epochs=phase.epochs and 2) for phase in phases_for(model, "auto")][:2]
    recipe = Recipe(time_budget=3, batch_size=1)
    history = fine_tune(model, train, validation_data=validation, strategy=phases, recipe=recipe)
    head, tried = history.outcomes
    assert head.kept
    assert tried.probabilities is None
    assert "--time-budget" in " ".join(tried.notes) or "No time was left" in " ".join(tried.notes)
    assert set(history.history["phase"]) == {"probe"}
    assert gains_table(history.outcomes)["phase"].tolist() == ["head"]
    np.testing.assert_allclose(predict_in_order(model, validation)[0], head.probabilities, atol=1e-5)


@pytest.mark.parametrize(
    ("accuracy", "log_loss", "kept", "told"),
    [
        ((0.05, -0.05, 0.15), (0.1, -0.1, 0.3), True, "kept for a lower log-loss, which may be chance: 50.0% of 2"),
        ((0.05, -0.05, 0.15), (0.1, 0.05, 0.2), True, "with probabilities that are better beyond noise: 50.0% of 2"),
        ((0.0, -0.1, 0.1), (-0.1, -0.2, 0.1), False, "was not worth it: 0.0 points (-10.0 to +10.0), and a log-loss"),
        ((-0.2, -0.3, -0.1), (0.1, 0.05, 0.2), False, "lost -20.0 points (-30.0 to -10.0); undone"),
    ],
)
def test_what_a_tried_phase_brought_is_told_with_its_reason(
    accuracy: tuple[float, float, float], log_loss: tuple[float, float, float], kept: bool, told: str
) -> None:
    gain = Gain(accuracy[0], accuracy[1:], log_loss[0], log_loss[1:])
    phase = Phase("everything", "input", epochs=1, only_if_better=True)
    outcome = PhaseOutcome(phase, np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]), gain, kept, 1.0)
    assert told in tell_outcome(outcome)
