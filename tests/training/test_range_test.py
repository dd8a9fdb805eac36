"""The range test: a rate that helps, also where next to nothing is left to be gained, and within its time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from tlkit.training import find_learning_rate, fine_tune
from tlkit.training.range_test import FEWEST_STEPS, HIGHEST, LOWEST, STEPS, suggested_rate

Arrays = tuple[np.ndarray, np.ndarray]
Build = Callable[..., keras.Model]
RATES = np.geomspace(1e-6, 1, 7).tolist()  # A decade apart.


@pytest.mark.parametrize(
    ("changes", "best"),
    [
        ([0, 0, -0.1, -0.4, -0.6, -0.2, 3], 1e-2),  # The lowest loss.
        ([0, 0, 0.001, -0.004, 0.01, 0.5, 3], 1e-2),  # Nothing is gained: the highest rate that does no harm.
        ([0.0, 0.3, 0.5, 1.0, 1.0, 1.0, 1.0], 1e-6),
    ],
)
def test_the_suggestion_is_a_tenth_of_the_best_rate(changes: list[float], best: float) -> None:
    assert suggested_rate(RATES, changes) == pytest.approx(best / 10)


def test_a_model_that_is_right_already_is_not_given_the_lowest_rate(
    digits: tuple[Arrays, Arrays], small_net: Build
) -> None:
    train, validation = digits
    model = small_net()
    fine_tune(model, train, validation_data=validation)
    model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy", jit_compile=False)
    assert find_learning_rate(model, train) > 100 * LOWEST


def test_slow_steps_are_fewer_and_reach_as_far(
    digits: tuple[Arrays, Arrays], small_net: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, _ = digits
    model = small_net()
    model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy", jit_compile=False)
    tried: list[float] = []
    step = model.train_on_batch

    def noting(*arguments: Any, **options: Any) -> Any:
        tried.append(float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))
        found = step(*arguments, **options)
        return found | {"loss": 1.0}  # So that it goes to the end.

    monkeypatch.setattr(model, "train_on_batch", noting)
    find_learning_rate(model, train)
    assert len(tried) == STEPS
    np.testing.assert_allclose(tried, np.geomspace(LOWEST, HIGHEST, STEPS), rtol=1e-5)
    tried.clear()
    find_learning_rate(model, train, seconds=0.0)
    assert len(tried) == FEWEST_STEPS
    assert tried[-1] == pytest.approx(HIGHEST)
