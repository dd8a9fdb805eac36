"""Views: what a frozen prefix makes of augmented pictures, each computed once, epochs cycling through them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from tlkit import cache
from tlkit.augment import ArrayStore, AugmentedDataset, preset
from tlkit.data.arrays import from_arrays
from tlkit.data.loader import ImageDataset
from tlkit.data.store import open_store
from tlkit.data.transform import Transform
from tlkit.features import predict_in_order
from tlkit.views import KIND, ViewDataset, Views

SIZE = 16


@pytest.fixture(autouse=True)
def own_cache(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLKIT_CACHE", f"{tmp_path}/cache")


@pytest.fixture
def dataset() -> ImageDataset:
    digits = load_digits()
    images = np.rint(digits.images[:50] * 15.9).astype(np.uint8)
    store = open_store(from_arrays(images, digits.target[:50], list("0123456789")), Transform(SIZE, 18))
    return ImageDataset(store, np.arange(10, 50), store.manifest.labels()[10:50], 16)


def prefix() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(4, 3, strides=2)(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="prefix")


def layers(name: str = "standard") -> list[keras.layers.Layer]:
    return preset(name, SIZE, num_classes=10)


@pytest.mark.parametrize("name", ["standard", "strong"])
def test_a_view_is_what_live_augmentation_gives_in_that_epoch(dataset: ImageDataset, name: str) -> None:
    views = Views(prefix(), dataset, layers(name), 3, seed=5)
    for view in (2, 0):
        rows, labels = views.rows(view)
        live = AugmentedDataset(dataset, layers(name), seed=5, view=view)
        expected = predict_in_order(prefix(), live)
        np.testing.assert_allclose(rows, expected[0], atol=1e-5)
        np.testing.assert_array_equal(labels, expected[1])
    views.close()


def test_views_are_kept_for_the_next_run_and_only_for_the_same(dataset: ImageDataset) -> None:
    def keep(name: str, seed: int, count: int) -> None:
        views = Views(prefix(), dataset, layers(name), count, seed)
        for view in range(count):
            views.rows(view)
        views.close()

    for given, entries in ((("light", 0, 2), 2), (("light", 0, 2), 2), (("light", 0, 3), 3), (("light", 1, 1), 4)):
        keep(*given)
        assert len(cache.list_entries(KIND)) == entries
    keep("standard", 0, 1)
    assert len(cache.list_entries(KIND)) == 5


def test_views_that_are_not_kept_leave_nothing_and_are_the_same(dataset: ImageDataset) -> None:
    fleeting, kept = (Views(prefix(), dataset, layers(), 2, seed=5, keep=keep) for keep in (False, True))
    for view in (0, 1, 0):
        rows, labels = fleeting.rows(view)
        assert not cache.list_entries(KIND)
        assert fleeting.rows(view)[0] is rows
        np.testing.assert_array_equal(labels, dataset.labels)
    for view in (0, 1):
        np.testing.assert_array_equal(fleeting.rows(view)[0], kept.rows(view)[0])
    kept.close()


def test_epochs_cycle_through_the_views(dataset: ImageDataset) -> None:
    views = Views(prefix(), dataset, layers(), 2, seed=0)
    batches = ViewDataset(views, 16, seed=3)
    seen = []
    for _ in range(3):
        batches.on_epoch_begin()
        seen.append(np.concatenate([batches[index][0] for index in range(len(batches))]))
        batches.on_epoch_end()
    for epoch, rows in enumerate(seen):
        assert {tuple(row) for row in rows} == {tuple(row) for row in views.rows(epoch % 2)[0]}
    assert not np.array_equal(seen[0], seen[2])
    views.close()


def test_arrays_have_views_in_memory() -> None:
    images = np.rint(load_digits().images[:20] * 15.9).repeat(2, 1).repeat(2, 2)[..., None].repeat(3, 3)
    dataset = ImageDataset(ArrayStore(images), np.arange(20), np.arange(20) % 10, 8)
    views = Views(prefix(), dataset, layers(), 2, seed=0)
    assert views.rows(1)[0].shape == (20, 4)
    assert cache.list_entries(KIND) == ()
