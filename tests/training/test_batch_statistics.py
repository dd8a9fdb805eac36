"""BatchNormalization that trains must be as good in use as it was in training, however short the epochs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tlkit
from tlkit.features import predict_in_order
from tlkit.phases import Phase
from tlkit.training.batch_statistics import keeping_up

Arrays = tuple[np.ndarray, np.ndarray]


def normalised_net(momentum: float = 0.99) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    for strides in (2, 1, 1, 2, 1, 1):
        x = keras.layers.Conv2D(16, 3, strides, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=momentum)(x))
    x = keras.layers.Flatten(name="features")(x)
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="head")(x))


def norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def test_three_steps_an_epoch_leave_statistics_of_the_images(digits: tuple[Arrays, Arrays]) -> None:
    (x, y), validation = digits
    model = normalised_net()
    phase = Phase("scratch", "input", epochs=12, learning_rate=3e-3, batch_norm="trained")
    tlkit.fine_tune(model, (x[:96], y[:96]), validation_data=validation, strategy=[phase])
    accuracy = np.mean(predict_in_order(model, validation)[0].argmax(axis=1) == validation[1])
    by_the_batch = np.asarray(model(validation[0].astype("float32"), training=True)).argmax(axis=1)
    assert accuracy > 0.7  # With Keras's own momentum it is 0.3.
    assert accuracy == pytest.approx(np.mean(by_the_batch == validation[1]), abs=0.1)
    assert [layer.momentum for layer in norms(model)] == [0.99] * 6  # The model's own again.


@pytest.mark.parametrize(
    ("own", "steps", "wanted"), [(0.99, 1, 0.1), (0.99, 10, 0.1**0.1), (0.99, 300, 0.99), (0.6, 10, 0.6)]
)
def test_an_epoch_leaves_a_tenth_of_older_statistics(own: float, steps: int, wanted: float) -> None:
    model = normalised_net(own)
    with keeping_up(model, steps):
        assert [layer.momentum for layer in norms(model)] == pytest.approx([wanted] * 6)
    assert [layer.momentum for layer in norms(model)] == [own] * 6


def test_frozen_layers_are_left_alone() -> None:
    model = normalised_net()
    norms(model)[0].trainable = False
    with keeping_up(model, 1):
        assert [layer.momentum for layer in norms(model)] == pytest.approx([0.99, *[0.1] * 5])


def test_the_momentum_comes_back_after_an_error() -> None:
    model = normalised_net()
    with pytest.raises(RuntimeError), keeping_up(model, 1):
        raise RuntimeError
    assert [layer.momentum for layer in norms(model)] == [0.99] * 6
