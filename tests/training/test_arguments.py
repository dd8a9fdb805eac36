"""What `fine_tune` is given that it cannot use: one line each, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from tlkit.errors import InputError
from tlkit.phases import Phase
from tlkit.training import Recipe, fine_tune
from tlkit.training.outcome import tell_outcome

Arrays = tuple[np.ndarray, np.ndarray]
Build = Callable[..., keras.Model]
PHASES = (Phase("all", "input", epochs=1),)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"validation_data": None}, "Expected validation_data"),
        ({"strategy": PHASES[0]}, "a tuple of tlkit.Phase. Received: a Phase"),
        ({"strategy": ("frozen",)}, "a tuple of tlkit.Phase"),
        ({"recipe": {"ema": 0.9}}, r"recipe=Recipe\(...\). Received: a dict"),
        ({"strategy": PHASES, "epochs": 5}, "epochs in the phases themselves.*epochs=5"),
        ({"strategy": PHASES, "learning_rate": -1.0}, "learning_rate in the phases themselves"),
        ({"strategy": "full", "epochs": 0}, "at least one epoch for strategy 'full'"),
        ({"strategy": "scratch", "epochs": 0}, "at least one epoch for strategy 'scratch'"),
    ],
)
def test_arguments_of_another_kind_are_told(
    digits: tuple[Arrays, Arrays], small_net: Build, options: dict[str, Any], told: str
) -> None:
    train, validation = digits
    with pytest.raises(InputError, match=told) as caught:
        fine_tune(small_net(), train, **{"validation_data": validation, **options})
    assert "\n" not in str(caught.value)


def test_images_of_another_shape_are_told(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    (x, y), validation = digits
    for images in (x[..., 0], x[:, :16, :16], x[..., :1]):
        with pytest.raises(InputError, match=r"training images of shape \(32, 32, 3\). Received: "):
            fine_tune(small_net(), (images, y), validation_data=validation)


def test_labels_that_are_no_numbers_are_told(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    (x, y), validation = digits
    with pytest.raises(InputError, match=r"values such as '0'. Number the classes"):
        fine_tune(small_net(), (x, y.astype(str)), validation_data=validation)


def test_a_single_unit_is_told(digits: tuple[Arrays, Arrays]) -> None:
    (x, y), _ = digits
    inputs = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(pooled))
    with pytest.raises(InputError, match=r"at least two.*Dense\(2\)"):
        fine_tune(model, (x, y % 2), validation_data=(x, y % 2))


def test_a_budget_in_words_is_told() -> None:
    with pytest.raises(InputError, match=r"time_budget as seconds, above 0. Received: '1m'"):
        Recipe(time_budget="1m")  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", ["frozen", "partial", "full"])
def test_a_sequential_model_serves(digits: tuple[Arrays, Arrays], strategy: str) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.GlobalMaxPooling2D(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    train, validation = digits
    before = [np.array(weight) for weight in model.get_weights()]
    history = fine_tune(model, train, validation_data=validation, strategy=strategy, epochs=None)
    assert history.outcomes[-1].probabilities is not None
    np.testing.assert_allclose(
        model.predict(validation[0], verbose=0), history.outcomes[-1].probabilities, rtol=1e-4, atol=1e-5
    )
    changed = [not np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True)]
    assert changed[-2:] == [True, True]
    assert strategy != "frozen" or not any(changed[:-2])


def test_a_sequential_model_that_is_not_built_is_told(digits: tuple[Arrays, Arrays]) -> None:
    train, validation = digits
    model = keras.Sequential([keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)])
    with pytest.raises(InputError, match=r"not built. Begin it with"):
        fine_tune(model, train, validation_data=validation)


# --- A loss that is not finite ------------------------------------------------


def test_a_body_that_was_given_up_is_told_so(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    train, validation = digits
    phases = (Phase("head", convex_head=True), Phase("all", "input", 1, 1e30, optimizer="sgd"))
    history = fine_tune(small_net(), train, validation_data=validation, strategy=phases, recipe=Recipe(clip_norm=1e30))
    assert tell_outcome(history.outcomes[-1]).startswith("Unfreezing everything was given up, for its loss was not")
