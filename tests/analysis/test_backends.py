"""The same figures under JAX, where TensorFlow is not installed, as under the backend of the tests."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest

MEASURE = Path(__file__).with_name("measure.py")
ROOT = MEASURE.parents[2]


@pytest.mark.slow
def test_the_figures_do_not_depend_on_the_backend(digits_model: keras.Model, digits: tuple, tmp_path: Path) -> None:
    interpreter = os.environ.get("TLKIT_JAX_PYTHON")
    if not interpreter:
        pytest.skip("TLKIT_JAX_PYTHON names no Python that has JAX")
    images, labels = digits[0][1200:1232], digits[1][1200:1232]
    digits_model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    command = [interpreter, str(MEASURE), str(tmp_path / "model.keras"), str(tmp_path / "data.npz")]
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    theirs = json.loads(result.stdout.splitlines()[-1])
    assert theirs.pop("backend") == "jax"
    assert theirs.pop("loaded") == ["jax"]
    specification = importlib.util.spec_from_file_location("measure", MEASURE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    model = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    ours = json.loads(json.dumps(module.measure(model, images, labels)))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if isinstance(value, list) and None not in value:
            np.testing.assert_allclose(theirs[name], value, rtol=2e-3, atol=2e-5, err_msg=name)
        else:
            assert theirs[name] == value, name
