"""Options that all phases share: classes, precision, memory, XLA, the range test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

import tlkit
from tlkit.config_files import load_config
from tlkit.errors import InputError
from tlkit.features import predict_in_order
from tlkit.phases import Phase
from tlkit.ridge import fit_ridge
from tlkit.training import Recipe, find_learning_rate, fine_tune
from tlkit.training.compiling import measure_jit
from tlkit.training.datasets import class_weights
from tlkit.training.memory import available_bytes, fitting_batch_size, left_by_control_group, step_bytes
from tlkit.training.precision import mixed_layers, mixed_precision
from tlkit.training.recipe import AUTO_SECONDS, recipe_of

Arrays = tuple[np.ndarray, np.ndarray]
Build = Callable[..., keras.Model]
ALL = [Phase("all", "input", epochs=2, learning_rate=0.01)]


# --- Classes of few images ------------------------------------------------


def test_class_weights_make_classes_weigh_the_same() -> None:
    weights = class_weights(np.array([0] * 6 + [1] * 2), 3)
    assert weights[0] * 6 == pytest.approx(weights[1] * 2) == pytest.approx(4)
    assert sum(weights[label] for label in [0] * 6 + [1] * 2) == pytest.approx(8)


@pytest.mark.parametrize("phases", ["frozen", [Phase("head", epochs=15, learning_rate=0.01)]])
def test_a_rare_class_is_found_more_often_when_balanced(
    digits: tuple[Arrays, Arrays], small_net: Build, phases: str | list[Phase]
) -> None:
    (x, y), (x_validation, y_validation) = digits
    rare = 8
    few = np.concatenate([np.flatnonzero(y != rare), np.flatnonzero(y == rare)[:3]])
    found = []
    for balance in (False, True):
        model = small_net()
        fine_tune(
            model,
            (x[few], y[few]),
            validation_data=(x_validation, y_validation),
            strategy=phases,
            recipe=Recipe(balance=balance),
        )
        found.append((predict_in_order(model, (x_validation, y_validation))[0].argmax(axis=1) == rare).sum())
    assert found[1] > found[0]


# --- The first fit of the head ------------------------------------------------


def test_a_ridge_head_is_the_closed_form_on_the_features(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    (x, y), validation = digits
    model = small_net()
    history = fine_tune(model, (x, y), validation_data=validation, strategy="frozen", recipe=Recipe(head="ridge"))
    features = keras.Model(model.input, model.get_layer("head").input)
    found = fit_ridge(predict_in_order(features, (x, y))[0], y, num_classes=10)
    scores = predict_in_order(features, validation)[0] @ found.kernel + found.bias
    given = predict_in_order(model, validation)[0]
    np.testing.assert_allclose(given, np.asarray(keras.ops.softmax(scores)), atol=1e-4)
    assert history.history["penalty"] == [found.penalty]
    assert history.history["val_accuracy"] == [pytest.approx((given.argmax(axis=1) == validation[1]).mean())]


def test_a_ridge_head_weighs_no_class() -> None:
    with pytest.raises(InputError, match="logistic head with balance"):
        Recipe(head="ridge", balance=True)


# --- Precision ------------------------------------------------


def test_layers_compute_in_low_precision_for_a_while(small_net: Build) -> None:
    model = small_net(noisy=True)
    with mixed_precision(mixed_layers(model, model.layers), "bfloat16"):
        dtypes = {layer.name: layer.compute_dtype for layer in model.layers}
        assert model(np.zeros((1, 32, 32, 3), "float32")).dtype == "float32"
    assert {dtypes[name] for name in ("first", "norm", "second")} == {"bfloat16"}
    assert {dtypes[name] for name in ("rescaling", "features", "head") if name in dtypes} == {"float32"}
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_training_in_low_precision_learns_and_leaves_a_float32_model(
    digits: tuple[Arrays, Arrays], small_net: Build, precision: str, tmp_path: object
) -> None:
    train, validation = digits
    model = small_net(noisy=True)
    history = fine_tune(
        model,
        train,
        validation_data=validation,
        strategy=[Phase("all", "input", epochs=8, learning_rate=0.01)],
        recipe=Recipe(precision=precision),
    ).history
    assert np.isfinite(history["val_loss"]).all()
    assert min(history["val_loss"]) < 1.5 < np.log(10)
    assert keras.config.dtype_policy().name == "float32"
    model.save(f"{tmp_path}/model.keras")
    loaded = keras.models.load_model(f"{tmp_path}/model.keras")
    assert {layer.dtype_policy.name for layer in loaded.layers} == {"float32"}
    np.testing.assert_array_equal(predict_in_order(model, validation)[0], predict_in_order(loaded, validation)[0])


# --- Memory ------------------------------------------------


def test_batches_shrink_with_memory(small_net: Build) -> None:
    model = small_net()
    assert step_bytes(model, 64) > step_bytes(model, 32) > 32 * 15 * 15 * 16 * 4
    assert fitting_batch_size(model, 32, 10**12) == 32
    assert fitting_batch_size(model, 32, 2 * step_bytes(model, 8)) in (8, 9)
    assert fitting_batch_size(model, 32, 1) == 1
    free = available_bytes()
    assert free is None or 10**7 < free < 10**14


def test_files_that_a_container_has_read_do_not_count_as_taken(tmp_path: Path) -> None:
    assert left_by_control_group(tmp_path) is None
    for name, text in {"max": "1000", "current": "900", "stat": "anon 400\ninactive_file 450"}.items():
        (tmp_path / f"memory.{name}").write_text(text + "\n")
    assert left_by_control_group(tmp_path) == 550
    (tmp_path / "memory.max").write_text("max\n")
    assert left_by_control_group(tmp_path) is None


def test_little_memory_means_small_batches_and_the_same_training(
    digits: tuple[Arrays, Arrays], small_net: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, validation = digits
    enough, little = small_net(), small_net()
    fine_tune(enough, train, validation_data=validation, strategy=ALL, recipe=Recipe(batch_size="auto"))
    monkeypatch.setattr("tlkit.training.fitting.available_bytes", lambda: 2 * step_bytes(enough, 8))
    outcome = fine_tune(
        little, train, validation_data=validation, strategy=ALL, recipe=Recipe(batch_size="auto")
    ).outcomes[-1]
    assert "batches of 8, 4 of them an update" in outcome.notes[0]
    for weight, expected in zip(little.get_weights(), enough.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-4)


@keras.saving.register_keras_serializable("tests")
class AtMost8(keras.layers.Layer):
    """Fails as a device without memory does, for batches of more than eight images."""

    def call(self, inputs: object, training: bool = False) -> object:
        import tensorflow as tf

        if not training:
            return inputs

        def check(size: object) -> object:
            if int(size) > 8:  # type: ignore[call-overload]
                raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
            return size

        size = tf.py_function(check, [tf.shape(inputs)[0]], tf.int32)
        with tf.control_dependencies([size]):
            return tf.identity(inputs)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the layer is TensorFlow's")
def test_a_device_without_memory_gets_smaller_batches(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    train, validation = digits
    whole = small_net()
    x = AtMost8()(whole.get_layer("features").output)
    model = keras.Model(whole.inputs[0], whole.get_layer("head")(x))
    data = ((train[0][:64], train[1][:64]), (validation[0][:8], validation[1][:8]))
    notes = fine_tune(model, data[0], validation_data=data[1], strategy=ALL, recipe=Recipe(jit="off")).outcomes[0].notes
    assert "batches of 16, 2 of them an update" in notes[0]
    assert "batches of 8, 4 of them an update" in notes[1]


# --- What leaves no trace ------------------------------------------------


def compiled(model: keras.Model) -> keras.Model:
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", jit_compile=False)
    return model


def test_the_range_test_leaves_model_and_optimizer_as_they_were(
    digits: tuple[Arrays, Arrays], small_net: Build
) -> None:
    train, _ = digits
    model = compiled(small_net(noisy=True))
    model.fit(*train, epochs=1, verbose=0)
    variables = [*model.variables, *model.optimizer.variables]
    before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    rate = find_learning_rate(model, train)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    assert 1e-4 < rate < 0.1
    with pytest.raises(InputError, match="compiled model"):
        find_learning_rate(small_net(), train)


def test_a_rate_found_by_itself_learns_as_well(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    train, validation = digits
    found, slow = small_net(), small_net()
    for model, rate in ((found, "auto"), (slow, 1e-4)):
        outcomes = fine_tune(
            model, train, validation_data=validation, strategy=[Phase("all", "input", 5, rate)]
        ).outcomes
    assert "range test" not in " ".join(outcomes[0].notes)
    losses = [tlkit.evaluate(model, validation)["log_loss"] for model in (found, slow)]
    assert losses[0] < losses[1]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="XLA is a choice under TensorFlow only")
def test_steps_are_timed_with_and_without_xla_and_nothing_moves(
    digits: tuple[Arrays, Arrays], small_net: Build
) -> None:
    (x, y), _ = digits
    model = compiled(small_net())
    before = model.get_weights()
    seconds = measure_jit(model, x[:32], y[:32])
    assert set(seconds) == {True, False}
    assert min(seconds.values()) > 0
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


# --- What is asked for ------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"batch_size": 0}, "batch_size to be at least 1"),
        ({"accumulate": 0}, "accumulate"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"ema": 1.0}, "ema"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"precision": "float8"}, "Unknown precision"),
        ({"jit": "maybe"}, "Unknown jit"),
        ({"time_budget": 0.0}, "time_budget as seconds, above 0"),
    ],
)
def test_recipes_that_make_no_sense(options: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Recipe(**options)  # type: ignore[arg-type]


def test_the_recipe_of_a_run_is_what_its_options_say() -> None:
    given = {"data": "x", "batch_size": "auto", "balance": True, "ema": "0.99", "time_budget": "2m", "jit": "off"}
    recipe = recipe_of(load_config(overrides=given).training)
    assert recipe == Recipe(batch_size="auto", balance=True, ema=0.99, time_budget=120.0, jit="off")
    assert recipe_of(load_config(overrides={"data": "x"}).training).time_budget == AUTO_SECONDS
    assert recipe_of(load_config(overrides={"data": "x", "strategy": "full"}).training).time_budget is None
