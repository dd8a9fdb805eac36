"""Batches for Keras: every image once an epoch, in an order that the seed and the epoch alone decide."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tlkit import data
from tlkit.data.arrays import from_arrays
from tlkit.data.loader import ImageDataset, as_numpy, as_tf_dataset, load
from tlkit.data.manifest import Manifest
from tlkit.data.store import Store, open_store
from tlkit.data.transform import Transform
from tlkit.errors import InputError

COUNT, SIZE = 50, 16


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("TLKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    """Fifty pictures of one grey each: number i has the value 5 i, and class i mod 3."""
    images = np.repeat(5 * np.arange(COUNT, dtype=np.uint8), 100).reshape(COUNT, 10, 10)
    return from_arrays(images, np.arange(COUNT) % 3, ["zero", "one", "two"])


@pytest.fixture(scope="module")
def store(manifest: Manifest) -> Store:
    return open_store(manifest, Transform(SIZE, 18, resampler="bilinear"))


def dataset_of(store: Store, **options) -> ImageDataset:
    return ImageDataset(store, np.arange(COUNT), store.manifest.labels(), 8, **options)


def numbers(images: np.ndarray) -> list[int]:
    """Which pictures these are."""
    return (images[:, 0, 0, 0] // 5).astype(int).tolist()


def order(dataset: ImageDataset) -> list[int]:
    return [number for batch in dataset for number in numbers(batch[0])]


def test_batches_hold_raw_pixels_and_their_labels(store: Store):
    dataset = dataset_of(store)
    assert len(dataset) == 7
    batches = list(dataset)
    assert [len(images) for images, _ in batches] == [8] * 6 + [2]
    for images, labels in batches:
        assert images.shape[1:] == (SIZE, SIZE, 3)
        assert images.dtype == np.uint8
        assert labels.dtype == np.int64
        assert labels.tolist() == [store.manifest.labels()[number] for number in numbers(images)]
    assert order(dataset) == list(range(COUNT))


def test_without_labels_there_are_images_alone(store: Store):
    batch = ImageDataset(store, np.arange(5), batch_size=4)[1]
    assert isinstance(batch, np.ndarray)
    assert numbers(batch) == [4]


def test_labels_may_be_one_hot_and_weighted(store: Store):
    weights = np.linspace(0, 1, COUNT)
    images, labels, weight = dataset_of(store, one_hot=True, sample_weight=weights, shuffle=True)[2]
    assert labels.dtype == np.float32
    assert labels.shape == (8, 3)
    assert labels.argmax(axis=1).tolist() == [store.manifest.labels()[number] for number in numbers(images)]
    assert weight == pytest.approx(weights[numbers(images)])


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own(store: Store):
    dataset = dataset_of(store, shuffle=True, seed=3)
    epochs = []
    for _ in range(3):
        epochs.append(order(dataset))
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_seed_and_the_epoch_alone_decide_the_order(store: Store):
    first, second = dataset_of(store, shuffle=True, seed=3), dataset_of(store, shuffle=True, seed=3)
    order(first)
    second.resume(epoch=1)
    assert order(first) == order(second)
    assert order(dataset_of(store, shuffle=True, seed=4)) != order(dataset_of(store, shuffle=True, seed=3))


@pytest.mark.parametrize("start_batch", range(7))
def test_resuming_at_any_batch_gives_what_was_left(store: Store, start_batch: int):
    whole, resumed = dataset_of(store, shuffle=True, seed=1), dataset_of(store, shuffle=True, seed=1)
    whole.resume(epoch=2)
    expected = order(whole)
    resumed.resume(epoch=2, start_batch=start_batch)
    assert len(resumed) == 7 - start_batch
    assert order(resumed) == expected[8 * start_batch :]
    assert len(resumed) == 7
    assert order(resumed) == order(whole)


def test_rows_name_what_a_batch_holds(store: Store):
    dataset = ImageDataset(store, np.arange(10, 40), None, 8, shuffle=True, seed=5)
    for index in range(len(dataset)):
        assert numbers(dataset[index]) == dataset.rows(index).tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size of at least 1. Received: 0"),
        ({"labels": np.zeros(3)}, r"labels of shape \(5,\). Received: \(3,\)"),
        ({"labels": np.zeros(5, int), "sample_weight": np.ones((5, 2))}, "sample_weight of shape"),
        ({"sample_weight": np.ones(5)}, "labels together with sample_weight"),
    ],
)
def test_wrong_values_are_told(store: Store, options: dict, message: str):
    with pytest.raises(InputError, match=message):
        ImageDataset(store, np.arange(5), **options)


def test_batches_that_do_not_exist_are_refused(store: Store):
    dataset = dataset_of(store)
    with pytest.raises(IndexError):
        dataset[7]
    with pytest.raises(InputError, match="start_batch below 7"):
        dataset.resume(start_batch=7)


def tiny_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def test_keras_trains_on_it_and_takes_each_epoch_in_its_own_order(store: Store):
    dataset = dataset_of(store, shuffle=True, seed=9)
    model = tiny_model()
    model.fit(dataset, epochs=2, shuffle=False, verbose=0)
    assert dataset.epoch == 2
    by_hand = tiny_model()
    batches = dataset_of(store, shuffle=True, seed=9)
    for _ in range(2):
        for images, labels in batches:
            by_hand.train_on_batch(images, labels)
    for one, other in zip(model.get_weights(), by_hand.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_keras_finishes_an_epoch_that_was_interrupted(store: Store):
    whole, resumed = tiny_model(), tiny_model()
    whole.fit(dataset_of(store, shuffle=True), epochs=3, shuffle=False, verbose=0)
    dataset = dataset_of(store, shuffle=True)
    for index in range(4):
        resumed.train_on_batch(*dataset[index])
    dataset = dataset_of(store, shuffle=True)
    dataset.resume(epoch=0, start_batch=4)
    resumed.fit(dataset, epochs=1, shuffle=False, verbose=0)
    resumed.fit(dataset, initial_epoch=1, epochs=3, shuffle=False, verbose=0)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_an_epoch_that_stopped_early_is_not_given_again(store: Store):
    dataset = dataset_of(store, shuffle=True)
    for _batch in dataset:
        break
    assert order(dataset) == order_of_epoch(store, 1)
    tiny_model().fit(dataset, shuffle=False, verbose=0, callbacks=[StopAtOnce()])
    assert order(dataset) == order_of_epoch(store, 3)


class StopAtOnce(keras.callbacks.Callback):
    """Ends training after the first batch."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = True


def order_of_epoch(store: Store, epoch: int) -> list[int]:
    dataset = dataset_of(store, shuffle=True)
    dataset.resume(epoch)
    return order(dataset)


def test_threads_change_nothing(store: Store):
    model = tiny_model()
    alone = model.predict(dataset_of(store), verbose=0)
    assert model.predict(dataset_of(store, workers=3), verbose=0).tolist() == alone.tolist()


def test_no_worker_processes_unless_asked_for(store: Store):
    assert dataset_of(store).workers == 0
    assert not dataset_of(store).use_multiprocessing


def test_a_whole_dataset_as_arrays(store: Store):
    images, labels = as_numpy(dataset_of(store, shuffle=True, one_hot=True))
    assert numbers(images) == list(range(COUNT))
    assert labels.argmax(axis=1).tolist() == store.manifest.labels().tolist()
    assert as_numpy(ImageDataset(store, np.arange(4)))[1] is None


def test_a_dataset_for_tensorflow(store: Store):
    dataset = dataset_of(store, shuffle=True, seed=2, sample_weight=np.ones(COUNT))
    wrapped = as_tf_dataset(dataset)
    assert int(wrapped.cardinality()) == 7
    assert [tuple(part.shape) for part in wrapped.element_spec] == [(None, SIZE, SIZE, 3), (None,), (None,)]
    again = dataset_of(store, shuffle=True, seed=2)
    for _ in range(2):
        seen = [number for batch in wrapped for number in numbers(batch[0].numpy())]
        assert seen == order(again)
    tiny_model().fit(wrapped, shuffle=False, verbose=0)


def test_a_dataset_of_images_alone_for_tensorflow(store: Store):
    batches = list(as_tf_dataset(ImageDataset(store, np.arange(10), batch_size=4)))
    assert [number for batch in batches for number in numbers(batch.numpy())] == list(range(10))


def test_load_takes_one_part_of_a_split(manifest: Manifest):
    divided = manifest.split(validation=0.2, test=0.2, seed=0)
    parts = {name: load(divided, name, SIZE, 8) for name in ("train", "validation", "test")}
    seen = {name: order(dataset) for name, dataset in parts.items()}
    assert sorted(number for part in seen.values() for number in part) == list(range(COUNT))
    assert sorted(seen["test"]) == divided.indices("test").tolist()
    assert seen["test"] == sorted(seen["test"])
    assert seen["train"] != sorted(seen["train"])
    assert parts["train"].notes == []
    assert parts["train"].store.transform.store_size == 18
    for name, dataset in parts.items():
        labels = [label for batch in dataset for label in batch[1]]
        assert len(labels) == len(seen[name])


def test_load_passes_options_on(manifest: Manifest):
    weights = np.arange(COUNT, dtype=np.float32)
    dataset = load(manifest, None, SIZE, 8, shuffle=True, seed=4, one_hot=True, sample_weight=weights, store_scale=1)
    images, labels, weight = dataset[0]
    assert weight.tolist() == numbers(images)
    assert labels.shape == (8, 3)
    assert dataset.store.transform.store_size == SIZE
    assert data.load is load


def test_load_leaves_out_what_cannot_be_decoded_and_says_so(tmp_path: Path):
    for number in range(8):
        path = tmp_path / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9), (5 * number,) * 3).save(path)
    (tmp_path / "a" / "broken.png").write_bytes(b"not an image")
    dataset = load(data.from_directory(tmp_path), image_size=SIZE)
    assert sorted(order(dataset)) == list(range(8))
    assert dataset.notes == ["1 image cannot be decoded and left out: 'a/broken.png'."]


def test_load_tells_an_empty_part(manifest: Manifest):
    with pytest.raises(InputError, match=r"Expected images in the part .test.\. Received: none"):
        load(manifest.split(validation=0.2, test=0), "test", SIZE)
    with pytest.raises(InputError, match=r"a manifest that is not split. Split it first"):
        load(manifest, "train", SIZE)


def test_load_tells_weights_of_other_items(manifest: Manifest):
    with pytest.raises(InputError, match=f"sample_weight for each of the manifest's {COUNT} items. Received: 2"):
        load(manifest, None, SIZE, sample_weight=[1, 2])
