"""What `fine_tune` is given that it cannot use: one line each, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from tlkit.errors import InputError
from tlkit.phases import Phase
from tlkit.training import Recipe, fine_tune
from tlkit.training.outcome import tell_outcome

Arrays = tuple[np.ndarray, np.ndarray]
Build = Callable[..., keras.Model]
PHASES = (Phase("all", "input", epochs=1),)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"validation_data": None}, "Expected validation_data"),
        ({"strategy": PHASES[0]}, "a tuple of tlkit.Phase. Received: a Phase"),
        ({"strategy": ("frozen",)}, "a tuple of tlkit.Phase"),
        ({"recipe": {"ema": 0.9}}, r"recipe=Recipe\(...\). Received: a dict"),
        ({"strategy": PHASES, "epochs": 5}, "no epochs beside phases of your own.*epochs=5"),
        ({"strategy": PHASES, "learning_rate": -1.0}, "no learning_rate beside phases of your own"),
        ({"strategy": "frozen", "train_from": "second"}, "no train_from with strategy 'frozen'"),
        ({"strategy": "frozen", "learning_rate": 0.1}, "no learning_rate with strategy 'frozen'"),
        ({"strategy": "partial", "train_from": "head"}, "Received: 'head'. The head alone is strategy 'frozen'"),
        ({"strategy": "partial", "train_from": "input"}, "Received: 'input'. Training everything is strategy 'full'"),
        ({"callbacks": keras.callbacks.TerminateOnNaN()}, "callbacks as a list.*Received: a TerminateOnNaN"),
        ({"callbacks": ["tensorboard"]}, "callbacks as a list"),
        ({"strategy": "full", "epochs": 0}, "at least one epoch for strategy 'full'"),
        ({"strategy": "scratch", "epochs": 0}, "at least one epoch for strategy 'scratch'"),
    ],
)
def test_arguments_of_another_kind_are_told(
    digits: tuple[Arrays, Arrays], small_net: Build, options: dict[str, Any], told: str
) -> None:
    train, validation = digits
    with pytest.raises(InputError, match=told) as caught:
        fine_tune(small_net(), train, **{"validation_data": validation, **options})
    assert "\n" not in str(caught.value)


def test_images_of_another_shape_are_told(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    (x, y), validation = digits
    for images in (x[..., 0], x[:, :16, :16], x[..., :1]):
        with pytest.raises(InputError, match=r"training images of shape \(32, 32, 3\). Received: "):
            fine_tune(small_net(), (images, y), validation_data=validation)


def test_labels_that_are_no_numbers_are_told(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    (x, y), validation = digits
    with pytest.raises(InputError, match=r"values such as '0'. Number the classes"):
        fine_tune(small_net(), (x, y.astype(str)), validation_data=validation)


def test_a_single_unit_is_told(digits: tuple[Arrays, Arrays]) -> None:
    (x, y), _ = digits
    inputs = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(pooled))
    with pytest.raises(InputError, match=r"at least two.*Dense\(2\)"):
        fine_tune(model, (x, y % 2), validation_data=(x, y % 2))


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_a_head_that_is_no_softmax_is_told(digits: tuple[Arrays, Arrays], small_net: Build, activation: str) -> None:
    train, validation = digits
    with pytest.raises(InputError, match=f"softmax probabilities or logits.*'{activation}' in 'head'"):
        fine_tune(small_net(activation=activation), train, validation_data=validation)


def test_classes_without_an_image_are_told(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    (x, y), validation = digits
    history = fine_tune(small_net(), (x[y < 8], y[y < 8]), validation_data=validation)
    assert any("10 classes, and no training image is of 8, 9" in note for note in history.outcomes[0].notes)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"time_budget": "1m"}, "time_budget as seconds, above 0. Received: '1m'"),
        ({"time_budget": True}, "time_budget as seconds, above 0. Received: True"),
        ({"batch_size": "x"}, "batch_size to be a whole number or auto. Received: 'x'"),
        ({"batch_size": 0}, "batch_size to be at least 1"),
        ({"accumulate": 1.5}, "accumulate to be a whole number. Received: 1.5"),
        ({"accumulate": None}, "accumulate to be a whole number. Received: None"),
        ({"balance": "yes"}, "balance to be true or false. Received: 'yes'"),
        ({"clip_norm": "1"}, "clip_norm to be a number. Received: '1'"),
        ({"extraction": "off"}, r"extraction=tlkit.config.ExtractionConfig\(...\). Received: 'off'"),
    ],
)
def test_options_of_a_recipe_of_another_kind_are_told(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Recipe(**options)


def test_numbers_of_numpy_and_whole_ones_serve_a_recipe() -> None:
    assert Recipe(clip_norm=1, ema=np.float64(0.9).item(), batch_size="auto").clip_norm == 1


@pytest.mark.parametrize("strategy", ["frozen", "partial", "full"])
def test_a_sequential_model_serves(digits: tuple[Arrays, Arrays], strategy: str) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.GlobalMaxPooling2D(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    train, validation = digits
    before = [np.array(weight) for weight in model.get_weights()]
    history = fine_tune(model, train, validation_data=validation, strategy=strategy, epochs=None)
    assert history.outcomes[-1].probabilities is not None
    np.testing.assert_allclose(
        model.predict(validation[0], verbose=0), history.outcomes[-1].probabilities, rtol=1e-4, atol=1e-5
    )
    changed = [not np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True)]
    assert changed[-2:] == [True, True]
    assert strategy != "frozen" or not any(changed[:-2])


def test_a_sequential_model_that_is_not_built_is_told(digits: tuple[Arrays, Arrays]) -> None:
    train, validation = digits
    model = keras.Sequential([keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)])
    with pytest.raises(InputError, match=r"not built. Begin it with"):
        fine_tune(model, train, validation_data=validation)


# --- Data that fit would take, and that cannot be trained on -------------------


class Batches(keras.utils.PyDataset):
    """Arrays in batches of 40; endless where asked for."""

    def __init__(self, x: np.ndarray, y: np.ndarray, endless: bool = False) -> None:
        super().__init__()
        self.x, self.y, self.endless = x, y, endless

    @property
    def num_batches(self) -> int | None:
        return None if self.endless else -(-len(self.x) // 40)

    def __len__(self) -> int:
        return -(-len(self.x) // 40)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(40 * index, 40 * (index + 1))
        return self.x[rows], self.y[rows]


def in_tensors(*parts: Any) -> Any:
    return pytest.importorskip("tensorflow").data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])


UNUSABLE: dict[str, tuple[Callable[[np.ndarray, np.ndarray], Any], str]] = {
    "forgotten labels": (lambda x, y: x, "one array of shape .200, 32, 32, 3., without labels"),
    "a path": (lambda x, y: "./images", "Received: './images'. To train on a folder there is the command"),
    "nothing": (lambda x, y: None, "as a pair of arrays .images, labels., or as a dataset. Received: None"),
    "a generator": (lambda x, y: iter([(x, y)]), "read again in every epoch. Received: a list_iterator"),
    "not batched": (lambda x, y: in_tensors(x, y), r"single images of shape \(32, 32, 3\). Batch them first"),
    "without a batch": (lambda x, y: in_tensors(x[:0], y[:0]).batch(8), "training data with at least one batch"),
    "batches without labels": (lambda x, y: in_tensors(x).batch(8), "images without labels"),
    "weights": (lambda x, y: in_tensors(x, y, y).batch(8), "weights by image are not supported"),
    "repeated": (lambda x, y: in_tensors(x, y).batch(8).repeat(), "endless .*Dataset. Leave .repeat"),
    "endless": (lambda x, y: Batches(x, y, endless=True), "an endless Batches"),
    "an empty PyDataset": (lambda x, y: Batches(x[:0], y[:0]), "training data with at least one batch"),
    "another size": (lambda x, y: Batches(x[:, :16], y), r"training images of shape \(32, 32, 3\)"),
    "labels out of range": (lambda x, y: Batches(x, y + 1), "from 0 to 9. Received: "),
}


@pytest.mark.parametrize("kind", UNUSABLE)
@pytest.mark.parametrize("strategy", ["frozen", "scratch"])
def test_data_that_cannot_be_trained_on_are_told(
    digits: tuple[Arrays, Arrays], small_net: Build, kind: str, strategy: str
) -> None:
    train, validation = digits
    make, told = UNUSABLE[kind]
    with pytest.raises(InputError, match=told) as caught:
        fine_tune(small_net(), make(*train), validation_data=validation, strategy=strategy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [Batches, lambda x, y: in_tensors(x, y).batch(40)])
@pytest.mark.parametrize("strategy", ["frozen", "partial", "scratch"])
@pytest.mark.parametrize("part", ["training", "validation"])
def test_a_number_that_is_none_is_found_in_any_batch(
    digits: tuple[Arrays, Arrays], small_net: Build, make: Callable[..., Any], strategy: str, part: str
) -> None:
    """A ReLU6 behind it would turn it into a number again, and the image into one of nothing."""
    (x, y), (x_validation, y_validation) = digits
    images = {"training": x.astype("float32"), "validation": x_validation.astype("float32")}
    images[part][77, 3, 4, 0] = np.nan
    data, validation = make(images["training"], y), make(images["validation"], y_validation)
    with pytest.raises(InputError, match=f"NaN or infinity in {part} image 77"):
        fine_tune(small_net(), data, validation_data=validation, strategy=strategy, epochs=None)


@pytest.mark.parametrize("make", [Batches, lambda x, y: in_tensors(x, y).batch(40)])
def test_datasets_train_as_arrays_do(digits: tuple[Arrays, Arrays], small_net: Build, make: Callable[..., Any]) -> None:
    train, validation = digits
    models = small_net(), small_net()
    fine_tune(models[0], train, validation_data=validation)
    fine_tune(models[1], make(*train), validation_data=make(*validation))
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


# --- Training that makes nothing better ----------------------------------------


def test_a_body_that_gains_nothing_is_told_and_not_kept(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    """Finite losses, but a rate that only destroys: no epoch is better than what the head had reached."""
    train, validation = digits
    model = small_net()
    phases = (Phase("head", convex_head=True), Phase("body", "input", 2, 10.0, warmup=0.0))
    history = fine_tune(model, train, validation_data=validation, strategy=phases)
    head, body = history.outcomes
    assert not body.kept
    assert any(note.startswith("No epoch was better than the weights it began with") for note in body.notes)
    assert tell_outcome(body).startswith("Unfreezing everything gained nothing, and what it began with stays")
    assert body.gain is not None
    assert body.gain.accuracy == 0
    np.testing.assert_allclose(model.predict(validation[0], verbose=0), head.probabilities, rtol=1e-4, atol=1e-5)


# --- A loss that is not finite ------------------------------------------------


def test_a_body_that_was_given_up_is_told_so(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    train, validation = digits
    phases = (Phase("head", convex_head=True), Phase("all", "input", 1, 1e30, optimizer="sgd"))
    history = fine_tune(small_net(), train, validation_data=validation, strategy=phases, recipe=Recipe(clip_norm=1e30))
    assert tell_outcome(history.outcomes[-1]).startswith("Unfreezing everything was given up, for its loss was not")
