"""Training on augmented pictures: live where everything trains, as views past a frozen part; validation on plain."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

import tlkit
from tlkit.augment import ArrayStore, AugmentedDataset, RandomView, preset
from tlkit.config import ExtractionConfig
from tlkit.data.loader import ImageDataset
from tlkit.errors import InputError
from tlkit.features import predict_in_order
from tlkit.graph import split_model
from tlkit.phases import INPUT, Phase
from tlkit.strategies import stages_of
from tlkit.training.augmented import tell_head
from tlkit.training.head import set_head_on_views
from tlkit.training.recipe import Recipe
from tlkit.views import ViewDataset, Views

Arrays = tuple[np.ndarray, np.ndarray]
WHOLE = (Phase("whole", INPUT, epochs=2, learning_rate=1e-3),)


def layers(name: str = "standard") -> list[keras.layers.Layer]:
    return preset(name, 32, num_classes=10, flip=False)


@pytest.mark.parametrize("name", ["standard", "strong"])
def test_everything_trains_on_live_augmentation(digits: tuple[Arrays, Arrays], small_net: Callable, name: str) -> None:
    train, validation = digits
    model = small_net(noisy=True)
    start = tlkit.evaluate(model, validation)["log_loss"]
    data = AugmentedDataset(train, layers(name), seed=3)
    history = tlkit.fine_tune(model, data, validation_data=validation, strategy=WHOLE)
    found = tlkit.evaluate(model, validation)
    best = history.history["best"].index(True)
    assert found["log_loss"] < start
    assert history.history["val_loss"][best] == pytest.approx(found["log_loss"], abs=1e-3)
    assert history.history["val_accuracy"][best] == pytest.approx(found["accuracy"], abs=1e-6)
    assert not any(isinstance(layer, RandomView) for layer in model.layers)


def test_the_same_seed_trains_the_same(digits: tuple[Arrays, Arrays], small_net: Callable) -> None:
    weights = []
    for _ in range(2):
        model = small_net()
        data = AugmentedDataset(digits[0], layers("strong"), seed=3)
        tlkit.fine_tune(model, data, validation_data=digits[1], strategy=WHOLE)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["light", "strong"])
def test_past_a_cut_the_views_train(digits: tuple[Arrays, Arrays], small_net: Callable, name: str) -> None:
    model = small_net(noisy=True)
    frozen = model.get_layer("first").get_weights()
    body = Phase("body", stages_of(model)[-1].name, epochs=3, learning_rate=1e-3)
    phases = (Phase("head", convex_head=True), body)
    data = AugmentedDataset(digits[0], layers(name), views=2)
    history = tlkit.fine_tune(model, data, validation_data=digits[1], strategy=phases)
    for before, after in zip(frozen, model.get_layer("first").get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    told = [note for outcome in history.outcomes for note in outcome.notes]
    assert any("2 augmented views of each picture go through the frozen part once; 3 epochs" in note for note in told)
    assert any(note.startswith("The head was fitted to") for note in told)
    assert tlkit.evaluate(model, digits[1])["accuracy"] > 0.6


def test_without_a_cache_views_train_the_same(digits: tuple[Arrays, Arrays], small_net: Callable) -> None:
    weights, told = [], []
    for kept in ("on", "off"):
        model = small_net()
        body = Phase("body", stages_of(model)[-1].name, epochs=3, learning_rate=1e-3)
        phases = (Phase("head", convex_head=True), body)
        data = AugmentedDataset(digits[0], layers(), views=2)
        recipe = Recipe(extraction=ExtractionConfig(cache=kept))
        history = tlkit.fine_tune(model, data, validation_data=digits[1], strategy=phases, recipe=recipe)
        weights.append(model.get_weights())
        told.append(" ".join(note for outcome in history.outcomes for note in outcome.notes))
    assert "2 augmented views of each picture, computed anew" in told[1]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_view_an_epoch_is_live_augmentation(digits: tuple[Arrays, Arrays], small_net: Callable) -> None:
    prefix, _ = split_model(small_net(), "first")
    images, labels = digits[0]
    plain = ImageDataset(ArrayStore(images), np.arange(200), labels, 32)
    shuffled = ImageDataset(ArrayStore(images), np.arange(200), labels, 32, shuffle=True, seed=4)
    live = AugmentedDataset(shuffled, layers(), seed=7)
    batches = ViewDataset(Views(prefix, plain, layers(), 3, seed=7), 32, seed=4)
    for _ in range(3):
        for dataset in (live, batches):
            dataset.on_epoch_begin()
        for index in range(len(live)):
            rows, truth = batches[index]
            np.testing.assert_allclose(rows, predict_in_order(prefix, [live[index]])[0], atol=2e-2)
            np.testing.assert_array_equal(truth, live[index][1])
        for dataset in (live, batches):
            dataset.on_epoch_end()


def test_the_head_keeps_what_validates_better(small_net: Callable) -> None:
    model = small_net()
    width = model.get_layer("head").kernel.shape[0]
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, width))
    labels = np.arange(200) % 10
    rows, held_out = (centres[labels] + rng.normal(size=(200, width)) * 4 for _ in range(2))
    more = [centres[labels] + rng.normal(size=(200, width)) * 4 for _ in range(3)]
    _, better = set_head_on_views(model, (rows, labels), more, (held_out, labels), Recipe(), None)
    assert better
    nonsense = [centres[(labels + 1) % 10] for _ in range(3)]
    probe, better = set_head_on_views(model, (rows, labels), nonsense, (held_out, labels), Recipe(), None)
    assert not better
    np.testing.assert_array_equal(model.get_layer("head").get_weights()[0], probe.kernel)
    assert "plain pictures, which validates better" in tell_head(3, better)


def test_regularisers_leave_no_trace_in_the_model(digits: tuple[Arrays, Arrays], tmp_path: object) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, strides=4)(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Add()([x, keras.layers.Conv2D(8, 3, padding="same")(x)])
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))
    recipe = tlkit.Recipe(stochastic_depth=0.2, l2_sp=0.01)
    tlkit.fine_tune(model, digits[0], validation_data=digits[1], strategy=WHOLE, recipe=recipe)
    assert all(variable.regularizer is None for variable in model.variables)
    model.save(f"{tmp_path}/model.keras")
    loaded = keras.models.load_model(f"{tmp_path}/model.keras")
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    with pytest.raises(InputError, match="stochastic_depth"):
        tlkit.Recipe(stochastic_depth=1.5)


def test_stochastic_depth_wants_everything_to_train(digits: tuple[Arrays, Arrays], small_net: Callable) -> None:
    recipe = tlkit.Recipe(stochastic_depth=0.1)
    with pytest.raises(InputError, match="Expected a strategy that trains everything"):
        tlkit.fine_tune(small_net(), digits[0], validation_data=digits[1], strategy="frozen", recipe=recipe)


def test_one_class_cannot_be_mixed(digits: tuple[Arrays, Arrays]) -> None:
    images, _ = digits[0]
    with pytest.raises(InputError, match="at least two classes to mix"):
        AugmentedDataset((images, np.zeros(len(images), int)), layers("strong"))
