"""Without TensorFlow: an environment made from requirements-jax.txt trains from end to end under JAX."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# TensorFlow, what brings it along, and what only those need.
LEFT_OUT = {"tensorflow", "tensorflow-datasets", "importlib-resources"}


def requirements(lines: list[str]) -> dict[str, str]:
    """Requirements by name, each with its bounds."""
    texts = [line.split("#")[0].strip() for line in lines]
    return {re.split(r"[<>=!~\[ ]", text)[0]: text for text in texts if text}


def test_both_lists_of_requirements_agree():
    for_jax = requirements((ROOT / "requirements-jax.txt").read_text("utf-8").splitlines())
    project = requirements(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"])
    assert for_jax.pop("jax")
    assert for_jax == {name: text for name, text in project.items() if name not in LEFT_OUT}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the packages of requirements-jax.txt and tlkit; returns its folder of programs."""
    folder = tmp_path_factory.mktemp("jax")
    source = folder / "source"
    shutil.copytree(ROOT / "tlkit", source / "tlkit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements-jax.txt"):
        shutil.copy(ROOT / name, source)
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    for arguments in (["-r", str(source / "requirements-jax.txt")], ["--no-deps", str(source)]):
        command = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode and "No matching distribution" in done.stderr:
            pytest.skip(f"the package index cannot be reached: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr
    return programs


def run(command: list[str | Path], folder: Path) -> str:
    """Runs a command of that environment, away from the source tree, and returns what it printed."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= {"KERAS_BACKEND": "jax", "TLKIT_CACHE": str(folder / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_digits_train_from_end_to_end_without_tensorflow(environment: Path, tmp_path: Path):
    python = environment / "python"
    absent = "import importlib.util as u; print([n for n in ('tensorflow', 'tensorflow_datasets') if u.find_spec(n)])"
    assert run([python, "-c", absent], tmp_path).strip() == "[]"

    arguments = [
        "--data",
        "builtin:digits",
        "--backbone",
        "efficientnet_lite0",
        "--image-size",
        "96",
        "--strategy",
        "frozen",
    ]
    run([environment / "tlkit", "finetune", *arguments, "--output", "run"], tmp_path)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text("utf-8"))
    assert metrics["test"]["accuracy"] >= 0.9
    told = json.loads((tmp_path / "run" / "environment.json").read_text("utf-8"))
    assert told["backend"] == "jax"

    by_hand = "; ".join(
        [
            "import keras, numpy, sys",
            "model = keras.models.load_model('run/model.keras')",
            "shape = model.predict(numpy.zeros((1, 96, 96, 3), 'uint8'), verbose=0).shape",
            "print(keras.backend.backend(), 'tensorflow' in sys.modules, shape)",
        ]
    )
    assert run([python, "-c", by_hand], tmp_path).strip() == "jax False (1, 10)"


@pytest.mark.slow
def test_a_search_runs_without_tensorflow(environment: Path, tmp_path: Path):
    """A head, and a network of the zoo from random weights, in processes of their own."""
    of_heads = ["--space", "head", "--trials", "3", "--image-size", "32"]
    of_bodies = [
        "--space",
        "scratch",
        "--backbone",
        "scratch:lenet5",
        "--epochs",
        "1",
        "--trials",
        "2",
        "--repeats",
        "0",
    ]
    for name, arguments in (("heads", of_heads), ("bodies", of_bodies)):
        run([environment / "tlkit", "search", "--data", "builtin:digits", *arguments, "--output", name], tmp_path)
        trials = json.loads((tmp_path / name / "search.json").read_text("utf-8"))["trials"]
        assert {one["status"] for one in trials} == {"completed"}
