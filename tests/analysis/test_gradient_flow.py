"""Gradients by layer: the lecture's figures, agreement with what an optimiser does, and verdicts on known cases."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from tlkit.analysis.flow_callback import GradientFlow
from tlkit.analysis.gradient_flow import gradient_flow
from tlkit.analysis.gradient_verdict import Thresholds, judge
from tlkit.analysis.signal_flow import signal_flow
from tlkit.errors import InputError


def data(n: int = 32, width: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, width)).astype("float32")
    return x, (x.sum(axis=1) > 0).astype("int64")


def network(depth: int, activation: str, initializer: object = "glorot_uniform", *, skip: bool = False) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((8,))
    for index in range(depth):
        y = layers.Dense(8, activation=activation, kernel_initializer=initializer, name=f"hidden_{index}")(x)
        x = layers.Add()([x, y]) if skip else y
    model = keras.Model(inputs, layers.Dense(2, activation="softmax", name="head")(x))
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    return model


def sigmoid_chain(depth: int) -> keras.Model:
    """One sigmoid unit a layer, weight 1, every sum 0: each layer passes on exactly a quarter."""
    inputs = x = keras.Input((1,))
    for index in range(depth):
        x = layers.Dense(1, activation="sigmoid", kernel_initializer="ones", name=f"layer_{index + 1}")(x)
    model = keras.Model(inputs, x)
    for layer in model.layers[2:]:
        layer.bias.assign([-0.5])  # The unit before it gives sigmoid(0) = 0.5.
    return model


def output_itself(y: object, outputs: object) -> object:
    return outputs


def test_four_sigmoids_leave_a_quarter_each() -> None:
    """The lecture's 0.25^4 = 0.0039; the layer nearest the output learns fastest."""
    model = sigmoid_chain(4)
    record = gradient_flow(model, np.zeros((1, 1)), np.zeros((1, 1)), output_itself)
    by_bias = record.gradient_norm[0] / np.sqrt([1, 1.25, 1.25, 1.25])  # The kernel's part: its input is 0 or 0.5.
    np.testing.assert_allclose(by_bias, [0.25**4, 0.25**3, 0.25**2, 0.25], rtol=1e-5)
    assert round(float(by_bias[0]), 4) == 0.0039
    assert record.layers == ("layer_1", "layer_2", "layer_3", "layer_4")


def test_deeper_sigmoids_are_said_to_vanish() -> None:
    verdict = judge(gradient_flow(sigmoid_chain(10), np.zeros((1, 1)), np.zeros((1, 1)), output_itself))
    assert verdict.kind == "vanishing"
    assert verdict.layers[0] == "layer_1"
    assert "layer_10" not in verdict.layers
    assert "(limit 100)" in verdict.message


@pytest.mark.parametrize(
    ("depth", "activation", "initializer", "skip", "kind"),
    [
        (12, "sigmoid", "glorot_uniform", False, "vanishing"),
        (12, "relu", "he_normal", False, "healthy"),
        (12, "sigmoid", "glorot_uniform", True, "healthy"),
        (4, "relu", "zeros", False, "blocked"),
    ],
)
def test_verdicts(depth: int, activation: str, initializer: object, skip: bool, kind: str) -> None:
    """Sigmoids vanish; ReLU with He initialisation and skip connections mend it; large weights explode."""
    assert judge(gradient_flow(network(depth, activation, initializer, skip=skip), *data())).kind == kind


def test_large_weights_explode() -> None:
    model, (x, y) = network(12, "linear", keras.initializers.Identity(3.0)), data()
    x = x / 3**12  # The softmax must not saturate: it would pass nothing on.
    loss = keras.losses.sparse_categorical_crossentropy
    signal = signal_flow(model, x, y, loss)
    assert signal.layers == (*(f"hidden_{index}" for index in range(12)), "head")
    np.testing.assert_allclose(signal.norm[:11] / signal.norm[1:12], 3, rtol=1e-4)
    verdict = judge(gradient_flow(model, x, y), signal)
    assert verdict.kind == "exploding"
    assert verdict.layers[0] == "hidden_0"
    assert "(limit 1,000)" in verdict.message


def test_the_signal_through_four_sigmoids() -> None:
    signal = signal_flow(sigmoid_chain(4), np.zeros((1, 1)), np.zeros((1, 1)), output_itself)
    np.testing.assert_allclose(signal.norm, [0.25**3, 0.25**2, 0.25, 1], rtol=1e-5)


def test_the_signal_of_a_deep_nested_network_is_sampled_and_leaves_no_trace() -> None:
    inner = keras.Sequential([keras.Input((8,))] + [layers.Dense(8, name=f"d{i}") for i in range(30)], name="inner")
    inputs = keras.Input((8,))
    hidden = layers.Dropout(0.5)(layers.BatchNormalization(name="norm")(inner(inputs)))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax", name="head")(hidden))
    before = [keras.ops.convert_to_numpy(variable) for variable in model.variables]
    signal = signal_flow(model, *data(), keras.losses.sparse_categorical_crossentropy)
    assert (len(signal.layers), signal.layers[0], signal.layers[-1]) == (16, "inner/d0", "head")
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)


def test_thresholds_can_be_set_and_are_told() -> None:
    record = gradient_flow(network(4, "relu", "he_normal"), *data())
    assert judge(record).kind == "healthy"
    strict = judge(record, thresholds=Thresholds(vanishing=10))
    assert strict.kind == "vanishing"
    lax = judge(gradient_flow(network(12, "sigmoid"), *data()), thresholds=Thresholds(vanishing=1e-12))
    assert lax.kind == "healthy"
    assert "below 1e-12" in lax.message


def test_a_loss_that_overflows_is_not_finite() -> None:
    x, y = data()
    verdict = judge(gradient_flow(network(3, "relu"), x * np.float32(np.inf), y))
    assert verdict.kind == "not finite"


def test_the_callback_sees_the_step_that_fit_takes() -> None:
    """With plain SGD on the probe itself, the update is the learning rate times the gradient."""
    x, y = data()
    model = network(3, "relu", "he_normal")
    flow = GradientFlow(x, y, frequency=1)
    model.fit(x, y, batch_size=len(x), epochs=5, verbose=0, shuffle=False, callbacks=[flow])
    record = flow.record
    assert record.steps.tolist() == [0, 1, 2, 3, 4]
    assert record.gradient_norm.shape == (5, 4)
    np.testing.assert_allclose(record.update_norm, 0.01 * record.gradient_norm, rtol=1e-3)
    np.testing.assert_allclose(record.update_ratio, record.update_norm / record.weight_norm)
    assert (np.diff(record.loss) < 0).all()


def test_the_callback_leaves_training_as_it_was() -> None:
    """Weights, statistics and seeds after training are the same with and without it."""
    x, y = data(64)

    def train(callbacks: list) -> list:
        keras.utils.set_random_seed(1)
        inputs = keras.Input((8,))
        hidden = layers.Dropout(0.3)(layers.BatchNormalization()(layers.Dense(16, activation="relu")(inputs)))
        model = keras.Model(inputs, layers.Dense(2, activation="softmax")(hidden))
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(x, y, batch_size=16, epochs=3, verbose=0, callbacks=callbacks)
        return [*model.get_weights(), *map(np.array, history.history.values())]

    for with_it, without in zip(train([GradientFlow(x[:16], y[:16], frequency=2)]), train([]), strict=True):
        np.testing.assert_array_equal(with_it, without)


def test_once_an_epoch_and_with_several_steps_an_execution() -> None:
    x, y = data(64)
    model = network(2, "relu")
    model.compile("sgd", "sparse_categorical_crossentropy", steps_per_execution=2)
    flow = GradientFlow(x[:8], y[:8])
    model.fit(x, y, batch_size=16, epochs=3, verbose=0, callbacks=[flow])
    assert flow.record.steps.tolist() == [0, 4, 8]
    rows = flow.record.rows()
    assert len(rows) == 3 * 3
    assert rows[0]["layer"] == "hidden_0"
    assert rows[0]["update_ratio"] > 0


def test_clipping_the_norm_keeps_the_direction() -> None:
    x, y = data()

    def step(clip: float | None) -> tuple[np.ndarray, float]:
        model = network(3, "relu", "he_normal")
        model.compile(keras.optimizers.SGD(1.0, global_clipnorm=clip), "sparse_categorical_crossentropy")
        before = np.concatenate([weight.ravel() for weight in model.get_weights()])
        flow = GradientFlow(x, y)
        model.fit(x, y, batch_size=len(x), epochs=1, verbose=0, callbacks=[flow])
        change = np.concatenate([weight.ravel() for weight in model.get_weights()]) - before
        return change, float(np.linalg.norm(flow.record.update_norm[0]))

    free, clipped = step(None), step(0.05)
    assert free[1] > 0.05
    assert clipped[1] == pytest.approx(0.05, rel=1e-3)
    assert free[0] @ clipped[0] / np.linalg.norm(free[0]) / np.linalg.norm(clipped[0]) == pytest.approx(1, abs=1e-4)


def test_wild_steps_are_named() -> None:
    x, y = data()
    model = network(2, "relu", "he_normal")
    model.compile(keras.optimizers.SGD(50.0), "sparse_categorical_crossentropy")
    flow = GradientFlow(x, y)
    model.fit(x, y, batch_size=len(x), epochs=1, verbose=0, callbacks=[flow])
    verdict = judge(flow.record)
    assert verdict.kind == "exploding"
    assert "(limit 10 %)" in verdict.message


def test_frozen_layers_have_no_row_and_nested_ones_do() -> None:
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(4, name="a"), layers.Dense(4, name="b")], name="inner")
    inner.get_layer("a").trainable = False
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax", name="head")(inner(inputs)))
    record = gradient_flow(model, *data(), keras.losses.sparse_categorical_crossentropy)
    assert record.layers == ("inner/b", "head")


def test_a_subclassed_model_is_measured_too() -> None:
    class Subclassed(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.head = layers.Dense(4, name="hidden"), layers.Dense(2, "softmax", name="head")

        def call(self, x: object) -> object:
            return self.head(self.hidden(x))

    model, (x, y) = Subclassed(), data()
    model(x)
    assert gradient_flow(model, x, y, keras.losses.sparse_categorical_crossentropy).layers == ("hidden", "head")


def test_mistakes_are_told() -> None:
    x, y = data()
    model = network(1, "relu")
    with pytest.raises(InputError, match="frequency"):
        GradientFlow(x, y, frequency=0)
    with pytest.raises(InputError, match="not used yet"):
        _ = GradientFlow(x, y).record
    with pytest.raises(InputError, match="Compile the model, or give"):
        gradient_flow(sigmoid_chain(1), x[:, :1], y)
    model.trainable = False
    with pytest.raises(InputError, match="all of it frozen"):
        gradient_flow(model, x, y)
