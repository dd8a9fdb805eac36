from __future__ import annotations

import keras
import numpy as np
import pytest

from tlkit.backbones.preprocessing import preprocess
from tlkit.backbones.registry import PREPROCESSING
from tlkit.errors import InputError

REFERENCE = {
    "inside": lambda x: x,
    "tf": keras.applications.mobilenet_v2.preprocess_input,
    "torch": keras.applications.densenet.preprocess_input,
    "caffe": keras.applications.resnet50.preprocess_input,
    "lite": lambda x: (x - 127.0) / 128.0,
    "unit": lambda x: x / 255.0,
    "grey": lambda x: x.mean(axis=-1, keepdims=True) / 255.0,
}


@pytest.fixture(scope="module")
def pixels():
    """Every value that a byte can have, in every channel, in different order, and values between."""
    ramp = np.arange(256, dtype="float32").reshape(1, 16, 16)
    whole = np.stack([ramp, ramp[:, ::-1], ramp.transpose(0, 2, 1)], axis=-1)
    return np.concatenate([whole, whole * 0.9973])


def run(mode, pixels):
    image = keras.Input((16, 16, 3), dtype="float32", name="image")
    return keras.Model(image, preprocess(image, mode))


def test_every_mode_has_a_reference():
    assert set(REFERENCE) == set(PREPROCESSING)


@pytest.mark.parametrize("mode", PREPROCESSING)
def test_equals_the_published_preprocessing(mode, pixels):
    model = run(mode, pixels)
    assert np.abs(model.predict(pixels, verbose=0) - REFERENCE[mode](pixels.copy())).max() <= 1e-5
    assert model.count_params() == 0
    assert all(operation.name.startswith("preprocess_") for operation in model.operations[1:])


def test_caffe_flip_is_exact(pixels):
    """Subtracting a mean is one rounding; the flip must add none."""
    assert np.array_equal(run("caffe", pixels).predict(pixels, verbose=0), REFERENCE["caffe"](pixels.copy()))


@pytest.mark.parametrize("mode", ["caffe", "torch"])
def test_stays_float32_under_mixed_precision(mode, pixels):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = run(mode, pixels)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.output.dtype == "float32"
    assert np.abs(model.predict(pixels, verbose=0) - REFERENCE[mode](pixels.copy())).max() <= 1e-5


def test_reloads_exactly_with_its_names(tmp_path, pixels):
    model = run("caffe", pixels)
    model.save(tmp_path / "caffe.keras")
    loaded = keras.saving.load_model(tmp_path / "caffe.keras", safe_mode=True)
    assert [operation.name for operation in loaded.operations] == ["image", "preprocess_flip", "preprocess_scale"]
    assert np.array_equal(loaded.predict(pixels, verbose=0), model.predict(pixels, verbose=0))


def test_unknown_mode():
    with pytest.raises(InputError, match="Did you mean 'torch'"):
        preprocess(keras.Input((8, 8, 3)), "pytorch")
