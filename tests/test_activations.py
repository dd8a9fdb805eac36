"""Cached training is uncached training: same rows, same weights, and no stale entry is ever found."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import tlkit
from tlkit import cache, data
from tlkit.activations import FILE, KIND, Activations, RowDataset, activations
from tlkit.features import predict_in_order
from tlkit.graph import split_model
from tlkit.strategies import Phase, stages_of
from tlkit.training import fine_tune


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that begins empty."""
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def manifest() -> data.Manifest:
    return data.builtin("digits").split(seed=0).few_shot(8, seed=0)


def datasets(manifest: data.Manifest) -> tuple[data.ImageDataset, data.ImageDataset]:
    train = data.load(manifest, "train", image_size=32, batch_size=32, shuffle=False)
    validation = data.load(manifest, "validation", image_size=32, batch_size=32)
    return train, validation


def classifier(name: str) -> keras.Model:
    keras.utils.set_random_seed(3)
    return tlkit.build_classifier(name, 10, image_size=32, weights="none")


def halves(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    return split_model(model, stages_of(model)[-2].layer)


def read_times(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts how many batches are computed from here on."""
    computed: list[int] = []
    predict_on_batch = keras.Model.predict_on_batch

    def counted(self: keras.Model, x: np.ndarray) -> np.ndarray:
        computed.append(len(x))
        return predict_on_batch(self, x)

    monkeypatch.setattr(keras.Model, "predict_on_batch", counted)
    return computed


def test_rows_are_those_of_the_prefix(own_cache: Path, manifest: data.Manifest) -> None:
    train, _ = datasets(manifest)
    prefix, _ = halves(classifier("mobilenetv2"))
    found = activations(prefix, train)
    expected, labels = predict_in_order(prefix, train)
    np.testing.assert_array_equal(found.rows, expected)
    np.testing.assert_array_equal(found.labels, labels)
    found.close()


def test_the_second_time_nothing_is_computed(
    own_cache: Path, manifest: data.Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, _ = datasets(manifest)
    first = activations(halves(classifier("mobilenetv2"))[0], train)
    computed = read_times(monkeypatch)
    second = activations(halves(classifier("mobilenetv2"))[0], train)
    assert computed == []
    np.testing.assert_array_equal(first.rows, second.rows)


def test_other_weights_never_find_them(
    own_cache: Path, manifest: data.Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, _ = datasets(manifest)
    model = classifier("mobilenetv2")
    prefix, _ = halves(model)
    before = np.array(activations(prefix, train).rows)
    kernel = prefix.trainable_weights[0]
    kernel.assign(kernel * 1.0001)
    computed = read_times(monkeypatch)
    after = activations(prefix, train).rows
    assert computed
    assert not np.array_equal(before, after)


def test_an_interrupted_extraction_goes_on(
    own_cache: Path, manifest: data.Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, _ = datasets(manifest)
    prefix, _ = halves(classifier("mobilenetv2"))

    def interrupt(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        activations(prefix, train, interrupt)
    computed = read_times(monkeypatch)
    found = activations(prefix, train)
    assert len(computed) == len(train) - 1
    monkeypatch.undo()
    np.testing.assert_array_equal(found.rows, predict_in_order(prefix, train)[0])


def test_a_cut_off_file_is_noticed(own_cache: Path, manifest: data.Manifest) -> None:
    train, _ = datasets(manifest)
    prefix, _ = halves(classifier("mobilenetv2"))
    found = activations(prefix, train)
    expected = np.array(found.rows)
    found.close()
    file = cache.list_entries(KIND)[0].path / FILE
    file.write_bytes(file.read_bytes()[:-100])
    np.testing.assert_array_equal(activations(prefix, train).rows, expected)


def test_no_room_is_told_and_training_goes_on(
    own_cache: Path, manifest: data.Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, _ = datasets(manifest)
    prefix, _ = halves(classifier("mobilenetv2"))
    monkeypatch.setenv("TLKIT_CACHE_BYTES", "1")
    found = activations(prefix, train)
    assert "memory only" in found.notes[0]
    np.testing.assert_array_equal(found.rows, predict_in_order(prefix, train)[0])


def test_a_shuffled_dataset_is_cached_in_the_order_of_its_rows(own_cache: Path, manifest: data.Manifest) -> None:
    train, _ = datasets(manifest)
    shuffled = data.load(manifest, "train", image_size=32, batch_size=32, shuffle=True, seed=5)
    prefix, _ = halves(classifier("mobilenetv2"))
    np.testing.assert_array_equal(activations(prefix, shuffled).rows, activations(prefix, train).rows)


def test_orders_depend_on_seed_and_epoch_alone() -> None:
    rows, labels = np.arange(10.0)[:, None], np.arange(10)
    first, again, other = (RowDataset(rows, labels, 4, True, seed) for seed in (1, 1, 2))
    epoch0 = [first[i][1].tolist() for i in range(3)]
    assert epoch0 == [again[i][1].tolist() for i in range(3)]
    assert epoch0 != [other[i][1].tolist() for i in range(3)]
    first.on_epoch_end()
    assert epoch0 != [first[i][1].tolist() for i in range(3)]
    assert sorted(np.concatenate([first[i][1] for i in range(3)]).tolist()) == list(range(10))


def trained(name: str, manifest: data.Manifest, cached: bool, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Trains the last stage for two epochs and returns all weights; uncached, the prefix runs at every step."""
    train, validation = datasets(manifest)
    model = classifier(name)
    if not cached:
        monkeypatch.setattr("tlkit.training.phase_running.activations", computed_at_every_step)
    phases = [Phase("last", stages_of(model)[-1].name, epochs=2, learning_rate=1e-3)]
    fine_tune(model, train, validation_data=validation, strategy=phases)
    monkeypatch.undo()
    return model.get_weights()


class LiveRows:
    """Rows that are computed anew whenever they are asked for."""

    def __init__(self, prefix: keras.Model, dataset: data.ImageDataset) -> None:
        self.prefix, self.dataset = prefix, dataset

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        store = self.dataset.store
        images = store.transform.to_model(store.pixels(self.dataset.indices[rows]))
        return predict_in_order(self.prefix, [(np.ascontiguousarray(images), None)])[0]


def computed_at_every_step(prefix: keras.Model, dataset: data.ImageDataset, on_progress: object = None) -> Activations:
    assert dataset.labels is not None
    return Activations(LiveRows(prefix, dataset), dataset.labels)  # type: ignore[arg-type]


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50", "densenet121", "convnexttiny")]


@pytest.mark.parametrize("name", ["mobilenetv2", "efficientnet_lite0", *SLOW])
def test_cached_training_equals_uncached(
    own_cache: Path, manifest: data.Manifest, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_cache
    cached = trained(name, manifest, True, monkeypatch)
    monkeypatch.setenv("TLKIT_CACHE", str(own))
    uncached = trained(name, manifest, False, monkeypatch)
    for first, second in zip(cached, uncached, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6, rtol=0)
