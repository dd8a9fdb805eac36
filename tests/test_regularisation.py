from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tlkit.classifier import build_classifier
from tlkit.errors import InputError
from tlkit.regularisation import pulled_to_start, with_stochastic_depth


def residual_net() -> keras.Model:
    """Two blocks with a residual branch of convolutions; the second has a projection as its shortcut."""
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((8, 8, 3))
    branch = keras.layers.Conv2D(3, 3, padding="same")(keras.layers.Conv2D(3, 3, padding="same")(x))
    x = keras.layers.Add(name="first")([x, branch])
    branch = keras.layers.Conv2D(4, 3, padding="same")(keras.layers.ReLU()(keras.layers.Conv2D(4, 1)(x)))
    x = keras.layers.Add(name="second")([branch, keras.layers.Conv2D(4, 1, name="shortcut")(x)])
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((64, 8, 8, 3)).astype("float32")


def test_the_twin_shares_weights_and_answers_the_same(images: np.ndarray, tmp_path: Path) -> None:
    model = residual_net()
    twin = with_stochastic_depth(model, 0.5)
    assert [id(weight) for weight in twin.trainable_variables] == [id(weight) for weight in model.trainable_variables]
    np.testing.assert_allclose(twin.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-6)
    assert not any("stochastic" in layer.name for layer in model.layers)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-6)


def test_branches_are_skipped_by_picture_and_rates_rise(images: np.ndarray) -> None:
    model = residual_net()
    twin = with_stochastic_depth(model, 0.5)
    drops = [layer for layer in twin.layers if layer.name.startswith("stochastic_depth")]
    assert [layer.rate for layer in drops] == [0.25, 0.5]
    tap = keras.Model(twin.input, drops[0].output)
    made = np.asarray(tap(images, training=True))
    skipped = (made == 0).all(axis=(1, 2, 3))
    assert 3 <= skipped.sum() <= 36
    plain = np.asarray(keras.Model(twin.input, drops[0]._inbound_nodes[0].input_tensors[0])(images))
    np.testing.assert_allclose(made[~skipped], plain[~skipped] / 0.75, rtol=1e-3, atol=1e-4)


def test_branches_that_drop_already_get_the_rate_in_place_of_their_own(images: np.ndarray) -> None:
    inputs = keras.Input((8, 8, 3))
    own = keras.layers.Dropout(0.9, noise_shape=(None, 1, 1, 1), name="own")
    x = keras.layers.Add()([own(keras.layers.Conv2D(3, 1)(inputs)), inputs])
    x = keras.layers.Add()([keras.layers.Conv2D(3, 1)(keras.layers.Conv2D(3, 1)(x)), x])
    model = keras.Model(inputs, x)
    twin = with_stochastic_depth(model, 0.5)
    drops = [layer for layer in twin.layers if isinstance(layer, keras.layers.Dropout)]
    assert [(layer.name, layer.rate) for layer in drops] == [("stochastic_depth_1", 0.25), ("stochastic_depth_2", 0.5)]
    np.testing.assert_allclose(twin.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-6)
    assert model.get_layer("own").rate == 0.9


def test_a_network_without_residual_blocks_is_told() -> None:
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(3, 1)(inputs))
    with pytest.raises(InputError, match="Expected a network with residual blocks"):
        with_stochastic_depth(model, 0.1)


def test_efficientnet_takes_it() -> None:
    model = build_classifier("efficientnet_lite0", 2, image_size=32, weights="none")
    drops = [layer for layer in with_stochastic_depth(model, 0.2).layers if layer.name.startswith("stochastic_depth")]
    assert len(drops) == 9
    assert drops[-1].rate == pytest.approx(0.2)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_out_of_range_is_told(rate: float) -> None:
    with pytest.raises(InputError, match="Expected stochastic_depth from 0 to below 1"):
        with_stochastic_depth(residual_net(), rate)


def test_weights_are_pulled_to_where_they_started(images: np.ndarray) -> None:
    labels = np.arange(64) % 2
    moved = {}
    for strength in (0.0, 100.0):
        model = residual_net()
        start = model.get_weights()
        with pulled_to_start(model, strength):
            model.compile(keras.optimizers.SGD(0.005), "sparse_categorical_crossentropy")
            model.fit(images, labels, epochs=5, verbose=0)
        assert all(variable.regularizer is None for variable in model.trainable_variables)
        kernels = [(a, b) for a, b in zip(start, model.get_weights(), strict=True) if a.ndim > 1]
        moved[strength] = sum(float(np.square(a - b).sum()) for a, b in kernels)
    assert 0 < moved[100.0] < 0.5 * moved[0.0]


def test_the_pull_is_half_the_squared_distance(images: np.ndarray) -> None:
    model = residual_net()
    with pulled_to_start(model, 0.5):
        assert float(sum(model.losses)) == 0
        kernel = model.layers[-1].kernel
        kernel.assign(kernel + 1.0)
        assert float(sum(model.losses)) == pytest.approx(0.25 * 8, rel=1e-5)
    assert model.losses == []


def test_a_negative_strength_is_told() -> None:
    with pytest.raises(InputError, match="Expected l2_sp of at least 0"), pulled_to_start(residual_net(), -1.0):
        pass
