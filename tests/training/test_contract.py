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
    rate = {"epochs": 2, "learning_rate": 3e-2, "layer_decay": 0.3, "optimizer": "sgd"}
    every = [
        Phase("head", "head", **rate),
        Phase("last", stages[-1].name, **rate),
        Phase("all", "input", weight_decay=0.1, **rate),
        Phase("all with statistics", "input", weight_decay=0.1, batch_norm="trained", **rate),
    ]
    return every[1:3] if model.name.startswith(FAST) else every


def set_small_head(model: keras.Model) -> None:
    """A head whose kernel is not zero, for gradients to reach the body."""
    head = model.get_layer("head")
    head.set_weights([np.random.default_rng(0).normal(0, 1e-3, head.kernel.shape), np.zeros(10)])


def weights_of(model: keras.Model) -> dict[str, np.ndarray]:
    """The weights by path."""
    return {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}


def moved(model: keras.Model, before: dict[str, np.ndarray]) -> set[str]:
    """The paths of the weights that have changed."""
    return {path for path, value in weights_of(model).items() if not np.array_equal(value, before[path])}


class Watch(keras.callbacks.Callback):
    """Notes what has moved by the end of each epoch, whether the epoch is kept or not."""

    def __init__(self, whole: keras.Model) -> None:
        super().__init__()
        self.whole, self.before = whole, weights_of(whole)
        self.moved: set[str] = set()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.moved |= moved(self.whole, self.before)


@pytest.mark.parametrize("name", smallest_members())
def test_exactly_what_each_phase_declares_moves(digits: Arrays, name: str, settle: Settle, tmp_path: Path) -> None:
    model = classifier(name)
    data = pictures(digits, model.input_shape[1])
    assert tlkit.evaluate(model, data)["log_loss"] == pytest.approx(np.log(10), abs=1e-4)
    for phase in phases(model):
        set_small_head(model)
        settle(model, data[0].astype("float32"))
        apply_phase(model, phase, stages_of(model))
        declared = {variable.path for variable in model.trainable_variables}
        statistics = {weight.path for weight in model.weights if "moving_" in weight.path}
        assert not declared & statistics
        if phase.batch_norm == "trained":
            declared |= statistics
        watch = Watch(model)
        fine_tune(model, data, validation_data=data, strategy=[phase], callbacks=[watch])
        assert moved(model, watch.before) <= declared, phase.name
        assert watch.moved <= declared, phase.name
        # Scales near 1 cannot take steps below 6e-8, and far from a head of random weights there are such.
        still = {path for path in declared - watch.moved if not path.endswith("/gamma")}
        assert not still, phase.name
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(predict_in_order(model, data)[0], predict_in_order(loaded, data)[0])
