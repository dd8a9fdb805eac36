"""What is recorded while a network trains: the flow of gradients, the user's own callbacks, TensorBoard's files."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from tlkit.phases import Phase
from tlkit.training import fine_tune
from tlkit.training.recipe import Recipe

Arrays = tuple[np.ndarray, np.ndarray]
Build = Callable[..., keras.Model]
PHASES = (Phase("head", convex_head=True), Phase("body", "input", epochs=2, learning_rate=1e-3))


class Counting(keras.callbacks.Callback):
    """A user's callback: how often an epoch ended, and what was told of it."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[dict] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.epochs.append(dict(logs or {}))


def test_gradients_are_recorded_once_an_epoch_and_change_nothing(
    digits: tuple[Arrays, Arrays], small_net: Build
) -> None:
    models, histories = [], []
    for recorded in (True, False):
        keras.utils.set_random_seed(0)
        model = small_net()
        recipe = Recipe(record_gradients=recorded, jit="off")
        histories.append(fine_tune(model, digits[0], validation_data=digits[1], strategy=PHASES, recipe=recipe))
        models.append(model)
    for one, other in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [outcome.flow for outcome in histories[1].outcomes] == [None, None]
    head, body = (outcome.flow for outcome in histories[0].outcomes)
    assert head is None
    assert body is not None
    assert body["phase"] == "body"
    assert len(body["steps"]) == 2
    assert body["layers"][-1] == "head"
    assert (np.array(body["gradient_rms"]) > 0).all()
    assert (np.array(body["update_ratio"])[1] > 0).all()


def test_callbacks_of_the_user_are_called(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    counting = Counting()
    fine_tune(small_net(), digits[0], validation_data=digits[1], strategy=PHASES, callbacks=[counting])
    assert len(counting.epochs) == 2
    assert "val_loss" in counting.epochs[0]
