"""What every augmentation layer promises, eagerly and inside `fit`, under whichever backend runs this file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from tlkit.augment import (
    Augment,
    Augmentation,
    CutMix,
    MixUp,
    RandomColour,
    RandomErasing,
    RandomView,
    TrivialAugment,
    preset,
)
from tlkit.errors import InputError

SIZE, STORED, CLASSES = 32, 40, 3
LAYERS: dict[str, Callable[[int], Augmentation]] = {
    "crop": lambda seed: RandomView(SIZE, seed=seed),
    "resized crop": lambda seed: RandomView(SIZE, scale=(0.3, 1.0), seed=seed),
    "turn": lambda seed: RandomView(vertical_flip=True, rotation=180, seed=seed),
    "colour": lambda seed: RandomColour(0.5, 0.5, 0.5, 0.2, seed=seed),
    "erasing": lambda seed: RandomErasing(1.0, seed=seed),
    "trivial": lambda seed: TrivialAugment(2.0, seed=seed),
    "standard": lambda seed: Augment(preset("standard", SIZE), seed=seed),
    "all": lambda seed: Augment([*preset("strong", SIZE), RandomView(rotation=9)], seed=seed),
}
MIXES: dict[str, Callable[[int], Augmentation]] = {
    "mixup": lambda seed: MixUp(CLASSES, alpha=1.0, seed=seed),
    "cutmix": lambda seed: CutMix(CLASSES, seed=seed),
    "strong": lambda seed: Augment(preset("strong", SIZE, num_classes=CLASSES), seed=seed),
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
every_mix = pytest.mark.parametrize("make", MIXES.values(), ids=MIXES)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Eight parts of two photographs, uint8 (8, 40, 40, 3)."""
    parts = [
        picture[place : place + 160 : 4, place : place + 160 : 4]
        for picture in load_sample_images().images
        for place in (0, 70, 140, 210)
    ]
    return np.stack(parts)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.array([0, 1, 2, 0, 1, 2, 0, 1])


def middle(images: np.ndarray, like: Any) -> np.ndarray:
    """The middle of pictures, of the size of others."""
    start = (images.shape[1] - like.shape[1]) // 2
    return images[:, start : start + like.shape[1], start : start + like.shape[1]]


@every_layer
def test_pictures_keep_shape_dtype_and_range(make: Callable, images: np.ndarray) -> None:
    for given in (images, images.astype("float32"), images[:1], images[0]):
        layer = make(0)
        made = np.asarray(layer(given, training=True))
        assert made.shape == tuple(layer.compute_output_shape(given.shape))
        assert made.dtype == np.float32
        assert made.min() >= 0
        assert made.max() <= 255
    assert np.asarray(make(0)(images, training=True)).std() > 10


@every_layer
def test_the_seed_decides_and_pictures_and_calls_differ(make: Callable, images: np.ndarray) -> None:
    same = np.repeat(images[:1], 64, axis=0)
    layer, again, other = make(0), make(0), make(1)
    first, second = (np.asarray(layer(same, training=True)) for _ in range(2))
    np.testing.assert_array_equal(first, np.asarray(again(same, training=True)))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, np.asarray(other(same, training=True)))
    assert len(np.unique(first.reshape(64, -1), axis=0)) > 8


@every_layer
def test_draws_decide_whatever_the_batch(make: Callable, images: np.ndarray) -> None:
    layer = make(0)
    draws = np.random.default_rng(0).random((len(images), layer.num_draws), np.float32)
    whole = np.asarray(layer.transform(images, draws))
    parts = [np.asarray(layer.transform(images[part], draws[part])) for part in (slice(0, 3), slice(3, 8))]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-2)


@every_layer
@pytest.mark.parametrize("draw", [0.0, 0.25, 0.5, 1 - 2**-24])
def test_no_draw_leaves_the_range(make: Callable, images: np.ndarray, draw: float) -> None:
    layer = make(0)
    made = np.asarray(layer.transform(images, np.full((len(images), layer.num_draws), draw, "float32")))
    assert np.isfinite(made).all()
    assert made.min() >= 0
    assert made.max() <= 255


@every_layer
def test_nothing_happens_outside_training(make: Callable, images: np.ndarray) -> None:
    layer = make(0)
    for made in (layer(images), layer(images, training=False)):
        np.testing.assert_array_equal(np.asarray(made), middle(images, made))


@every_layer
def test_a_saved_layer_is_the_same(make: Callable, images: np.ndarray) -> None:
    layer = make(3)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert repr(copy) == repr(layer)
    np.testing.assert_array_equal(np.asarray(copy(images, training=True)), np.asarray(make(3)(images, training=True)))


def least(expected: Any, made: Any) -> Any:
    return keras.ops.min(made)


def most(expected: Any, made: Any) -> Any:
    return keras.ops.max(made)


def change(expected: Any, made: Any) -> Any:
    return keras.ops.mean(keras.ops.abs(expected - made))


@every_layer
def test_inside_fit(make: Callable, images: np.ndarray) -> None:
    """A network that hands pictures on tells what the layer made of them."""
    layer = make(0)
    inputs = keras.Input((STORED, STORED, 3), dtype="uint8")
    outputs = keras.layers.Dense(3, kernel_initializer="identity")(layer(inputs))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=[least, most, change], jit_compile=False)
    expected = middle(images, outputs).astype("float32")
    logs = model.fit(images, expected, batch_size=8, verbose=0).history
    assert logs["least"][0] >= -1e-3
    assert logs["most"][0] <= 255.01
    assert logs["change"][0] > 0.1
    assert model.evaluate(images, expected, batch_size=8, verbose=0, return_dict=True)["change"] < 1e-3
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-3)


@every_mix
def test_labels_are_shares_that_sum_to_one(make: Callable, images: np.ndarray, labels: np.ndarray) -> None:
    layer = make(0)
    mixed = 0
    for given in (labels, np.eye(CLASSES)[labels]):
        made = layer({"images": images, "labels": given}, training=True)
        pictures, shares = np.asarray(made["images"]), np.asarray(made["labels"])
        assert shares.shape == (8, CLASSES)
        assert shares.dtype == np.float32
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
        assert shares.min() >= 0
        assert pictures.dtype == np.float32
        assert pictures.min() >= 0
        assert pictures.max() <= 255
        mixed += int((shares.max(axis=1) < 0.999).sum())
    assert mixed > 4


@every_mix
def test_mixes_repeat_with_their_seed(make: Callable, images: np.ndarray, labels: np.ndarray) -> None:
    one, again, other = (make(seed)({"images": images, "labels": labels}, training=True) for seed in (0, 0, 1))
    for name in ("images", "labels"):
        np.testing.assert_array_equal(np.asarray(one[name]), np.asarray(again[name]))
    assert not np.array_equal(np.asarray(one["labels"]), np.asarray(other["labels"]))


@every_mix
def test_labels_stay_hard_outside_training(make: Callable, images: np.ndarray, labels: np.ndarray) -> None:
    made = make(0)({"images": images, "labels": labels}, training=False)
    np.testing.assert_array_equal(np.asarray(made["labels"]), np.eye(CLASSES)[labels])
    np.testing.assert_array_equal(np.asarray(made["images"]), middle(images, made["images"]))


@every_mix
def test_mixes_are_saved(make: Callable, images: np.ndarray, labels: np.ndarray) -> None:
    layer = make(5)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    data = {"images": images, "labels": labels}
    np.testing.assert_array_equal(
        np.asarray(copy(data, training=True)["labels"]), np.asarray(make(5)(data, training=True)["labels"])
    )


def test_cutmix_labels_are_the_areas_that_show(labels: np.ndarray) -> None:
    plain = np.repeat(labels[:, None, None, None], 3, axis=3).repeat(20, 1).repeat(20, 2).astype("float32") * 100
    made = CutMix(CLASSES, seed=0)({"images": plain, "labels": labels}, training=True)
    shares = [[(picture == 100 * label).mean() for label in range(CLASSES)] for picture in np.asarray(made["images"])]
    np.testing.assert_allclose(np.asarray(made["labels"]), shares, atol=1e-5)


def test_mixup_blends_pictures_as_it_blends_labels() -> None:
    labels = np.array([0, 1] * 8)
    plain = np.ones((16, 4, 4, 3), "float32") * (labels * 200)[:, None, None, None]
    made = MixUp(2, alpha=1.0, seed=0)({"images": plain, "labels": labels}, training=True)
    np.testing.assert_allclose(
        np.asarray(made["images"])[:, 0, 0, 0], np.asarray(made["labels"])[:, 1] * 200, atol=1e-2
    )


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_weights_follow_the_beta_distribution(alpha: float) -> None:
    labels = np.array([0, 1] * 1000)
    data = {"images": np.zeros((2000, 1, 1, 3), "float32"), "labels": labels}
    shares = np.asarray(MixUp(2, alpha=alpha, seed=0)(data, training=True)["labels"])[np.arange(2000), labels]
    assert shares.mean() == pytest.approx(0.5, abs=0.05)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.15)


def test_moves_in_a_row_are_one_warp(images: np.ndarray) -> None:
    first, second = RandomView(36, scale=(0.5, 0.9)), RandomView(SIZE, flip=True)
    chain = Augment([first, second])
    draws = np.random.default_rng(0).random((8, chain.num_draws), np.float32)
    in_turn = second.transform(first.transform(images, draws[:, :7]), draws[:, 7:])
    np.testing.assert_allclose(np.asarray(chain.transform(images, draws)), np.asarray(in_turn), atol=1e-2)


def test_whole_pixel_crops_are_pieces_of_the_picture(images: np.ndarray) -> None:
    for made in np.asarray(RandomView(SIZE, flip=False, seed=0)(images[:1].repeat(16, 0), training=True)):
        pieces = np.lib.stride_tricks.sliding_window_view(images[0], (SIZE, SIZE, 3)).reshape(-1, SIZE, SIZE, 3)
        assert (pieces == made).all(axis=(1, 2, 3)).any()


def test_a_flip_is_a_mirror_image(images: np.ndarray) -> None:
    made = np.asarray(RandomView(seed=0)(images[:1].repeat(32, 0), training=True))
    mirrored = [np.array_equal(one, images[0, :, ::-1]) for one in made]
    assert all(
        np.array_equal(one, images[0]) for one, is_mirrored in zip(made, mirrored, strict=True) if not is_mirrored
    )
    assert 6 <= sum(mirrored) <= 26


def test_a_right_angle_turns_the_picture(images: np.ndarray) -> None:
    layer = RandomView(flip=False, rotation=90)
    draws = np.full((8, layer.num_draws), 1.0, "float32")
    np.testing.assert_allclose(np.asarray(layer.transform(images, draws)), np.rot90(images, axes=(1, 2)), atol=0.1)


def test_colours_are_those_of_pillow(images: np.ndarray) -> None:
    from PIL import Image, ImageEnhance

    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for place, enhancer in enumerate(enhancers):
        layer = RandomColour(0.5, 0.5, 0.5)
        draws = np.full((1, 4), 0.5, "float32")
        draws[0, place] = 0.9
        made = np.asarray(layer.transform(images[:1], draws))[0]
        theirs = np.asarray(enhancer(Image.fromarray(images[0])).enhance(0.5 + 0.9))
        assert np.abs(made - theirs).max() <= 1.6  # They round on the way.


def test_a_hue_that_turns_keeps_the_grey(images: np.ndarray) -> None:
    layer = RandomColour(0, 0, 0, hue=1.0)
    calm = images[:1] // 4 + 96  # No colour that a turn would carry out of the range.
    made = np.asarray(layer.transform(calm, np.array([[0, 0, 0, 0.8]], "float32")))[0]
    grey = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(made @ grey, calm[0] @ grey, atol=0.1)
    assert np.abs(made - calm[0]).max() > 5


def test_layers_work_with_those_of_keras(images: np.ndarray, labels: np.ndarray) -> None:
    chain = Augment([RandomView(SIZE), keras.layers.RandomContrast(0.3, seed=1), CutMix(CLASSES)], seed=0)
    made = []
    for step in (3, 3, 4):
        chain.reseed(0, step)
        draws = np.full((8, chain.num_draws), 0.3, "float32")
        made.append(np.asarray(chain.transform_batch({"images": images, "labels": labels}, draws)["images"]))
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])
    pipeline = keras.layers.Pipeline(preset("strong", SIZE, num_classes=CLASSES))
    piped = pipeline({"images": images, "labels": labels}, training=True)
    assert np.asarray(piped["images"]).shape == (8, SIZE, SIZE, 3)
    assert np.asarray(piped["labels"]).shape == (8, CLASSES)


RGBA = np.zeros((2, 8, 8, 4), "float32")


def test_presets_can_be_read() -> None:
    assert preset("none", 224) == []
    assert "RandomView(size=224" in repr(preset("light", 224, flip=False))
    assert "flip=False" in repr(preset("strong", 224, flip=False))
    kinds = [type(layer) for layer in preset("strong", 224, num_classes=3)]
    assert kinds == [RandomView, TrivialAugment, RandomErasing, MixUp, CutMix]
    assert [type(layer) for layer in preset("none", num_classes=3, mixup=0.4)] == [MixUp]
    assert MixUp not in [type(layer) for layer in preset("strong", 224, num_classes=3, mixup=0)]


@pytest.mark.parametrize("name", ["light", "standard", "strong"])
def test_no_strength_changes_no_pixel(name: str, images: np.ndarray) -> None:
    augment = Augment(preset(name, strength=0, flip=False), seed=0)
    assert np.array_equal(keras.ops.convert_to_numpy(augment(images, training=True)), images)


def test_strength_stretches_crops() -> None:
    wide = [preset("standard", 32, strength=strength)[0].get_config()["ratio"][1] for strength in (0.5, 1, 2)]
    assert wide == pytest.approx([(4 / 3) ** 0.5, 4 / 3, (4 / 3) ** 2])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: preset("standart"), "Unknown augmentation.*Did you mean 'standard'"),
        (lambda: preset("light", strength=2.5), "Expected strength from 0 to 2. Received: 2.5."),
        (lambda: preset("light", strength=-1), "Expected strength from 0 to 2. Received: -1."),
        (lambda: preset("light", mixup=0.2), "Expected num_classes"),
        (lambda: MixUp(1), "at least two classes to mix pictures of. Received: 1. Leave MixUp out."),
        (lambda: CutMix(3, alpha=0), "alpha greater than 0 up to 10. Received: 0."),
        (lambda: RandomView(0), "size of at least 1 pixel"),
        (lambda: RandomView(scale=(0.5, 0.2)), "scale as two rising numbers"),
        (lambda: RandomView(rotation=200), "rotation from 0 to 180"),
        (lambda: RandomColour(brightness=1.5), "brightness from 0 to 1"),
        (lambda: RandomErasing(share=2), "share from 0 to 1"),
        (lambda: TrivialAugment(3), "strength from 0 to 2"),
        (lambda: RandomView(64).output_size((40, 48)), "crops of 64 pixels a side, pictures of 48 x 40"),
        (lambda: Augment(preset("strong", 64)).output_size((40, 40)), "crops of 64 pixels a side"),
        (lambda: preset("auto"), "none, light, standard, strong. Received: 'auto', which tlkit finetune decides"),
        (lambda: Augment(["light"]), "Expected Keras layers.* Received: 'light'"),
        (lambda: Augment([{"class_name": "Bogus", "config": {}}]), "Keras or tlkit knows. Received: 'Bogus'"),
        *(
            (lambda layer=layer: layer.values(RGBA, np.zeros((2, 8), "float32")), "channels. Received: 4.")
            for layer in (RandomColour(), TrivialAugment(), RandomErasing())
        ),
        (lambda: MixUp(3)._shares(np.array([0, 3])), "labels from 0 to 2 to mix. Received: 0 to 3."),
    ],
)
def test_mistakes_are_told_in_a_line(call: Callable[[], Any], told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_mixing_needs_labels(images: np.ndarray) -> None:
    for data in (images, {"images": images}):
        with pytest.raises(InputError, match="Expected a dict of images and labels for MixUp"):
            MixUp(3)(data, training=True)
