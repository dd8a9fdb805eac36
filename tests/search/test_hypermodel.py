"""`TransferHyperModel` under KerasTuner's own tuners: real networks, real digits."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest
from sklearn.datasets import load_digits

from tlkit.errors import InputError
from tlkit.search import TransferHyperModel, read_space
from tlkit.search.hyperparameters import declare, hyperparameters

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner", "ignore::UserWarning:keras_tuner")

Arrays = tuple[np.ndarray, np.ndarray]
HELD = {"epochs": 2, "strategy": "frozen"}


@pytest.fixture(scope="module")
def digits() -> tuple[Arrays, Arrays]:
    """Zeros, ones and twos at 32 pixels: 90 for training, 45 for validation."""
    x, y = load_digits(return_X_y=True)
    rows = np.flatnonzero(y < 3)[:135]
    images = np.repeat(np.repeat(x[rows].reshape(-1, 8, 8, 1) * 15.9, 4, axis=1), 4, axis=2).repeat(3, axis=3)
    return (images[:90].astype("uint8"), y[rows[:90]]), (images[90:].astype("uint8"), y[rows[90:]])


def test_every_hyperparameter_is_registered_with_its_conditions() -> None:
    space = read_space("full")
    hp = hyperparameters(space)
    assert [one.name for one in hp.space] == [one.name for one in space.parameters]
    assert hp.values["strategy"] == "frozen"
    assert "learning_rate" not in hp.values
    hp.values = {"strategy": "full", "augment": "none"}
    hp.ensure_active_values()
    active = declare(hp, space)
    assert 1e-4 <= active["learning_rate"] <= 1e-2
    assert "strength" not in active


def test_build_gives_a_plain_compiled_model(digits: tuple[Arrays, Arrays], tmp_path: Path) -> None:
    train, validation = digits
    hypermodel = TransferHyperModel(3, "quick", image_size=32, held=HELD)
    hp = keras_tuner.HyperParameters()
    model = hypermodel.build(hp)
    assert type(model).__name__ == "Functional"
    assert set(model.evaluate(*validation, verbose=0, return_dict=True)) == {"loss", "accuracy"}
    metrics = hypermodel.fit(hp, model, *train, validation_data=validation, verbose=0)
    assert metrics["val_accuracy"] > 0.8
    judged = model.evaluate(*validation, verbose=0, return_dict=True)
    assert judged["accuracy"] == pytest.approx(metrics["val_accuracy"], abs=0.03)
    assert judged["loss"] == pytest.approx(metrics["val_loss"], rel=0.02)
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").count_params() == model.count_params()


def test_what_the_recipe_decides_is_not_taken_from_fit(digits: tuple[Arrays, Arrays]) -> None:
    hypermodel = TransferHyperModel(3, "quick", image_size=32, held=HELD)
    with pytest.raises(InputError, match="batch_size"):
        hypermodel.fit(keras_tuner.HyperParameters(), None, *digits[0], validation_data=digits[1], batch_size=8)
    with pytest.raises(InputError, match="validation_data"):
        hypermodel.fit(keras_tuner.HyperParameters(), None, *digits[0])


@pytest.mark.parametrize("number", ["3", 1, True, 3.0])
def test_classes_are_counted(number: object) -> None:
    with pytest.raises(InputError, match="num_classes to be a whole number, at least 2"):
        TransferHyperModel(number)  # type: ignore[arg-type]


def test_the_size_is_that_of_the_data() -> None:
    with pytest.raises(InputError, match=r"varies neither image_size.*Received: image_size"):
        TransferHyperModel(3, read_space("full"))


def test_an_option_that_a_run_has_not_cannot_be_held() -> None:
    with pytest.raises(InputError, match="Did you mean 'epochs'"):
        TransferHyperModel(3, held={"epoch": 3})


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"validation_data": None}, "Expected validation_data"),
        ({"shuffle": False}, "Received: shuffle"),
        ({"y": np.arange(90) % 5}, "from 0 to 2. Received: 0 to 4"),
        ({"y": None}, "without labels"),
        ({"x": np.zeros((90, 48, 48, 3), "uint8")}, "images of shape"),
    ],
)
def test_a_mistake_of_the_caller_ends_the_search(
    digits: tuple[Arrays, Arrays], tmp_path: Path, given: dict[str, object], part: str
) -> None:
    train, validation = digits
    hypermodel = TransferHyperModel(3, "quick", image_size=32, held=HELD)
    objective = keras_tuner.Objective("val_accuracy", "max")
    tuner = keras_tuner.RandomSearch(hypermodel, objective, max_trials=2, directory=tmp_path, project_name="search")
    with pytest.raises(InputError, match=part):
        tuner.search(**({"x": train[0], "y": train[1], "validation_data": validation} | given))


def test_one_hot_labels_are_labels_with_augmentation_too(digits: tuple[Arrays, Arrays]) -> None:
    train, validation = ((x, np.eye(3)[y]) for x, y in digits)
    hypermodel = TransferHyperModel(3, "quick", image_size=32, held=HELD | {"augment": "light"})
    hp = keras_tuner.HyperParameters()
    metrics = hypermodel.fit(hp, hypermodel.build(hp), *train, validation_data=validation)
    assert metrics["val_accuracy"] > 0.7


def test_classes_without_an_image_are_told(digits: tuple[Arrays, Arrays]) -> None:
    hypermodel = TransferHyperModel(7, "quick", image_size=32, held=HELD)
    hp = keras_tuner.HyperParameters()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hypermodel.fit(hp, hypermodel.build(hp), *digits[0], validation_data=digits[1])
    assert "no training image is of 3, 4, 5, 6" in "\n".join(str(one.message) for one in caught)


def test_a_tuner_searches_and_gives_back_its_best_model(digits: tuple[Arrays, Arrays], tmp_path: Path) -> None:
    train, validation = digits
    hypermodel = TransferHyperModel(3, "quick", image_size=32, held=HELD)
    tuner = keras_tuner.RandomSearch(
        hypermodel,
        keras_tuner.Objective("val_log_loss", "min"),
        max_trials=2,
        seed=1,
        directory=tmp_path,
        project_name="search",
    )
    tuner.search(*train, validation_data=validation, verbose=0)
    trials = tuner.oracle.get_best_trials(2)
    assert {trial.status for trial in trials} == {"COMPLETED"}
    assert {trial.hyperparameters.values["pooling"] for trial in trials} == {"avg", "both"}
    best = tuner.get_best_models()[0]
    labels = best.predict(validation[0], verbose=0).argmax(axis=1)
    assert np.mean(labels == validation[1]) == pytest.approx(trials[0].metrics.get_best_value("val_accuracy"), abs=0.03)


@pytest.mark.slow
def test_hyperband_goes_on_from_the_lower_rung(digits: tuple[Arrays, Arrays], tmp_path: Path) -> None:
    train, validation = digits
    held = {"strategy": "partial", "augment": "none", "pooling": "avg"}
    tuner = keras_tuner.Hyperband(
        TransferHyperModel(3, "quick", image_size=32, held=held),
        keras_tuner.Objective("val_log_loss", "min"),
        max_epochs=3,
        seed=1,
        directory=tmp_path,
        project_name="search",
    )
    tuner.search(*train, validation_data=validation, verbose=0)
    trials = tuner.oracle.trials.values()
    assert {trial.status for trial in trials} == {"COMPLETED"}
    promoted = [trial for trial in trials if "tuner/trial_id" in trial.hyperparameters.values]
    assert promoted
    for trial in promoted:
        below = tuner.oracle.trials[trial.hyperparameters.values["tuner/trial_id"]]
        assert trial.score <= below.score * 1.001  # It began with those weights, and keeps its best epoch.


def test_a_space_that_varies_what_is_held_is_told() -> None:
    with pytest.raises(InputError, match="Received: strategy"):
        TransferHyperModel(3, read_space("quick"), image_size=32, held={"strategy": "partial", "epochs": 1})
    space = read_space("quick", given={"strategy": "partial"})
    assert TransferHyperModel(3, space, image_size=32, held={"strategy": "partial"}).default().training.strategy == (
        "partial"
    )
