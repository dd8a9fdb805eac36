"""The layers keep their promises under JAX, where TensorFlow is not installed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_layer_under_jax() -> None:
    interpreter = os.environ.get("TLKIT_JAX_PYTHON")
    if not interpreter:
        pytest.skip("TLKIT_JAX_PYTHON names no Python that has JAX")
    tests = ROOT / "tests" / "augment" / "test_layers.py"
    command = [interpreter, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stdout[-4000:]
