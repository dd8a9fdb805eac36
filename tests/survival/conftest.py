"""A small run that is killed again and again, and the same run left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

SIZE = 32
DRIVER = Path(__file__).with_name("driver.py")
# What must be the same to the last bit, however often a run was interrupted.
FILES = ("history.csv", "phases.csv", "metrics.json", "predictions.csv", "probabilities.npy", "manifest.csv")


@dataclass(frozen=True)
class Survivor:
    """A run that was driven through a plan; or several, one after the other."""

    folders: list[Path]
    outcomes: list[dict[str, Any]]
    told: str

    @property
    def codes(self) -> list[int]:
        return [outcome["code"] for outcome in self.outcomes]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, write_threes_and_eights: Callable[[Path, int], None]) -> Path:
    """Threes and eights as pictures, and a small network with all that has a state: statistics, seeds, moments."""
    root = tmp_path_factory.mktemp("survival")
    write_threes_and_eights(root / "images", SIZE)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(layers.Rescaling(1 / 255)(inputs))
    x = layers.Conv2D(16, 3, strides=2, activation="relu")(layers.BatchNormalization()(x))
    x = layers.Conv2D(16, 3, strides=2, activation="relu")(layers.Dropout(0.2)(x))
    keras.Model(inputs, x).save(root / "small.keras")
    return root


@pytest.fixture(scope="session")
def arguments(small: Path) -> list[str]:
    """Of a run of two phases, the second of some epochs; --output is left to be named."""
    data = ["--data", str(small / "images"), "--backbone", str(small / "small.keras"), "--image-size", str(SIZE)]
    options = ["--strategy", "full", "--epochs", "6", "--batch-size", "8", "--ema", "0.9", "--learning-rate", "0.003"]
    return [*data, *options, "--deterministic", "--save-every-steps", "4"]


Drive = Callable[..., Survivor]


@pytest.fixture(scope="session")
def drive(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Drive:
    """Drives the run through a plan: see driver.py."""

    def through(steps: list[dict[str, Any]], place: Path | None = None) -> Survivor:
        folder = tmp_path_factory.mktemp("run")
        place = place or folder
        plan = {"arguments": arguments, "steps": steps, "place": str(place)}
        (folder / "plan.json").write_text(json.dumps(plan))
        # A cache of its own: what was extracted before a death must be found, or made again the same.
        environment = os.environ | {"TLKIT_CACHE": str(place / "cache")}
        subprocess.run([sys.executable, str(DRIVER), str(folder)], check=True, env=environment, timeout=1200)
        outcomes = json.loads((folder / "outcomes.json").read_text())
        return Survivor(sorted(place.glob("run-*")), outcomes, (folder / "log.txt").read_text())

    return through


@pytest.fixture(scope="session")
def undisturbed(drive: Drive) -> Survivor:
    """The run left alone."""
    found = drive([{}])
    assert found.codes == [0], found.told
    return found


@pytest.fixture(scope="session")
def require_same(undisturbed: Survivor) -> Callable[[Survivor], None]:
    """Compares what a run has left with what the undisturbed one has, weights included, bit for bit."""

    [expected] = undisturbed.folders

    def compare(found: Survivor) -> None:
        assert found.codes[-1] == 0, found.told
        for run in found.folders:
            for name in FILES:
                assert (run / name).read_bytes() == (expected / name).read_bytes(), (name, found.told)
            weights = [keras.models.load_model(folder / "model.keras").get_weights() for folder in (run, expected)]
            for left, right in zip(*weights, strict=True):
                np.testing.assert_array_equal(left, right, found.told)
            assert {path.name for path in run.iterdir()} == {path.name for path in expected.iterdir()}

    return compare
