"""The packed store: every image decoded once, found again by content, mended where the disk or the user changed it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from tlkit import cache
from tlkit.config import DataConfig
from tlkit.data import packed_folder
from tlkit.data.arrays import from_arrays
from tlkit.data.decode import MAX_PIXELS
from tlkit.data.examine import examine
from tlkit.data.folders import from_directory
from tlkit.data.items import FileSource
from tlkit.data.manifest import Manifest
from tlkit.data.store import Store, estimate_store_bytes, open_store, plan_store
from tlkit.data.transform import Transform
from tlkit.errors import InputError

PHOTOGRAPHS = [Image.fromarray(array) for array in load_sample_images().images]
TRANSFORM = Transform(32, 37, resampler="bilinear")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_picture(path: Path, seed: int, size: tuple[int, int] = (60, 50)) -> None:
    left, top = np.random.default_rng(seed).integers(0, 300, 2).tolist()
    path.parent.mkdir(parents=True, exist_ok=True)
    PHOTOGRAPHS[seed % 2].resize(size, box=(left, top, left + 120, top + 100)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(24):
        write_picture(tmp_path / "images" / "ab"[number % 2] / f"{number:02d}.png", number)
    return tmp_path / "images"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The items that were read from their files, in order."""
    names: list[str] = []
    read = FileSource.read

    def noting(source: FileSource, item: str) -> bytes:
        names.append(item)
        return read(source, item)

    monkeypatch.setattr(FileSource, "read", noting)
    return names


def all_pixels(store: Store) -> np.ndarray:
    return store.pixels(np.arange(len(store)))


def expected(manifest: Manifest, transform: Transform = TRANSFORM) -> np.ndarray:
    images = [examine(manifest.source.read(item))[1] for item in manifest.items["item"]]
    return np.stack([transform.to_store(image) for image in images if image])


def spoil(path: Path, position: int) -> None:
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 255]))


def test_every_item_is_read_once_and_never_again(folder: Path, reads: list[str]):
    manifest = from_directory(folder)
    store = open_store(manifest, TRANSFORM)
    assert sorted(reads) == sorted(manifest.items["item"])
    again = open_store(manifest, TRANSFORM)
    assert all_pixels(again).tobytes() == all_pixels(store).tobytes()
    assert len(reads) == len(manifest)
    assert np.array_equal(all_pixels(store), expected(manifest))
    assert store.path == again.path
    assert not store.streaming
    assert store.notes == []


def test_rows_come_in_the_order_asked_for(folder: Path):
    store = open_store(from_directory(folder), TRANSFORM)
    rows = np.array([7, 0, 7, 23])
    assert np.array_equal(store.pixels(rows), all_pixels(store)[rows])
    assert np.array_equal(store.images(rows), TRANSFORM.to_model(all_pixels(store)[rows]))
    assert store.images(np.array([], int)).shape == (0, 32, 32, 3)


def test_facts_are_those_of_examining(folder: Path):
    (folder / "a" / "empty.png").write_bytes(b"")
    manifest = from_directory(folder)
    facts = open_store(manifest, TRANSFORM).facts
    alone = [examine(manifest.source.read(item))[0] for item in manifest.items["item"]]
    for name in ("digest", "status", "problem", "format", "mode", "width", "height", "frames", "bytes", "thumbnail"):
        assert facts[name].tolist() == [getattr(fact, name) for fact in alone], name
    assert facts["perceptual_hash"].tolist() == [fact.perceptual_hash for fact in alone]
    assert facts["contrast"].to_numpy() == pytest.approx([fact.contrast for fact in alone])
    assert isinstance(facts, pd.DataFrame)


def test_facts_do_not_depend_on_the_image_size(tmp_path: Path):
    for number in range(4):
        write_picture(tmp_path / "large" / "ab"[number % 2] / f"{number}.jpg", number, (2400, 2100))
    manifest = from_directory(tmp_path / "large", min_images=1)
    tables = [open_store(manifest, Transform(size, size)).facts for size in (32, 600, 1200)]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


def test_an_unreadable_item_is_a_row_without_pixels(folder: Path):
    (folder / "a" / "00.png").write_bytes(b"no image at all")
    manifest = from_directory(folder)
    store = open_store(manifest, TRANSFORM)
    assert store.ok.sum() == 23
    assert not store.ok[0]
    with pytest.raises(InputError, match=r"hold an image. Received: a/00.png"):
        store.pixels([5, 0])
    assert store.pixels([5]).shape == (1, 37, 37, 3)


def test_an_item_that_cannot_be_read_is_told_with_the_reason(folder: Path):
    manifest = from_directory(folder)
    (folder / "a" / "00.png").unlink()
    store = open_store(manifest, TRANSFORM)
    assert store.facts["status"][0] == "unreadable"
    assert "No such file" in store.facts["problem"][0]
    assert store.ok.sum() == 23


def test_a_changed_file_alone_is_read_anew(folder: Path, reads: list[str]):
    manifest = from_directory(folder)
    before = all_pixels(open_store(manifest, TRANSFORM))
    reads.clear()
    write_picture(folder / "b" / "01.png", 99, (61, 50))
    after = open_store(manifest, TRANSFORM)
    assert reads == ["b/01.png"]
    row = manifest.items["item"].tolist().index("b/01.png")
    assert np.array_equal(all_pixels(after), expected(manifest))
    assert not np.array_equal(all_pixels(after)[row], before[row])
    assert np.array_equal(np.delete(all_pixels(after), row, 0), np.delete(before, row, 0))


def test_new_files_alone_are_read(folder: Path, reads: list[str]):
    open_store(from_directory(folder), TRANSFORM)
    reads.clear()
    write_picture(folder / "a" / "000-new.png", 50)
    manifest = from_directory(folder)
    store = open_store(manifest, TRANSFORM)
    assert reads == ["a/000-new.png"]
    assert np.array_equal(all_pixels(store), expected(manifest))
    assert store.facts["digest"].is_unique


def test_a_run_goes_on_with_the_pixels_it_opened_when_a_file_changes(folder: Path):
    store = open_store(from_directory(folder), TRANSFORM)
    before = all_pixels(store)
    write_picture(folder / "b" / "01.png", 99)
    assert np.array_equal(all_pixels(store), before)


def test_equal_names_times_and_sizes_in_another_folder_are_other_items(tmp_path: Path):
    for name, colour in (("first", (9, 9, 9)), ("second", (200, 200, 200))):
        for label in ("a", "b"):
            (tmp_path / name / label).mkdir(parents=True)
            for number in range(3):
                path = tmp_path / name / label / f"{number}.bmp"
                Image.new("RGB", (8, 8), colour).save(path)
                os.utime(path, (0, 0))
    means = [all_pixels(open_store(from_directory(tmp_path / name), TRANSFORM)).mean() for name in ("first", "second")]
    assert means == [9, 200]


def test_arrays_are_known_by_their_content():
    labels = np.arange(6) % 2
    dark, bright = np.full((6, 8, 8), 10, np.uint8), np.full((6, 8, 8), 240, np.uint8)
    assert all_pixels(open_store(from_arrays(dark, labels), TRANSFORM)).mean() == 10
    assert all_pixels(open_store(from_arrays(bright, labels), TRANSFORM)).mean() == 240
    assert len(cache.list_entries("pixels")) == 2
    open_store(from_arrays(dark.copy(), labels), TRANSFORM)
    assert len(cache.list_entries("pixels")) == 2


def test_pixels_spoilt_on_disk_are_noticed_and_mended(folder: Path, reads: list[str]):
    manifest = from_directory(folder)
    first = open_store(manifest, TRANSFORM)
    before = all_pixels(first)
    spoil(first.path / packed_folder.PIXELS, 5 * packed_folder.bytes_of_row(TRANSFORM) + 100)
    reads.clear()
    store = open_store(manifest, TRANSFORM)
    assert np.array_equal(store.images(np.arange(24)), TRANSFORM.to_model(before))
    assert reads == [manifest.items["item"][5]]
    assert store.notes == [f"The packed pixels of {reads[0]} were damaged on disk and have been made anew."]
    reads.clear()
    assert np.array_equal(all_pixels(open_store(manifest, TRANSFORM)), before)
    assert reads == []


def test_pixels_spoilt_on_disk_whose_file_changed_since_are_an_error(folder: Path):
    manifest = from_directory(folder)
    store = open_store(manifest, TRANSFORM)
    spoil(store.path / packed_folder.PIXELS, 3)
    write_picture(folder / "a" / "00.png", 77)
    with pytest.raises(
        InputError, match=r"packed pixels of a/00.png are damaged on disk, and the file itself has changed"
    ):
        store.pixels([0])
    assert np.array_equal(all_pixels(open_store(manifest, TRANSFORM)), expected(manifest))


@pytest.mark.parametrize("name", [packed_folder.FACTS, packed_folder.THUMBNAILS, packed_folder.SEAL])
def test_facts_spoilt_on_disk_are_noticed_and_made_anew(folder: Path, name: str):
    manifest = from_directory(folder)
    store = open_store(manifest, TRANSFORM)
    facts = store.facts
    store.close()
    spoil(store.path / name, 30)
    again = open_store(manifest, TRANSFORM)
    assert again.facts.equals(facts)
    assert np.array_equal(all_pixels(again), expected(manifest))


@pytest.mark.parametrize(
    "name",
    [packed_folder.PIXELS, packed_folder.FACTS, packed_folder.THUMBNAILS, packed_folder.SEAL, "entry.json"],
)
@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: os.truncate(path, 10)])
def test_files_lost_or_cut_short_are_made_anew(folder: Path, name: str, harm: Callable[[Path], None]):
    manifest = from_directory(folder)
    store = open_store(manifest, TRANSFORM)
    store.close()
    harm(store.path / name)
    assert np.array_equal(all_pixels(open_store(manifest, TRANSFORM)), expected(manifest))


def test_progress_is_told_to_the_end(folder: Path):
    told: list[tuple[int, int]] = []
    open_store(from_directory(folder), TRANSFORM, lambda done, total: told.append((done, total)))
    assert told[-1] == (24, 24)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_the_size_is_known_before_anything_is_written(folder: Path, own_cache: Path):
    manifest = from_directory(folder)
    plan = plan_store(manifest, TRANSFORM)
    assert not plan.cached
    assert not own_cache.exists()
    store = open_store(manifest, TRANSFORM)
    assert plan.path == store.path
    assert plan_store(manifest, TRANSFORM).cached
    assert plan.bytes == estimate_store_bytes(manifest, TRANSFORM)
    assert cache.list_entries("pixels")[0].bytes == pytest.approx(plan.bytes, rel=0.02)


def test_an_open_store_is_not_evicted(folder: Path):
    store = open_store(from_directory(folder), TRANSFORM)
    assert cache.clear() == ()
    store.close()
    assert [entry.path for entry in cache.clear()] == [store.path]


def test_a_store_can_be_sent_to_another_process(folder: Path, reads: list[str]):
    store = open_store(from_directory(folder), TRANSFORM)
    reads.clear()
    copy = pickle.loads(pickle.dumps(store))
    assert np.array_equal(all_pixels(copy), all_pixels(store))
    assert reads == []


def test_another_transform_is_another_store(folder: Path):
    manifest = from_directory(folder)
    paths = {
        open_store(manifest, Transform(32, 37, geometry, resampler="bilinear")).path for geometry in ("crop", "squash")
    }
    assert len(paths) == 2
    assert open_store(manifest, Transform(30, 37, resampler="bilinear")).path in paths


def test_pictures_of_too_many_pixels_are_set_aside_at_the_limit_that_was_asked_for(folder: Path):
    write_picture(folder / "a" / "large.png", 0, size=(100, 90))
    manifest = from_directory(folder)
    limited = Transform(32, 37, resampler="bilinear", max_pixels=60 * 50)
    statuses = dict(zip(manifest.items["item"], open_store(manifest, limited).facts["status"], strict=True))
    assert [item for item, status in statuses.items() if status != "ok"] == ["a/large.png"]
    assert statuses["a/large.png"] == "too large"
    with pytest.raises(InputError, match="pixels"):
        limited(manifest.source.read("a/large.png"))
    assert open_store(manifest, TRANSFORM).ok.all()


def test_the_limit_of_a_run_is_that_of_the_decoder():
    assert DataConfig().max_pixels == MAX_PIXELS
