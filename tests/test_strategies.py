from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import tlkit
from tlkit import strategies
from tlkit.config import STRATEGIES
from tlkit.errors import InputError
from tlkit.graph import split_model
from tlkit.phases import Phase
from tlkit.strategies import apply_phase, check_phases, cut_of, get_strategy, phases_for, rate_factors, stages_of
from tlkit.training import fine_tune

Arrays = tuple[np.ndarray, np.ndarray]
STAGES = tlkit.get_backbone("mobilenetv2").stages


@pytest.fixture(scope="module")
def digits() -> tuple[Arrays, Arrays]:
    """Digits as 32 px colour images, 64 to train on and 32 to validate."""
    x, y = load_digits(return_X_y=True)
    images = np.kron(x.reshape(-1, 8, 8) * 15.9, np.ones((4, 4)))[:96, :, :, None].repeat(3, axis=3).astype("uint8")
    return (images[:64], y[:64]), (images[64:], y[64:96])


def classifier(name: str = "mobilenetv2") -> keras.Model:
    """A real network with random weights, small pictures and BatchNormalization statistics that are not the initial."""
    keras.utils.set_random_seed(1)
    return tlkit.build_classifier(name, 10, image_size=32, weights="none")


def test_stages_are_those_of_the_registry() -> None:
    model = classifier()
    assert stages_of(model) == tlkit.get_backbone("mobilenetv2").stages


def test_stages_of_a_users_model_are_found() -> None:
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, name="a")(inputs)
    x = keras.layers.Conv2D(4, 3, strides=2, name="b")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(x), name="mine")
    assert [stage.layer for stage in stages_of(model)] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("frozen", ["head"]),
        ("partial", ["head", "two"]),
        ("gradual", ["head", "three", "two"]),
        ("full", ["head", "input"]),
        ("scratch", ["input"]),
    ],
)
def test_strategies_are_tuples_of_phases(name: str, expected: list[str]) -> None:
    stages = [strategies.Stage(stage, stage) for stage in ("one", "two", "three")]
    phases = get_strategy(name, stages, last_stages="two")
    assert [phase.train_from for phase in phases] == expected
    assert all(Phase.from_dict(phase.to_dict()) == phase for phase in phases)


def test_given_epochs_and_rates_reach_every_gradient_phase() -> None:
    stages = [strategies.Stage("one", "one"), strategies.Stage("two", "two")]
    head, body = get_strategy("partial", stages, epochs=3, learning_rate=0.5)
    assert (head.epochs, body.epochs, body.learning_rate) == (0, 3, 0.5)
    assert get_strategy("frozen", epochs=4)[0].epochs == 4


@pytest.mark.parametrize("name", STRATEGIES)
def test_augmented_pictures_have_twice_the_epochs_unless_these_are_given(name: str) -> None:
    plain, augmented, given = (
        get_strategy(name, STAGES, **options) for options in ({}, {"augmented": True}, {"augmented": True, "epochs": 7})
    )
    for one, other, told in zip(plain, augmented, given, strict=True):
        assert other.epochs == 2 * one.epochs
        assert other.patience == (None if one.patience is None else 2 * one.patience)
        assert told.epochs == (7 if one.epochs or name == "frozen" else 0)


@pytest.mark.parametrize(("epochs", "patience"), [(None, 5), (3, 5), (10, 5), (30, 15), (31, 16)])
def test_longer_phases_have_more_patience(epochs: int | None, patience: int) -> None:
    assert get_strategy("full", epochs=epochs)[1].patience == patience
    assert get_strategy("full", epochs=epochs, patience=2)[1].patience == 2
    assert get_strategy("frozen", epochs=epochs)[0].patience is None


def test_first_loss_of_a_fresh_head_is_that_of_even_odds(digits: tuple[Arrays, Arrays]) -> None:
    _, validation = digits
    assert tlkit.evaluate(classifier(), validation)["log_loss"] == pytest.approx(np.log(10), abs=1e-4)


def test_rates_fall_with_depth() -> None:
    model = classifier()
    phase = Phase("all", "input", layer_decay=0.5)
    stages = stages_of(model)
    apply_phase(model, phase, stages)
    factors = rate_factors(model, phase, stages)
    assert factors["head/kernel"] == 1.0
    assert factors["Conv_1/kernel"] == 1.0
    first = next(layer for layer in model.layers if layer.trainable_variables)
    assert factors[first.trainable_variables[0].path] == 0.5 ** (len(stages) - 1)


def test_partial_starts_where_the_last_resolution_does() -> None:
    model = classifier("resnet50")
    assert strategies.stages_at_last_resolution(model, stages_of(model)) == "conv5"


@pytest.mark.parametrize("train_from", ["top", "block16", "blocks13_15"])
def test_every_stage_is_a_legal_cut(train_from: str) -> None:
    model = classifier()
    cut = cut_of(model, Phase("x", train_from), stages_of(model))
    assert cut is not None
    split_model(model, cut)


def stage_list() -> list[strategies.Stage]:
    return [strategies.Stage(stage, stage) for stage in ("one", "two", "three")]


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("partail", {}, "Did you mean 'partial'"),
        ("partial", {"last_stages": "tow"}, "Did you mean 'two'"),
        ("partial", {"epoch": 3}, "Did you mean 'epochs'"),
        ("partial", {"learning_rate": -1.0}, "learning_rate greater than 0"),
        ("full", {"optimizer": "adamv"}, "Did you mean 'adam'"),
    ],
)
def test_strategies_that_do_not_exist(name: str, options: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        get_strategy(name, stage_list(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("phases", "told"),
    [
        ([], "at least one phase"),
        ([Phase("x")], "epochs or convex_head=True. Received: neither"),
        ([Phase("x", "block_16", epochs=1)], "Did you mean 'block16'"),
        ([Phase("x", "stem", epochs=1)], "would train everything. To train everything, say so"),
    ],
)
def test_phases_that_would_go_wrong_are_told_before_anything_runs(phases: list[Phase], told: str) -> None:
    model = classifier()
    with pytest.raises(InputError, match=told) as caught:
        check_phases(model, phases, stages_of(model))
    assert "\n" not in str(caught.value)


def test_unfreezing_the_first_stage_by_name_is_refused_for_strategies_too(digits: tuple[Arrays, Arrays]) -> None:
    train, validation = digits
    with pytest.raises(InputError, match="would train everything"):
        fine_tune(classifier(), train, validation_data=validation, strategy="partial", train_from="stem")


def test_a_phase_that_trains_nothing_is_refused() -> None:
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, name="a")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Softmax()(x))
    with pytest.raises(InputError, match="no layer has weights"):
        check_phases(model, [Phase("x", epochs=1)], stages_of(model))


def test_a_model_of_one_stage_has_no_last_stages() -> None:
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="only")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    with pytest.raises(InputError, match="two stages at least"):
        phases_for(model, "partial")
    assert [phase.train_from for phase in phases_for(model, "auto")] == ["head", "input"]


def test_nan_in_arrays_is_told_with_its_place(digits: tuple[Arrays, Arrays]) -> None:
    (x, y), validation = digits
    broken = x.astype("float32")
    broken[5, 3, 3, 1] = np.nan
    with pytest.raises(InputError, match="NaN or infinity in training image 5"):
        fine_tune(classifier(), (broken, y), validation_data=validation)
