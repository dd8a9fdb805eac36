"""Several devices of one host, as virtual ones of the processor, against one: in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tlkit.distribution import accelerators, all_devices

ROOT = Path(__file__).resolve().parents[1]
LENET = "scratch:lenet5"
SCRIPT = """
import json, os, sys
import numpy as np
import keras
strategy, network, rate, count = sys.argv[1], sys.argv[2], float(sys.argv[3]) or None, int(sys.argv[4])
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    (processor,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
import tlkit
from tlkit.distribution import all_devices
from sklearn.datasets import load_digits
x, y = load_digits(return_X_y=True)
x = np.repeat(np.kron(x[:240].reshape(-1, 8, 8), np.ones((4, 4)))[..., None], 3, -1).astype("float32") * 16
train, validation = (x[:168], y[:168]), (x[168:240], y[168:240])
with all_devices([f"cpu:{number}" for number in range(count)]) as used:
    keras.utils.set_random_seed(0)
    model = tlkit.build_classifier(network, 10, image_size=32, pooling="avg")
    options = {"strategy": strategy, "epochs": 2, "learning_rate": rate, "seed": 0}
    history = tlkit.fine_tune(model, train, validation_data=validation, **options)
    outputs = np.asarray(model.predict(validation[0][:32], verbose=0))
moving = [np.ravel(keras.ops.convert_to_numpy(one)) for one in model.variables if one.name.startswith("moving_")]
answer = {"used": used, "loss": history.history["val_loss"], "outputs": outputs.tolist()}
print("answer", json.dumps({**answer, "moving": np.concatenate(moving or [np.zeros(0)]).tolist()}))
"""


def trained(strategy: str, network: str, rate: float, devices: int, backend: str, python: str, folder: Path) -> dict:
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": str(ROOT),
        "TLKIT_CACHE": str(folder / f"cache{devices}"),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [python, "-c", SCRIPT, strategy, network, str(rate), str(devices)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    answers = [line[7:] for line in done.stdout.splitlines() if line.startswith("answer ")]
    assert answers, done.stderr[-2000:]
    return json.loads(answers[0])


def assert_alike(strategy: str, backend: str, python: str, folder: Path) -> None:
    tolerance = 5e-3
    one, two = (trained(strategy, LENET, 0.0, devices, backend, python, folder) for devices in (1, 2))
    assert (one["used"], two["used"]) == (1, 2)
    assert np.allclose(one["loss"], two["loss"], rtol=tolerance)
    assert np.abs(np.subtract(one["outputs"], two["outputs"])).max() < tolerance


@pytest.mark.parametrize("strategy", ["scratch", pytest.param("partial", marks=pytest.mark.slow)])
def test_two_devices_give_what_one_gives_under_tensorflow(strategy: str, tmp_path: Path) -> None:
    assert_alike(strategy, "tensorflow", sys.executable, tmp_path)


@pytest.mark.slow
def test_batch_statistics_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    """At a low rate, for at the usual one differences in rounding grow to as much as this would show."""
    one, two = (
        trained("scratch", "scratch:resnet20", 5e-4, devices, "tensorflow", sys.executable, tmp_path)
        for devices in (1, 2)
    )
    moving, differences = np.abs(one["moving"]), np.abs(np.subtract(one["moving"], two["moving"]))
    assert moving.mean() > 0.1  # The best epoch is not the state before the first.
    assert differences.mean() < 5e-3, differences.mean()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["scratch", "partial"])
def test_two_devices_give_what_one_gives_under_jax(strategy: str, tmp_path: Path) -> None:
    python = os.environ.get("TLKIT_JAX_PYTHON")
    if python is None or subprocess.run([python, "-c", "import jax, pandas, sklearn"], check=False).returncode:
        pytest.skip("no interpreter with jax and what training needs: name one in TLKIT_JAX_PYTHON")
    assert_alike(strategy, "jax", python, tmp_path)


def test_one_device_changes_nothing() -> None:
    with all_devices(["cpu:0"]) as used:
        assert used == 1
    assert not any(name.startswith("cpu") for name in accelerators())
