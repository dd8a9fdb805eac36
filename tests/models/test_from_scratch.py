"""Networks of the zoo through the same path as all others: `tlkit finetune --backbone scratch:...`."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import tlkit
from tlkit.auxiliary import AuxiliaryLosses, with_auxiliary_losses
from tlkit.cli import main
from tlkit.errors import InputError
from tlkit.graph import feature_layer, head_dense
from tlkit.strategies import auxiliary_layers, stages_of

AUXILIARY = ["The training loss holds those of 2 auxiliary heads, at a weight of 0.3; the validation loss does not."]


def digits(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits as colour pictures, each pixel a square."""
    x, y = load_digits(return_X_y=True)
    pictures = np.kron(x[:count].reshape(-1, 8, 8), np.ones((size // 8, size // 8))) * (255 / 16)
    return np.repeat(pictures[..., None], 3, axis=-1).astype("float32"), y[:count]


def test_digits_train_end_to_end_with_the_networks_own_defaults(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["--backbone", "scratch:lenet5", "--data", "builtin:digits", "--epochs", "12"]
    assert main(["finetune", *arguments, "--output", str(tmp_path / "run")]) == 0
    assert "Training everything from scratch" in capsys.readouterr().out
    config = tomllib.loads((tmp_path / "run/config.toml").read_text("utf-8"))
    assert (config["training"]["strategy"], config["model"]["weights"]) == ("scratch", "none")
    assert (config["model"]["image_size"], config["data"]["store_scale"]) == (32, 1.0)
    assert json.loads((tmp_path / "run/metrics.json").read_text())["test"]["accuracy"] > 0.9
    model = keras.models.load_model(tmp_path / "run/model.keras", safe_mode=True)
    assert [layer.name for layer in model.layers if layer.weights] == ["c1", "c3", "c5", "f6", "head"]
    assert model.count_params() == 61_706


@pytest.mark.parametrize(
    ("name", "size", "parameters"),
    [("mnist_cnn", 28, 11_700), ("mnist_ffnn", 28, 210_619), ("small_vgg", 32, 1_250_858), ("resnet20", 32, 274_042)],
)
def test_classifiers_have_the_networks_own_top(name: str, size: int, parameters: int) -> None:
    model = tlkit.build_classifier(f"scratch:{name}", 10)
    assert model.input.shape == (None, size, size, 3)
    assert model.count_params() == parameters
    assert stages_of(model) == tlkit.get_backbone(f"scratch:{name}").stages
    assert head_dense(model).name == "head"


def test_pooling_that_is_asked_for_replaces_the_networks_own() -> None:
    model = tlkit.build_classifier("scratch:lenet5", 10, pooling="max", image_size=40)
    assert feature_layer(model) == "pooled_features"
    assert "f6" not in [layer.name for layer in model.layers]


def test_grey_networks_take_any_number_of_channels_and_see_the_same() -> None:
    x, _ = digits(4, 32)
    colour = tlkit.build_classifier("scratch:lenet5", 10, weights="none")
    grey = tlkit.build_classifier("scratch:lenet5", 10, weights="none", input_channels=1)
    grey.set_weights(colour.get_weights())
    tap = [keras.Model(model.input, model.get_layer("f6").output) for model in (colour, grey)]
    assert np.allclose(tap[0](x), tap[1](x[..., :1]), atol=1e-5)


def test_imagenet_classes_of_a_network_without_imagenet_weights_are_refused() -> None:
    with pytest.raises(InputError, match="no ImageNet weights"):
        tlkit.load_imagenet("scratch:resnet18")


@pytest.fixture(scope="module")
def googlenet() -> keras.Model:
    keras.utils.set_random_seed(0)
    return tlkit.build_classifier("scratch:googlenet", 10, image_size=32)


def test_auxiliary_losses_count_in_training_and_not_in_validation(googlenet: keras.Model) -> None:
    twin = with_auxiliary_losses(googlenet, auxiliary_layers(googlenet), 0.25)
    twin.compile("sgd", keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    x, y = digits(4, 32)
    outputs = twin(x, training=False)
    assert [output.shape for output in outputs] == [(4, 10)] * 3
    losses = [float(keras.losses.SparseCategoricalCrossentropy()(y, output)) for output in outputs]
    training, validation = (
        float(twin.compute_loss(x, y, outputs, None, training=training)) for training in (True, False)
    )
    assert abs(validation - losses[0]) < 1e-5
    assert abs(training - (losses[0] + 0.25 * (losses[1] + losses[2]))) < 1e-5
    with pytest.raises(InputError, match="at least 0"):
        with_auxiliary_losses(googlenet, auxiliary_layers(googlenet), -1.0)


class Kept(keras.callbacks.Callback):
    """Keeps the model that was fitted."""

    def on_train_begin(self, logs=None):
        self.fitted = self.model


@pytest.mark.parametrize("weight", [0.3, pytest.param(0.0, marks=pytest.mark.slow)])
def test_fine_tuning_trains_with_auxiliary_losses_and_leaves_none(googlenet: keras.Model, weight: float) -> None:
    x, y = digits(32, 32)
    before = googlenet.get_layer("inception_3a_1x1").get_weights()[0]
    kept = Kept()
    history = tlkit.fine_tune(
        googlenet,
        (x, y),
        validation_data=(x, y),
        strategy="scratch",
        epochs=1,
        recipe=tlkit.Recipe(auxiliary=weight),
        callbacks=[kept],
    )
    assert isinstance(kept.fitted, AuxiliaryLosses) == bool(weight)
    assert len(googlenet.outputs) == 1
    assert not any("auxiliary" in layer.name for layer in googlenet.layers)
    rows = history.history
    assert np.isfinite(rows["val_loss"]).all()
    told = [note for outcome in history.outcomes for note in outcome.notes if "auxiliary" in note]
    assert told == AUXILIARY * bool(weight)
    if weight:  # Three losses near ln 10, two of which count 0.3.
        assert rows["loss"][0] > 1.3 * np.log(10)
    changed = not np.array_equal(before, googlenet.get_layer("inception_3a_1x1").get_weights()[0])
    assert changed == bool(rows["best"][0])
