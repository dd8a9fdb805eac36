"""Augmented batches: the same for a seed, an epoch and a picture, in whatever batches, on resume too."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from tlkit.augment import ArrayStore, Augment, AugmentedDataset, RandomView, preset
from tlkit.augment.sheet import preview_sheet
from tlkit.data.arrays import from_arrays
from tlkit.data.loader import ImageDataset
from tlkit.data.store import Store, open_store
from tlkit.data.transform import Transform
from tlkit.errors import InputError

COUNT, SIZE, CLASSES = 20, 32, 3


@pytest.fixture(scope="module")
def store() -> Store:
    """Twenty parts of a photograph, of three classes, stored at 40 pixels."""
    picture = load_sample_images().images[0]
    parts = np.stack([picture[10 * number : 10 * number + 80, 20 * number :][:80, :80] for number in range(COUNT)])
    return open_store(from_arrays(parts, np.arange(COUNT) % CLASSES, ["a", "b", "c"]), Transform(SIZE, 40))


def plain(store: Store, batch_size: int = 6, **options) -> ImageDataset:
    return ImageDataset(store, np.arange(COUNT), store.manifest.labels(), batch_size, **options)


def layers(name: str) -> list[keras.layers.Layer]:
    return preset(name, SIZE, num_classes=CLASSES)


def epoch(dataset: AugmentedDataset) -> list[tuple[np.ndarray, ...]]:
    return list(dataset)


def same(one: list[tuple], other: list[tuple]) -> bool:
    return all(np.array_equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("name", ["none", "light", "standard", "strong"])
def test_a_seed_gives_its_batches_again(store: Store, name: str) -> None:
    first = AugmentedDataset(plain(store, shuffle=True), layers(name), seed=1)
    again = AugmentedDataset(plain(store, shuffle=True), layers(name), seed=1)
    epochs = [epoch(first), epoch(first)]
    assert same(epochs[0], epoch(again))
    assert same(epochs[1], epoch(again))
    assert not same(*epochs)
    for images, labels in epochs[0]:
        assert images.dtype == np.uint8
        assert images.shape[1:] == (SIZE, SIZE, 3)
        assert labels.shape == ((len(images), CLASSES) if name == "strong" else (len(images),))
    if name != "none":
        other = AugmentedDataset(plain(store, shuffle=True), layers(name), seed=2)
        assert not same(epochs[0], epoch(other))


@pytest.mark.parametrize("name", ["standard", "strong"])
def test_what_is_taken_up_goes_on_as_it_would_have(store: Store, name: str) -> None:
    whole = AugmentedDataset(plain(store, shuffle=True, seed=4), layers(name), seed=1)
    epoch(whole)
    second = epoch(whole)
    resumed = AugmentedDataset(plain(store, shuffle=True, seed=4), layers(name), seed=1)
    resumed.resume(epoch=1, start_batch=2)
    assert same(second[2:], epoch(resumed))


def test_a_picture_is_the_same_in_any_batch(store: Store) -> None:
    by_six, by_five = (AugmentedDataset(plain(store, size), layers("standard")) for size in (6, 5))
    pictures = [np.concatenate([images for images, _ in epoch(one)]) for one in (by_six, by_five)]
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() <= 1


def test_equal_pictures_get_different_views() -> None:
    ramp = np.broadcast_to(np.arange(0, 240, 6)[None, None, :, None], (8, 40, 40, 3))
    equal = ImageDataset(ArrayStore(ramp), np.arange(8), np.zeros(8, int))
    images, _ = AugmentedDataset(equal, [RandomView(scale=(0.3, 1.0))])[0]
    assert len(np.unique(images.reshape(8, -1), axis=0)) == 8


def test_one_view_stays_over_epochs(store: Store) -> None:
    live = AugmentedDataset(plain(store), layers("standard"))
    epochs = [epoch(live) for _ in range(3)]
    fixed = AugmentedDataset(plain(store), layers("standard"), view=2)
    for _ in range(2):
        assert same(epochs[2], epoch(fixed))


def test_keras_layers_repeat_too(store: Store) -> None:
    def made() -> list[keras.layers.Layer]:
        return [RandomView(SIZE), keras.layers.RandomContrast(0.5), keras.layers.RandomErasing(factor=1.0)]

    one, other = (AugmentedDataset(plain(store), made(), seed=3) for _ in range(2))
    first = epoch(one)
    assert same(first, epoch(other))
    assert not same(first, epoch(one))


def test_labels_keep_their_pictures(store: Store) -> None:
    grey = ImageDataset(
        ArrayStore(np.ones((12, 8, 8, 3)) * (np.arange(12) * 20)[:, None, None, None]),
        np.arange(12),
        np.arange(12) % 3,
        5,
        shuffle=True,
        seed=2,
    )
    for images, labels in AugmentedDataset(grey, preset("light", 8)):
        assert ((images[:, 0, 0, 0] // 20) % 3 == labels).all()


def test_weights_and_one_hot_labels_pass(store: Store) -> None:
    dataset = plain(store, one_hot=True, sample_weight=np.linspace(0, 1, COUNT))
    _, labels, weights = AugmentedDataset(dataset, layers("light"))[1]
    assert labels.shape == (6, CLASSES)
    assert weights.shape == (6,)


def test_fit_takes_them_and_validation_is_on_hard_labels(store: Store) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(8)(keras.layers.Rescaling(1 / 255)(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(x))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    train = AugmentedDataset(plain(store, shuffle=True), layers("strong"))
    history = model.fit(train, validation_data=plain(store, one_hot=True), epochs=2, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert train.dataset.epoch == 2


def test_layers_can_be_mapped_over_data_of_others(store: Store) -> None:
    tf = pytest.importorskip("tensorflow")
    layer = Augment(layers("standard"), seed=0)
    images = store.pixels(np.arange(8))
    data = tf.data.Dataset.from_tensor_slices(images).batch(4).map(lambda batch: layer(batch, training=True))
    first, second = data.as_numpy_iterator()
    assert first.shape == (4, SIZE, SIZE, 3)
    assert not np.array_equal(first, second)


def test_a_sheet_shows_pictures_and_their_views(store: Store) -> None:
    dataset = ImageDataset(store, np.arange(3), store.manifest.labels()[:3])
    sheet = preview_sheet(dataset, layers("strong"), views=4, side=32)
    assert sheet.shape == (3 * 36 + 4, 5 * 36 + 16, 3)
    np.testing.assert_array_equal(sheet[4:36, 4:36], store.images(np.array([0]))[0])
    assert (sheet[:, 36:52] == 255).all()


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda store: AugmentedDataset(ImageDataset(store, np.arange(4)), []), "Expected a dataset with labels"),
        (
            lambda store: AugmentedDataset(ImageDataset(store, np.arange(4), np.zeros(4, int)), layers("strong")),
            "pictures of at least two classes to mix. Received: 1.",
        ),
        (lambda store: AugmentedDataset(plain(store), [RandomView(64)]), "crops of 64 pixels a side, pictures of 40 x"),
        (lambda store: AugmentedDataset(plain(store), [RandomView(16)]), "of at least 32 pixels a side"),
        (lambda store: ArrayStore(np.zeros((4, 8, 8))), "Expected pictures"),
        (lambda store: AugmentedDataset([1, 2], []), "Received: list. Map Augment"),
    ],
)
def test_mistakes_are_told_in_a_line(store: Store, made, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        made(store)
    assert "\n" not in str(caught.value)
