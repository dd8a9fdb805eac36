from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import tlkit
from tlkit.errors import InputError, NotFiniteError
from tlkit.features import predict_in_order
from tlkit.graph import layers_after
from tlkit.phases import Phase
from tlkit.search.trial_process import reason_of
from tlkit.training import fine_tune

Arrays = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def digits() -> tuple[Arrays, Arrays]:
    """Digits as 32 px colour images, 200 to train on and 100 to validate."""
    x, y = load_digits(return_X_y=True)
    images = np.kron(x.reshape(-1, 8, 8) * 15.9, np.ones((4, 4)))[:300, :, :, None].repeat(3, axis=3).astype("uint8")
    return (images[:200], y[:200]), (images[200:], y[200:300])


def small_net(activation: str | None = "softmax") -> keras.Model:
    """A net with what goes wrong in a frozen base: BatchNormalization and Dropout."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    x = keras.layers.Conv2D(16, 3, strides=2, activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Conv2D(16, 3, strides=2, activation="relu")(x)
    x = keras.layers.Flatten(name="features")(x)
    return keras.Model(inputs, keras.layers.Dense(10, activation=activation, name="head")(x))


@pytest.mark.parametrize("epochs", [0, 3])
def test_frozen_means_frozen(digits: tuple[Arrays, Arrays], epochs: int) -> None:
    train, validation = digits
    model = small_net()
    head = {id(weight) for weight in model.get_layer("head").weights}
    before = [weight.numpy() for weight in model.weights]
    fine_tune(model, train, validation_data=validation, epochs=epochs)
    for old, weight in zip(before, model.weights, strict=True):
        assert np.array_equal(old, weight.numpy()) == (id(weight) not in head), weight.path


@pytest.mark.parametrize("activation", ["softmax", None])
def test_the_head_is_the_convex_optimum_and_learns(digits: tuple[Arrays, Arrays], activation: str | None) -> None:
    train, validation = digits
    model = small_net(activation)
    history = fine_tune(model, train, validation_data=validation).history
    best = history["best"].index(True)
    metrics = tlkit.evaluate(model, validation)
    assert metrics["accuracy"] == pytest.approx(history["val_accuracy"][best], abs=1e-6)
    assert metrics["log_loss"] == pytest.approx(history["val_loss"][best], abs=1e-4)
    assert metrics["accuracy"] > 0.7
    assert history["phase"] == ["probe"] * len(history["phase"])


def test_gradient_epochs_never_end_worse_than_they_began(digits: tuple[Arrays, Arrays]) -> None:
    train, validation = digits
    model = small_net()
    history = fine_tune(model, train, validation_data=validation, epochs=2, learning_rate=10.0).history
    probe_best = min(
        loss for loss, phase in zip(history["val_loss"], history["phase"], strict=True) if phase == "probe"
    )
    assert tlkit.evaluate(model, validation)["log_loss"] <= probe_best + 1e-4


def test_gradient_training_alone_learns(digits: tuple[Arrays, Arrays]) -> None:
    train, validation = digits
    model = small_net()
    history = fine_tune(
        model, train, validation_data=validation, strategy=[Phase("head", epochs=20, learning_rate=0.01)]
    ).history
    assert history["phase"] == ["head"] * 20
    assert tlkit.evaluate(model, validation)["accuracy"] > 0.6


def test_arrays_tf_data_and_pydataset_give_the_same_head(digits: tuple[Arrays, Arrays]) -> None:
    tf = pytest.importorskip("tensorflow")
    train, validation = digits

    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 7

        def __getitem__(self, index: int) -> Arrays:
            return train[0][index * 32 : index * 32 + 32], train[1][index * 32 : index * 32 + 32]

    kernels = []
    for data in (train, tf.data.Dataset.from_tensor_slices(train).batch(32), Batches()):
        model = small_net()
        fine_tune(model, data, validation_data=validation)
        kernels.append(model.get_layer("head").get_weights()[0])
    np.testing.assert_array_equal(kernels[0], kernels[1])
    np.testing.assert_array_equal(kernels[0], kernels[2])


def test_data_of_others_train_the_whole_and_must_end(digits: tuple[Arrays, Arrays]) -> None:
    tf = pytest.importorskip("tensorflow")
    train, validation = (tf.data.Dataset.from_tensor_slices(part).batch(50) for part in digits)
    model = small_net()
    phases = [Phase("all", "input", epochs=6, learning_rate=3e-3)]
    history = fine_tune(model, train, validation_data=validation, strategy=phases).history
    assert any(history["best"])
    assert min(history["val_loss"]) == pytest.approx(tlkit.evaluate(model, digits[1])["log_loss"], abs=1e-3)
    with pytest.raises(InputError, match=r"Leave \.repeat\(\) out"):
        fine_tune(model, train.repeat(), validation_data=validation, strategy=phases)


def test_one_hot_labels_serve(digits: tuple[Arrays, Arrays]) -> None:
    (x, y), validation = digits
    model = small_net()
    history = fine_tune(model, (x, np.eye(10)[y]), validation_data=validation)
    assert max(history.history["val_accuracy"]) > 0.7


def test_a_nested_base_serves(digits: tuple[Arrays, Arrays]) -> None:
    train, validation = digits
    base = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Conv2D(32, 3, 2), keras.layers.BatchNormalization()], name="base"
    )
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(base(keras.layers.Rescaling(1 / 255)(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))
    before = base.get_weights()
    fine_tune(model, train, validation_data=validation, epochs=1)
    for old, new in zip(before, base.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_only_the_head_is_trainable_afterwards(digits: tuple[Arrays, Arrays]) -> None:
    train, validation = digits
    model = small_net()
    fine_tune(model, train, validation_data=validation)
    trained = {layer.name for layer in model.layers if layer.trainable and layer.weights}
    assert trained == {"head"}
    assert [layer.name for layer in layers_after(model, "features")] == ["head"]


def test_saved_and_loaded_the_same(digits: tuple[Arrays, Arrays], tmp_path: object) -> None:
    train, validation = digits
    model = small_net()
    fine_tune(model, train, validation_data=validation)
    model.save(f"{tmp_path}/model.keras")
    loaded = keras.models.load_model(f"{tmp_path}/model.keras")
    np.testing.assert_array_equal(predict_in_order(model, validation)[0], predict_in_order(loaded, validation)[0])


def test_the_last_batch_is_as_exact_as_the_others(digits: tuple[Arrays, Arrays]) -> None:
    (x, _), _ = digits
    model = small_net()
    whole = predict_in_order(model, [(x[:64], None)])[0]
    cut = predict_in_order(model, [(x[:32], None), (x[32:33], None)])[0]
    np.testing.assert_array_equal(whole[:33], cut)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.full(200, 10), "0 to 9. Received: 10 to 10"),
        (np.full(200, -1), "Received: -1 to -1"),
        (np.zeros((200, 3)), "shape \\(200, 3\\)"),
    ],
)
def test_bad_labels_are_told(digits: tuple[Arrays, Arrays], labels: np.ndarray, told: str) -> None:
    (x, _), validation = digits
    with pytest.raises(InputError, match=told):
        fine_tune(small_net(), (x, labels), validation_data=validation)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ((np.zeros((3, 32, 32, 3)), np.zeros(2)), "3 images, 2 labels"),
        ((np.zeros((3, 32, 32, 3)), np.zeros(3), np.ones(3)), "Weights by image are not supported"),
        ((np.zeros((3, 32, 32, 3)), np.array([0, 0.5, 1])), "numbers such as 0.5"),
        ((np.zeros((0, 32, 32, 3)), np.zeros(0)), "at least one"),
    ],
)
def test_arrays_that_do_not_fit_are_told(digits: tuple[Arrays, Arrays], data: tuple, told: str) -> None:
    with pytest.raises(InputError, match=told):
        fine_tune(small_net(), data, validation_data=digits[1])


def test_a_loss_that_is_not_finite_is_told(digits: tuple[Arrays, Arrays]) -> None:
    train, validation = digits
    phase = Phase("wild", "input", epochs=2, learning_rate=1e30, optimizer="sgd")
    model = small_net(None)
    before = model.get_weights()
    with pytest.raises(NotFiniteError, match=r"finite loss.*phase 'wild'.*a lower --learning-rate") as caught:
        fine_tune(model, train, validation_data=validation, strategy=[phase])
    assert "\n" not in str(caught.value)
    assert reason_of(caught.value) == "not finite"  # As a search would tell it of a trial.
    for left, right in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(left, right)


def test_unknown_strategy_is_told_with_the_nearest(digits: tuple[Arrays, Arrays]) -> None:
    train, validation = digits
    with pytest.raises(InputError, match="Did you mean 'frozen'"):
        fine_tune(small_net(), train, validation_data=validation, strategy="frozn")


def test_a_hidden_layer_asks_for_epochs(digits: tuple[Arrays, Arrays]) -> None:
    train, validation = digits
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Dense(8, name="hidden")(keras.layers.GlobalAveragePooling2D()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))
    with pytest.raises(InputError, match=r"also hidden.*tlkit\.Phase"):
        fine_tune(model, train, validation_data=validation)
    fine_tune(model, train, validation_data=validation, strategy=[Phase("head", epochs=1)])
