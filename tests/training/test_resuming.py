"""A training that was broken off anywhere is taken up and ends as it would have; one that diverges goes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tlkit.augment import AugmentedDataset, preset
from tlkit.callbacks import BestWeights
from tlkit.errors import InputError
from tlkit.phases import Phase
from tlkit.training import FineTuneHistory, Recipe, Saving, fine_tune

SIZE = 16
PHASES = (
    Phase("head", convex_head=True, epochs=2, learning_rate=0.01),
    Phase("all", "input", epochs=3, learning_rate=0.01, patience=3, only_if_better=True),
)
STEPS = 5  # An epoch.


class Broken(Exception):
    """Stands for whatever breaks a training off."""


class BreakOff(keras.callbacks.Callback):
    """Raises at the n-th step of all."""

    def __init__(self, at: int):
        super().__init__()
        self.left = at

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.left -= 1
        if not self.left:
            raise Broken


class Poison(keras.callbacks.Callback):
    """Has the loss not be a number at the n-th steps of all."""

    def __init__(self, *steps: int):
        super().__init__()
        self.steps, self.done = steps, 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.done += 1
        if self.done in self.steps:
            self.model.trainable_variables[-1].assign(np.full(10, np.nan))


@dataclass
class Training:
    """What one training came to."""

    model: keras.Model
    history: FineTuneHistory
    rates: list[Any] = field(default_factory=list)

    @property
    def notes(self) -> str:
        return " ".join(note for outcome in self.history.outcomes for note in outcome.notes)


Train = Callable[..., Training]


def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(keras.layers.Rescaling(1 / 127.5, -1)(inputs))
    x = keras.layers.Dropout(0.3)(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x))
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))


@pytest.fixture
def train(digits: Any) -> Train:
    (x, y), (x_val, y_val) = digits

    def run(
        checkpoint: Saving | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        phases: Sequence[Phase] = PHASES,
        augmented: bool = False,
        **recipe: Any,
    ) -> Training:
        model, data = small(), (x[:80, ::2, ::2], y[:80])
        history = fine_tune(
            model,
            AugmentedDataset(data, preset("strong", SIZE, num_classes=10)) if augmented else data,
            validation_data=(x_val[:, ::2, ::2], y_val),
            strategy=phases,
            recipe=Recipe(batch_size=16, **recipe),
            callbacks=callbacks,
            checkpoint=checkpoint,
        )
        return Training(model, history)

    return run


def require_same(found: Training, expected: Training) -> None:
    """Weights, history and outcomes are those of the other training; small sums may come in another order."""
    for left, right in zip(found.model.get_weights(), expected.model.get_weights(), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-4)
    assert found.history.history.keys() == expected.history.history.keys()
    for name, column in expected.history.history.items():
        values = [[np.nan if value is None else value for value in of] for of in (found.history.history[name], column)]
        if isinstance(values[1][0], str):
            assert values[0] == values[1]
        else:
            np.testing.assert_allclose(*values, rtol=1e-3, atol=1e-5)
    for left, right in zip(found.history.outcomes, expected.history.outcomes, strict=True):
        assert (left.phase, left.kept) == (right.phase, right.kept)
        np.testing.assert_allclose(left.probabilities, right.probabilities, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "moments"),
    [
        ({}, (12,)),
        pytest.param({}, (3, 2 * STEPS + 1, 23), marks=pytest.mark.slow),
        pytest.param(
            {"ema": 0.9, "accumulate": 2, "balance": True, "label_smoothing": 0.1}, (3, 17), marks=pytest.mark.slow
        ),
        pytest.param({"record_gradients": True, "time_budget": 600.0, "l2_sp": 0.01}, (18,), marks=pytest.mark.slow),
        pytest.param({"augmented": True}, (8, 17), marks=pytest.mark.slow),
    ],
)
def test_a_training_that_was_broken_off_ends_as_it_would_have(
    train: Train, tmp_path: Path, options: dict[str, Any], moments: tuple[int, ...]
) -> None:
    expected = train(**options)
    for at in moments:
        saving = Saving(tmp_path / str(at), every_steps=2)
        with pytest.raises(Broken):
            train(saving, [BreakOff(at)], **options)
        found = train(saving, **options)
        require_same(found, expected)
        if expected.history.outcomes[-1].flow:
            flows = [training.history.outcomes[-1].flow for training in (found, expected)]
            assert flows[0]["steps"] == flows[1]["steps"]  # type: ignore[index]


def test_what_is_done_is_not_done_again(train: Train, tmp_path: Path) -> None:
    saving = Saving(tmp_path)
    expected = train(saving)
    files = {path.name for path in tmp_path.iterdir()}
    again = train(saving, [BreakOff(1)])
    require_same(again, expected)
    assert expected.history.saving["states"] > 5  # type: ignore[index]
    assert len(files) < 12


def test_a_damaged_state_costs_no_more_than_the_time_since_the_one_before(train: Train, tmp_path: Path) -> None:
    phases, saving = PHASES[1:], Saving(tmp_path, every_steps=2)
    with pytest.raises(Broken):
        train(saving, [BreakOff(8)], phases=phases)
    max(tmp_path.glob("state-*.npz")).write_text("{")
    found = train(saving, phases=phases)
    require_same(found, train(phases=phases))
    assert "was damaged" in found.notes


def test_another_setting_is_told_with_what_differs(train: Train, tmp_path: Path) -> None:
    with pytest.raises(Broken):
        train(Saving(tmp_path), [BreakOff(3)])
    with pytest.raises(InputError, match=r"recipe.ema was None and is 0.9. Give the same"):
        train(Saving(tmp_path), ema=0.9)


def test_a_loss_that_is_not_finite_goes_back_once_at_half_the_rate(train: Train, tmp_path: Path) -> None:
    phases = [Phase("all", "input", epochs=3, learning_rate=0.01)]
    plain, found = train(phases=phases), train(phases=phases, callbacks=[Poison(STEPS + 3)])
    assert "in phase 'all', epoch 2, step 3, at a learning rate of 0.0" in found.notes
    assert "Gone back to the end of epoch 1, at half the peak rate of 0.01" in found.notes
    rates, usual = (np.array(run.history.history["learning_rate"]) for run in (found, plain))
    np.testing.assert_allclose(rates[0], usual[0], rtol=1e-5)
    np.testing.assert_allclose(rates[1:], usual[1:] / 2, rtol=1e-5)
    assert all(np.isfinite(weight).all() for weight in found.model.get_weights())

    saving = Saving(tmp_path, every_steps=2)  # Also where it was broken off between the last good epoch and the loss.
    with pytest.raises(Broken):
        train(saving, [BreakOff(STEPS + 2)], phases=phases)
    require_same(train(saving, [Poison(1)], phases=phases), found)


def test_a_second_one_gives_up_and_keeps_the_best(train: Train) -> None:
    phases = [Phase("all", "input", epochs=3, learning_rate=0.01)]
    found = train(phases=phases, callbacks=[Poison(STEPS + 3, STEPS + 5)])
    assert "Given up" in found.notes
    assert "after the peak rate was halved" in found.notes
    assert len(found.history.epoch) == 1
    assert found.history.outcomes[-1].probabilities is not None
    plain = train(phases=[Phase("all", "input", epochs=3, learning_rate=0.01)], callbacks=[BestOnly(0)])
    for left, right in zip(found.model.get_weights(), plain.model.get_weights(), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-4)


class BestOnly(keras.callbacks.Callback):
    """Ends a training after an epoch."""

    def __init__(self, epoch: int):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch == self.epoch:
            self.model.stop_training = True


def test_data_with_an_order_of_their_own_go_on_after_whole_epochs(digits: Any, tmp_path: Path) -> None:
    class Theirs(keras.utils.PyDataset):
        def __len__(self) -> int:
            return STEPS

        def __getitem__(self, index: int) -> Any:
            rows = slice(16 * index, 16 * index + 16)
            return digits[0][0][rows, ::2, ::2], digits[0][1][rows]

    validation = (digits[1][0][:, ::2, ::2], digits[1][1])

    def run(callbacks: Sequence[keras.callbacks.Callback]) -> FineTuneHistory:
        phases, saving = [Phase("all", "input", epochs=3)], Saving(tmp_path, every_steps=1)
        options = {"strategy": phases, "callbacks": callbacks, "checkpoint": saving}
        return fine_tune(small(), Theirs(), validation_data=validation, **options)

    with pytest.raises(Broken):
        run([BreakOff(STEPS + 2)])
    history = run([])
    assert history.history["epoch"] == [0, 1, 2]
    assert any("in an order of their own" in note for note in history.outcomes[-1].notes)


def test_best_weights_go_on_with_what_they_know() -> None:
    before, after = BestWeights(1.0, 100, patience=2), BestWeights(0.5, 100, patience=2)
    inputs = keras.Input((1,))
    before.set_model(keras.Model(inputs, keras.layers.Dense(1)(inputs)))
    before.on_epoch_end(0, {"val_tempered_log_loss": 0.3})
    after.restore(before.to_facts(), before.best_weights)
    assert (after.to_facts(), after.best_epoch) == (before.to_facts(), 0)
