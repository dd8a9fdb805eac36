"""The training of a run as the command does it: what is told, and what lies in the folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import keras
import pandas as pd
import pytest
from keras import layers

from tlkit.cli import main
from tlkit.command_line.training_verbs import DEMO
from tlkit.config_files import load_config
from tlkit.phases import Phase
from tlkit.training_run import wanted_phases

SIZE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_threes_and_eights: Callable[[Path, int], None]) -> Path:
    """Threes and eights as pictures, and a small network to start from."""
    root = tmp_path_factory.mktemp("training-run")
    write_threes_and_eights(root / "images", SIZE)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(layers.Rescaling(1 / 255)(inputs))
    x = layers.Conv2D(16, 3, strides=2, activation="relu")(x)
    keras.Model(inputs, layers.Conv2D(16, 3, strides=2, activation="relu")(x)).save(root / "small.keras")
    return root


def test_the_command_tries_unfreezing_and_tells_what_it_gained(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(folder / "images"), "--backbone", str(folder / "small.keras"), "--image-size", str(SIZE)]
    options = ["--epochs", "2", "--label-smoothing", "0.1", "--balance", "--ema", "0.9", "--batch-size", "auto"]
    run = folder / "run"
    assert main(["finetune", *arguments, *options, "--time-budget", "5m", "--output", str(run)]) == 0
    told = capsys.readouterr().out
    assert "Trains from" in told
    assert "The head alone: " in told
    assert told.count("Unfreezing ") == 2
    gains = pd.read_csv(run / "phases.csv")
    assert gains["phase"].tolist()[0] == "head"
    assert len(gains) == 3
    assert gains["gain"].notna().tolist() == [False, True, True]
    assert gains["kept"].tolist()[0]
    assert "What each phase gained" in (run / "report.md").read_text("utf-8")
    assert json.loads((run / "state.json").read_text())["status"] == "complete"
    kept = gains[gains["kept"]].iloc[-1]
    accuracy = json.loads((run / "metrics.json").read_text())["validation"]["accuracy"]
    assert accuracy == pytest.approx(kept["accuracy"], abs=1e-6)
    saved = keras.models.load_model(run / "model.keras")
    assert {layer.dtype_policy.name for layer in saved.layers} == {"float32"}


def test_options_reach_the_phases(folder: Path) -> None:
    given = {"optimizer": "sgd", "layer_decay": "0.5", "weight_decay": "0", "learning_rate": "auto", "strategy": "full"}
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, strides=2)(inputs))
    model = keras.Model(inputs, layers.Dense(2)(x))
    head, body = wanted_phases(load_config(None, {"data": "x"} | given), model)
    assert head == Phase("head", convex_head=True)
    assert (body.optimizer, body.layer_decay, body.weight_decay, body.learning_rate) == ("sgd", 0.5, 0.0, "auto")


def test_auto_is_the_default_of_the_command_and_the_demo_says_what_it_takes() -> None:
    assert load_config(None, {"data": "x"}).training.strategy == "auto"
    assert DEMO["strategy"] == "frozen"
