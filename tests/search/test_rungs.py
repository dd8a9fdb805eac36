"""A training that stops on a rung and goes on from there has the schedule and optimizer of one that did not stop."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from tlkit.phases import INPUT, Phase
from tlkit.search.rungs import Rung
from tlkit.training import fine_tune
from tlkit.training.outcome import FineTuneHistory

PHASE = Phase("body", INPUT, epochs=4, learning_rate=3e-3, batch_norm="trained")
Arrays = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def digits() -> tuple[Arrays, Arrays]:
    x, y = load_digits(return_X_y=True)
    images = (x.reshape(-1, 8, 8, 1) * 15.9).astype("float32")
    return (images[:256], y[:256]), (images[256:384], y[256:384])


def small_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(8, 3, activation="relu", name="first")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(10, activation="softmax")(x))


def train(model: keras.Model, digits: tuple[Arrays, Arrays], *callbacks: keras.callbacks.Callback) -> FineTuneHistory:
    return fine_tune(model, digits[0], validation_data=digits[1], strategy=(PHASE,), callbacks=callbacks)


def test_a_rung_goes_on_where_the_lower_one_stopped(digits: tuple[Arrays, Arrays], tmp_path: Path) -> None:
    whole = train(small_model(), digits).history
    lower, higher = tmp_path / "lower.npz", tmp_path / "higher.npz"
    model = small_model()
    first = train(model, digits, Rung(2, 0, None, lower)).history
    second = train(model, digits, Rung(4, 2, lower, higher)).history
    assert first["epoch"] == [0, 1]
    assert second["epoch"] == [0, 1]
    assert first["loss"] == pytest.approx(whole["loss"][:2], rel=1e-3)
    # The schedule is that of the whole phase: its steps are part of what was kept.
    assert [*first["learning_rate"], *second["learning_rate"]] == pytest.approx(whole["learning_rate"], rel=1e-3)
    assert second["val_loss"][0] < first["val_loss"][-1]
    assert second["val_loss"][-1] == pytest.approx(whole["val_loss"][-1], rel=0.1)
    with np.load(lower) as early, np.load(higher) as late:
        assert int(late["optimizer_0"]) == 2 * int(early["optimizer_0"]) > 0
