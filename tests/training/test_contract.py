"""What every backbone and every phase keeps: exactly the declared weights move, and every phase can be saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import tlkit
from tlkit.backbones.registry import list_backbones
from tlkit.features import predict_in_order
from tlkit.phases import Phase
from tlkit.strategies import apply_phase, stages_of
from tlkit.training import fine_tune

Arrays = tuple[np.ndarray, np.ndarray]
Settle = Callable[[keras.Model, np.ndarray], None]
FAST = ("mobilenetv2",)


def smallest_members() -> list[object]:
    """The smallest backbone of each family; those that take long are marked."""
    families = {}
    for backbone in sorted(list_backbones(), key=lambda backbone: -backbone.parameters):
        families[backbone.family] = backbone.name
    return [
        pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in sorted(set(families.values()))
    ]


@pytest.fixture(scope="module")
def digits() -> Arrays:
    """Forty digits."""
    x, y = load_digits(return_X_y=True)
    return x[:40].reshape(-1, 8, 8), y[:40]


def pictures(digits: Arrays, size: int) -> Arrays:
    enlarged = digits[0].repeat(-(-size // 8), axis=1).repeat(-(-size // 8), axis=2)[:, :size, :size]
    return (enlarged[..., None] * 15.9).repeat(3, axis=3).astype("uint8"), digits[1]


def classifier(name: str) -> keras.Model:
    """Random weights."""
    keras.utils.set_random_seed(1)
    return tlkit.build_classifier(name, 10, image_size=tlkit.get_backbone(name).min_image_size, weights="none")


def phases(model: keras.Model) -> list[Phase]:
    """One of each kind, fewer in the fast checks."""
    stages = stages_of(model)
    # Small steps down the gradient itself, for an epoch to be better whatever the random features are.
    rate = {"epochs": 2, "learning_rate": 3e-2, "layer_decay": 0.3, "optimizer": "sgd"}
    every = [
        Phase("head", "head", **rate),
        Phase("last", stages[-1].name, **rate),
        Phase("all", "input", weight_decay=0.1, **rate),
        Phase("all with statistics", "input", batch_norm="trained", **rate),
    ]
    return every[1:3] if model.name.startswith(FAST) else every


def set_wrong_head(model: keras.Model) -> None:
    """A head that is sure of one class: whatever the body does, an epoch is better, and so is kept.

    Its kernel is not zero, for gradients to reach the body.
    """
    head = model.get_layer("head")
    kernel = np.random.default_rng(0).normal(0, 1e-3, head.kernel.shape)
    head.set_weights([kernel, np.eye(10)[0] * 8])


@pytest.mark.parametrize("name", smallest_members())
def test_exactly_what_each_phase_declares_moves(digits: Arrays, name: str, settle: Settle, tmp_path: Path) -> None:
    model = classifier(name)
    data = pictures(digits, model.input_shape[1])
    assert tlkit.evaluate(model, data)["log_loss"] == pytest.approx(np.log(10), abs=1e-4)
    for phase in phases(model):
        set_wrong_head(model)
        settle(model, data[0].astype("float32"))
        apply_phase(model, phase, stages_of(model))
        declared = {variable.path for variable in model.trainable_variables}
        statistics = {weight.path for weight in model.weights if "moving_" in weight.path}
        assert not declared & statistics
        if phase.batch_norm == "trained":
            declared |= statistics
        before = {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}
        fine_tune(model, data, validation_data=data, strategy=[phase])
        moved = {
            weight.path
            for weight in model.weights
            if not np.array_equal(keras.ops.convert_to_numpy(weight), before[weight.path])
        }
        assert moved <= declared, phase.name
        assert moved, phase.name
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(predict_in_order(model, data)[0], predict_in_order(loaded, data)[0])
