"""Cached training is uncached training: same rows, same weights, and no stale entry is ever found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

import tlkit
from tlkit import cache, data
from tlkit.activations import KIND, RowDataset, activations, plan_activations
from tlkit.activations.blocks import ROWS, rows_a_block
from tlkit.config import ExtractionConfig
from tlkit.errors import InputError
from tlkit.features import predict_in_order
from tlkit.fingerprints import graph_digests
from tlkit.graph import cut_points, split_model
from tlkit.strategies import Phase, stages_of
from tlkit.training import Recipe, fine_tune


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


def classifier(name: str = "small") -> keras.Model:
    keras.utils.set_random_seed(3)
    if name == "small":
        return small_classifier()
    return tlkit.build_classifier(name, 10, image_size=32, weights="none")


def small_classifier() -> keras.Model:
    """Three stages of a convolution and a residual block, with what must not be active in a frozen part."""
    x = inputs = keras.Input((32, 32, 3))
    for filters in (16, 32, 64):
        x = keras.layers.Conv2D(filters, 3, 2, padding="same")(x)
        x = keras.layers.BatchNormalization()(x)
        y = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        y = keras.layers.Dropout(0.3)(y)
        x = keras.layers.Add()([x, y])
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x), name="small")


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
    prefix, _ = halves(classifier())
    found = activations(prefix, train)
    expected, labels = predict_in_order(prefix, train)
    np.testing.assert_array_equal(found.rows, expected)
    np.testing.assert_array_equal(found.labels, labels)
    found.close()


def test_the_second_time_nothing_is_computed(
    own_cache: Path, manifest: data.Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, _ = datasets(manifest)
    first = activations(halves(classifier())[0], train)
    computed = read_times(monkeypatch)
    second = activations(halves(classifier())[0], train)
    assert computed == []
    np.testing.assert_array_equal(first.rows, second.rows)


def test_other_weights_never_find_them(
    own_cache: Path, manifest: data.Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, _ = datasets(manifest)
    model = classifier()
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
    prefix, _ = halves(classifier())

    monkeypatch.setattr("tlkit.activations.blocks.MOST", 32)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        activations(prefix, train, interrupt)
    computed: list[tuple[int, int]] = []
    found = activations(prefix, train, lambda done, total: computed.append((done, total)))
    assert computed[0] == (64, len(train.indices))
    np.testing.assert_array_equal(found.rows, predict_in_order(prefix, train)[0])


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[1000] ^= 4
    file.write_bytes(data)


@pytest.mark.parametrize("damage", [cut_off, flip_a_bit, Path.unlink])
def test_damage_on_the_disk_is_told_and_computed_anew(
    own_cache: Path, manifest: data.Manifest, damage: Callable[[Path], object]
) -> None:
    train, _ = datasets(manifest)
    prefix, _ = halves(classifier())
    found = activations(prefix, train)
    expected = np.array(found.rows)
    found.close()
    damage(cache.list_entries(KIND)[0].path / ROWS)
    again = activations(prefix, train)
    assert "damaged" in again.notes[0]
    np.testing.assert_array_equal(again.rows, expected)
    assert activations(prefix, train).notes == ()


def test_an_interrupted_extraction_does_not_trust_what_the_disk_has_spoilt(
    own_cache: Path, manifest: data.Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, _ = datasets(manifest)
    prefix, _ = halves(classifier())
    monkeypatch.setattr("tlkit.activations.blocks.MOST", 16)

    def interrupt(done: int, total: int) -> None:
        if done == 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        activations(prefix, train, interrupt)
    flip_a_bit(next((own_cache / KIND).glob("*.partial")) / ROWS)
    found = activations(prefix, train)
    np.testing.assert_allclose(found.rows, predict_in_order(prefix, train)[0], atol=1e-6)


def test_no_room_is_told_and_training_goes_on(
    own_cache: Path, manifest: data.Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, _ = datasets(manifest)
    prefix, _ = halves(classifier())
    monkeypatch.setenv("TLKIT_CACHE_BYTES", "1")
    found = activations(prefix, train)
    assert "memory only" in found.notes[0]
    assert "\n" not in found.notes[0]
    np.testing.assert_array_equal(found.rows, predict_in_order(prefix, train)[0])
    monkeypatch.setattr("tlkit.activations.computing.available_memory", lambda: 1.0)
    live = activations(prefix, train)
    assert "anew at every step" in live.notes[0]
    np.testing.assert_allclose(live.rows, found.rows, atol=1e-6)


def test_a_cut_that_is_none_is_told() -> None:
    model = classifier()
    with pytest.raises(InputError, match="cut in two") as caught:
        split_model(model, inside_a_residual_block(model))
    assert "\n" not in str(caught.value)


def inside_a_residual_block(model: keras.Model) -> str:
    cuts = set(cut_points(model))
    return next(layer.name for layer in model.layers[2:] if layer.name not in cuts)


def test_what_it_takes_is_known_before(own_cache: Path, manifest: data.Manifest) -> None:
    train, _ = datasets(manifest)
    prefix, _ = halves(classifier())
    plan = plan_activations(prefix, train)
    assert plan is not None
    assert not plan.cached
    assert cache.list_entries(KIND) == ()
    activations(prefix, train).close()
    assert plan.path is not None
    assert (plan.path / ROWS).stat().st_size == plan.bytes
    again = plan_activations(prefix, train)
    assert again is not None
    assert again.cached


def test_a_lower_cut_feeds_the_next(own_cache: Path, manifest: data.Manifest) -> None:
    train, _ = datasets(manifest)
    model = classifier()
    stages = stages_of(model)
    lower, higher = (split_model(model, stage.layer)[0] for stage in (stages[0], stages[1]))
    activations(lower, train).close()
    found = activations(higher, train)
    assert found.facts["computed_from"] == f"those of {stages[0].layer}"
    np.testing.assert_allclose(found.rows, predict_in_order(higher, train)[0], rtol=1e-5, atol=1e-6)


def test_a_lower_cut_of_other_weights_feeds_nothing(own_cache: Path, manifest: data.Manifest) -> None:
    train, _ = datasets(manifest)
    model = classifier()
    stages = stages_of(model)
    lower, higher = (split_model(model, stage.layer)[0] for stage in (stages[0], stages[1]))
    activations(lower, train).close()
    lower.trainable_weights[0].assign(lower.trainable_weights[0] * 1.01)
    found = activations(higher, train)
    assert found.facts["computed_from"] == "the pixels"
    np.testing.assert_array_equal(found.rows, predict_in_order(higher, train)[0])


@pytest.mark.parametrize(("storage", "relative"), [("float16", 5e-4), ("bfloat16", 4e-3)])
def test_half_storage_takes_half_and_reads_as_float32(
    own_cache: Path, manifest: data.Manifest, storage: str, relative: float
) -> None:
    train, _ = datasets(manifest)
    prefix, _ = halves(classifier())
    whole = activations(prefix, train)
    half = activations(prefix, train, extraction=ExtractionConfig(storage=storage))
    assert half.facts["bytes"] * 2 == whole.facts["bytes"]
    batch, _ = RowDataset(half.rows, half.labels, 32, True)[0]
    assert batch.dtype == np.float32
    assert np.asarray(half.rows).dtype == np.float32
    np.testing.assert_allclose(half.rows, whole.rows, rtol=relative, atol=1e-6)


def test_values_beyond_float16_are_refused(own_cache: Path, manifest: data.Manifest) -> None:
    train, _ = datasets(manifest)
    prefix, _ = halves(classifier())
    scaled = keras.Model(prefix.input, keras.layers.Rescaling(1e9)(prefix.output))
    with pytest.raises(InputError, match="bfloat16 or float32"):
        activations(scaled, train, extraction=ExtractionConfig(storage="float16"))


def test_a_cut_right_after_the_stem_is_not_kept(own_cache: Path, manifest: data.Manifest) -> None:
    train, _ = datasets(manifest)
    inputs = keras.Input((32, 32, 3))
    prefix = keras.Model(inputs, keras.layers.Conv2D(32, 3, padding="same")(inputs))
    found = activations(prefix, train)
    assert "anew at every step" in found.notes[0]
    assert cache.list_entries(KIND) == ()
    np.testing.assert_allclose(found.rows, predict_in_order(prefix, train)[0], atol=1e-6)


def test_without_the_cache_nothing_is_written(own_cache: Path, manifest: data.Manifest) -> None:
    train, _ = datasets(manifest)
    prefix, _ = halves(classifier())
    found = activations(prefix, train, extraction=ExtractionConfig(cache="off"))
    chosen = np.array([3, 1])
    np.testing.assert_allclose(found.rows[chosen], predict_in_order(prefix, train)[0][chosen], atol=1e-6)
    assert cache.list_entries(KIND) == ()


def test_blocks_are_multiples_of_sixteen_rows_of_bounded_size() -> None:
    assert [rows_a_block(size) for size in (1, 4 * 1280, 2**20, 2**30)] == [128, 128, 64, 16]


def test_two_graphs_that_differ_by_a_constant_have_two_addresses() -> None:
    inputs = keras.Input((4, 4, 3))
    one, two = (keras.Model(inputs, inputs * factor + 1.0) for factor in (2.0, 3.0))
    last = [list(graph_digests(model).values())[-1] for model in (one, two)]
    assert last[0] != last[1]
    renamed = keras.Input((4, 4, 3), name="another")
    same = keras.Model(renamed, renamed * 2.0 + 1.0)
    assert list(graph_digests(same).values())[-1] == last[0]


def test_a_shuffled_dataset_is_cached_in_the_order_of_its_rows(own_cache: Path, manifest: data.Manifest) -> None:
    train, _ = datasets(manifest)
    shuffled = data.load(manifest, "train", image_size=32, batch_size=32, shuffle=True, seed=5)
    prefix, _ = halves(classifier())
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


def trained(name: str, manifest: data.Manifest, switch: str) -> list[np.ndarray]:
    """Trains head and last stage for two epochs and returns all weights; without the cache the prefix runs anew."""
    train, validation = datasets(manifest)
    model = classifier(name)
    phases = [Phase("last", stages_of(model)[-1].name, epochs=2, learning_rate=1e-3)]
    extraction = ExtractionConfig(cache=switch, engine="keras")
    fine_tune(model, train, validation_data=validation, strategy=phases, recipe=Recipe(extraction=extraction))
    return model.get_weights()


SLOW = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("mobilenetv2", "efficientnet_lite0", "resnet50", "densenet121", "convnexttiny")
]


@pytest.mark.parametrize("name", ["small", *SLOW])
def test_cached_training_equals_uncached(own_cache: Path, manifest: data.Manifest, name: str) -> None:
    cached = trained(name, manifest, "on")
    kept = len(cache.list_entries(KIND))
    uncached = trained(name, manifest, "off")
    assert kept == len(cache.list_entries(KIND)) == 2
    for first, second in zip(cached, uncached, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6, rtol=0)


READS_AN_EPOCH = """
import numpy as np, keras, sys
from tlkit import data
from tlkit.activations import RowDataset, activations
from tlkit.data import from_arrays
from tlkit.config import ExtractionConfig

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

count = 4000
images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3)).astype("uint8")
manifest = from_arrays(images, np.arange(count) % 2)
dataset = data.load(manifest, image_size=32, shuffle=False)
inputs = keras.Input((32, 32, 3))
prefix = keras.Model(inputs, keras.layers.Conv2D(64, 7, padding="same")(inputs))  # 262 KB an image, 1 GB in all.
few = data.ImageDataset(dataset.store, dataset.indices[:128], dataset.labels[:128])
activations(prefix, few).close()
before, most = anonymous(), 0
found = activations(prefix, dataset)
most = anonymous()
rows = RowDataset(found.rows, found.labels, 32, shuffle=True)
for index in range(len(rows)):
    rows[index]
    most = max(most, anonymous())
assert found.facts["bytes"] > 1e9
print(most - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of anonymous memory")
def test_rows_on_disk_do_not_grow_anonymous_memory(own_cache: Path) -> None:
    done = subprocess.run([sys.executable, "-c", READS_AN_EPOCH], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) < 400  # MB, of 1,048 MB read; a few blocks of 32 MB are under way at a time.
