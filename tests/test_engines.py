"""Every engine gives what Keras computes, in order; the choice among them is measured once and remembered."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import keras
import numpy as np
import pytest

from tlkit import cache, data
from tlkit.activations import activations
from tlkit.classifier import build_classifier
from tlkit.config import ExtractionConfig
from tlkit.engines import choose_engine, open_engine, preferred
from tlkit.engines import choosing as choosing_module
from tlkit.engines.choosing import harmless_engines
from tlkit.engines.keras_engine import KerasEngine
from tlkit.engines.openvino_engine import available
from tlkit.errors import InputError
from tlkit.features import padded, predict_in_order, predict_with_features, read_ahead
from tlkit.graph import split_model
from tlkit.strategies import stages_of


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def require_openvino() -> None:
    if not available():
        pytest.skip("needs OpenVINO, and Keras on TensorFlow")


def small_net(depth: int = 1) -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    for name in "abc"[:depth]:
        x = keras.layers.Conv2D(16, 3, strides=2, activation="relu", name=f"conv2d_{name}")(x)
        x = keras.layers.BatchNormalization()(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="small_net")


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3)).astype("uint8")


@pytest.fixture(params=["keras", "openvino", "openvino-bfloat16"])
def name(request: pytest.FixtureRequest) -> str:
    if request.param != "keras":
        require_openvino()
    return request.param


def test_rows_come_in_order_whatever_the_blocks(name: str, own_cache: Path) -> None:
    model, pixels = small_net(), images(150)
    blocks = [pixels[:70], pixels[70:71], pixels[71:]]
    rows = list(open_engine(name, model).run(blocks))
    assert [len(block) for block in rows] == [70, 1, 79]
    expected = model.predict(pixels, verbose=0)
    tolerance = 0.03 if name.endswith("bfloat16") else 1e-5
    np.testing.assert_allclose(np.concatenate(rows), expected, atol=tolerance * np.abs(expected).max())


def test_an_engine_can_be_left_early_and_used_again(name: str, own_cache: Path) -> None:
    engine, pixels = open_engine(name, small_net()), images(64)
    started = engine.run([pixels, pixels])
    first = next(started)
    started.close()
    np.testing.assert_array_equal(next(engine.run([pixels])), first)


def test_an_export_is_made_once(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_openvino()
    pixels = images(32)
    first = next(open_engine("openvino", small_net()).run([pixels]))
    monkeypatch.setattr("tlkit.engines.openvino_engine._export", None)
    np.testing.assert_array_equal(next(open_engine("openvino", small_net()).run([pixels])), first)


def test_rows_as_inputs_keep_their_fractions(own_cache: Path) -> None:
    require_openvino()
    inputs = keras.Input((8,))
    model = keras.Model(inputs, keras.layers.Dense(4)(inputs))
    rows = np.random.default_rng(0).normal(size=(20, 8)).astype("float32")
    found = next(open_engine("openvino", model, np.float32).run([rows]))
    np.testing.assert_allclose(found, model.predict(rows, verbose=0), atol=1e-5)


def test_an_engine_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlkit.engines.openvino_engine.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"tlkit\[fast\]") as caught:
        open_engine("openvino", small_net())
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="Did you mean 'keras'"):
        open_engine("kerass", small_net())


def test_little_work_is_not_tried_out(own_cache: Path) -> None:
    engine, choice = choose_engine(small_net(), "auto", images(32), num_images=32)
    assert engine.name == "keras"
    assert len(choice.rates) == 1


def test_the_choice_is_measured_once(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, choice = choose_engine(small_net(), "keras", images(32), num_images=10**9)
    assert len(choice.rates) > 1
    monkeypatch.setattr(choosing_module, "_try_out", None)
    again, remembered = choose_engine(small_net(), "keras", images(32), num_images=10**9)
    assert remembered == choice
    assert isinstance(first, KerasEngine)
    assert isinstance(again, KerasEngine)
    assert (again.batch_size, again.jit) == (first.batch_size, first.jit)


def test_the_engine_opened_last_serves_the_next_images(own_cache: Path) -> None:
    net = small_net()
    first, _ = choose_engine(split_model(net, "conv2d_a")[0], "keras", images(32), num_images=32)
    again, _ = choose_engine(split_model(net, "conv2d_a")[0], "keras", images(16), num_images=16)
    assert again is first
    more, _ = choose_engine(split_model(net, "conv2d_a")[0], "keras", images(64), num_images=64)
    assert more is not first  # Chosen for less work.


def test_an_engine_does_not_outlive_its_weights(name: str, own_cache: Path) -> None:
    net, pixels = small_net(), images(32)
    prefix = split_model(net, "conv2d_a")[0]
    first, _ = choose_engine(prefix, name, pixels, num_images=32)
    before = next(iter(first.run([pixels])))
    net.get_layer("conv2d_a").set_weights([2 * weight for weight in net.get_layer("conv2d_a").get_weights()])
    second, _ = choose_engine(prefix, name, pixels, num_images=32)
    assert second is not first
    np.testing.assert_allclose(next(iter(second.run([pixels]))), 2 * before, rtol=2e-2, atol=1e-6)


def test_only_one_engine_is_kept_and_goes_with_its_network(own_cache: Path) -> None:
    nets = [small_net(), small_net()]
    for net in nets:
        choose_engine(net, "keras", images(32), num_images=32)
    assert [hasattr(net.outputs[0], choosing_module.KEPT) for net in nets] == [False, True]
    gone = weakref.ref(nets.pop())
    del net
    gc.collect()
    assert gone() is None


def test_features_on_the_way_cost_no_pass_and_change_nothing(own_cache: Path) -> None:
    model = build_classifier("efficientnet_lite0", 10, image_size=32, weights="none")
    pixels = images(40)
    data = (pixels, np.zeros(40, np.int64))
    outputs, features = predict_with_features(model, "pooled_features", data)
    np.testing.assert_array_equal(outputs, predict_in_order(model, data)[0])
    np.testing.assert_array_equal(features, predict_in_order(split_model(model, "pooled_features")[0], data)[0])


def test_features_are_had_whatever_layers_are_called() -> None:
    """Keras refuses two of a name in a model, and its own names begin anew in each process."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="cast")(inputs)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(5, name="reshape")(keras.layers.Dense(6, name="concatenate")(x))
    model = keras.Model(inputs, x)
    keras.backend.clear_session()
    data = images(20)[:, :8, :8]
    outputs, features = predict_with_features(model, "flatten", data_of(data))
    assert outputs.shape == (20, 5)
    assert features.shape == (20, 6 * 6 * 4)
    np.testing.assert_allclose(outputs, predict_in_order(model, data_of(data))[0], rtol=1e-5, atol=1e-5)


def data_of(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return pixels, np.zeros(len(pixels), np.int64)


def test_only_engines_shown_harmless_are_taken_unasked(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_openvino()
    monkeypatch.setattr(choosing_module, "EXPORT_SECONDS", 0.0)
    _, choice = choose_engine(small_net(), "auto", images(32), num_images=32)
    assert "openvino" not in choice.rates
    monkeypatch.setattr(choosing_module, "UNHARMED", {"openvino": ("small",), "openvino-bfloat16": ()})
    _, choice = choose_engine(small_net(2), "auto", images(32), num_images=32)
    assert "openvino" in choice.rates
    assert "openvino-bfloat16" not in choice.rates


def test_layers_are_not_trained_on_bfloat16_unasked() -> None:
    require_openvino()
    model = build_classifier("efficientnet_lite0", 10, image_size=32, weights="none")
    features, stage = (split_model(model, name)[0] for name in ("pooled_features", stages_of(model)[-3].layer))
    assert harmless_engines(features) == ("openvino", "openvino-bfloat16")
    assert harmless_engines(stage) == ("openvino",)
    assert harmless_engines(small_net()) == ()


def test_an_engine_that_computes_something_else_is_left_out(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_openvino()
    monkeypatch.setattr(choosing_module, "EXPORT_SECONDS", 0.0)
    monkeypatch.setattr(choosing_module, "TOLERANCE", 0.0)
    monkeypatch.setattr(choosing_module, "UNHARMED", {"openvino": ("small",)})
    engine, choice = choose_engine(small_net(3), "auto", images(32), num_images=32)
    assert engine.name == "keras"
    assert "openvino is left out" in choice.note


def test_rows_of_engines_have_addresses_of_their_own(own_cache: Path) -> None:
    require_openvino()
    manifest = data.builtin("digits").split(seed=0).few_shot(4, seed=0)
    train = data.load(manifest, "train", image_size=32, shuffle=False)
    prefix = small_net(2)
    by_openvino = activations(prefix, train, extraction=ExtractionConfig(engine="openvino"))
    assert by_openvino.facts["engine"] == "openvino"
    by_keras = activations(prefix, train, extraction=ExtractionConfig(engine="keras"))
    assert by_keras.facts["engine"] == "keras"
    expected = predict_in_order(prefix, train)[0]
    np.testing.assert_array_equal(by_keras.rows, expected)
    np.testing.assert_allclose(by_openvino.rows, expected, atol=1e-4 * np.abs(expected).max())
    assert activations(prefix, train).facts["engine"] == "keras"  # The most exact of what is there.
    assert len(cache.list_entries("activations")) == 2


def test_preferred_engines_begin_with_the_exact_one() -> None:
    assert preferred("auto")[0] == "keras"
    assert preferred("openvino") == ("openvino",)


def test_reading_ahead_keeps_the_order_and_passes_errors_on() -> None:
    assert list(read_ahead(range(10))) == list(range(10))

    def failing() -> object:
        yield 1
        raise InputError("Expected something else.")

    reading = read_ahead(failing())
    assert next(reading) == 1
    with pytest.raises(InputError):
        next(reading)


def test_padding_repeats_the_last_row() -> None:
    np.testing.assert_array_equal(padded(np.array([[1], [2]]), 4), [[1], [2], [2], [2]])
