"""Helper processes pack what threads of this process pack, byte for byte, and none of their deaths loses anything."""

from __future__ import annotations

import errno
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkit.data import packed_folder, packing, packing_helpers
from tlkit.data.arrays import from_arrays
from tlkit.data.folders import from_directory
from tlkit.data.items import FileSource
from tlkit.data.manifest import Manifest
from tlkit.data.packing_helpers import Helper, Helpers, Job, start_helpers
from tlkit.data.transform import Transform, make_transform

TRANSFORM = Transform(32, 37, resampler="bilinear")
CORES = 3


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """80 pictures and two files that are none, one of them with a name that is no UTF-8 where the system allows it."""
    random = np.random.default_rng(0)
    for number in range(80):
        path = tmp_path / "images" / "ab"[number % 2] / f"é {number:02d}.{'jpg' if number % 3 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (50, 60, 3), np.uint8)).save(path)
    (tmp_path / "images" / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    (tmp_path / "images" / "b" / "text.png").write_text("no image")
    return from_directory(tmp_path / "images", min_images=0)


@pytest.fixture(autouse=True)
def several_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing_helpers, "cores", lambda: CORES)
    monkeypatch.setattr(packing_helpers, "ITEMS_A_HELPER", 8)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each task that a helper was given was done by it."""
    answers: list[bool] = []
    pack = Helper.pack

    def noting(helper: Helper, rows: np.ndarray, items: list[str], marks: np.ndarray) -> bool:
        answers.append(pack(helper, rows, items, marks))
        return answers[-1]

    monkeypatch.setattr(Helper, "pack", noting)
    return answers


def packed(manifest: Manifest, folder: Path, transform: Transform = TRANSFORM) -> dict[str, bytes]:
    """Packs everything into a new folder and returns its files."""
    folder.mkdir()
    into = packed_folder.create_packed(folder, len(manifest), transform)
    packing.pack(into, manifest, transform, packing.marks_of(manifest))
    packed_folder.seal(into, folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def by_threads(manifest: Manifest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    with monkeypatch.context() as patch:
        patch.setattr(packing_helpers, "MOST_HELPERS", 0)
        return packed(manifest, folder)


def job(manifest: Manifest, folder: Path | None) -> Job:
    return Job(folder, manifest.source, TRANSFORM, len(manifest), pixels=True)


def helpers_of(helpers: Helpers) -> list[Helper]:
    found = [helpers._free.get() for _ in range(len(helpers))]
    return [helper for helper in found if helper is not None]


def test_helpers_pack_what_threads_pack(
    manifest: Manifest, tmp_path: Path, told: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = by_threads(manifest, tmp_path / "threads", monkeypatch)
    assert not told
    assert packed(manifest, tmp_path / "helpers") == expected
    assert told
    assert all(told)


def test_what_a_helper_leaves_undone_is_done_here(
    manifest: Manifest, tmp_path: Path, told: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = by_threads(manifest, tmp_path / "threads", monkeypatch)
    noting: Callable[..., bool] = Helper.pack

    def dying(helper: Helper, rows: np.ndarray, items: list[str], marks: np.ndarray) -> bool:
        helper.process.kill()
        helper.process.wait()
        return noting(helper, rows, items, marks)

    monkeypatch.setattr(Helper, "pack", dying)
    assert packed(manifest, tmp_path / "helpers") == expected
    assert told
    assert not any(told)


def test_in_the_place_of_a_helper_that_has_died_a_thread_works_on(manifest: Manifest, tmp_path: Path) -> None:
    packed_folder.create_packed(tmp_path, len(manifest), TRANSFORM)
    names, marks = manifest.items["item"].tolist(), packing.marks_of(manifest)
    with start_helpers(job(manifest, tmp_path), len(manifest)) as helpers:
        with helpers.one() as first:
            assert first is None
            with helpers.one() as helper:
                assert helper is not None
                assert helper.pack(np.arange(4), names[:4], marks[:4])
                helper.process.kill()
                helper.process.wait()
                assert not helper.pack(np.arange(4, 8), names[4:8], marks[4:8])
        assert helper not in helpers_of(helpers)
    assert packed_folder.count_done(tmp_path) == 4


def test_a_disk_without_room_is_told_by_the_helper(manifest: Manifest, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    packed_folder.create_packed(tmp_path, len(manifest), None)
    (tmp_path / packed_folder.PIXELS).symlink_to("/dev/full")
    marks = packing.marks_of(manifest)
    with start_helpers(job(manifest, tmp_path), len(manifest)) as helpers:
        helper = helpers_of(helpers)[0]
        with pytest.raises(OSError, match="space") as told:
            helper.pack(np.arange(4), manifest.items["item"].tolist()[:4], marks[:4])
        assert told.value.errno == errno.ENOSPC
        assert not helper.failed


def test_helpers_end_when_nobody_can_tell_them_more(manifest: Manifest, tmp_path: Path) -> None:
    packed_folder.create_packed(tmp_path, len(manifest), TRANSFORM)
    with start_helpers(job(manifest, tmp_path), len(manifest)) as helpers:
        helper = helpers_of(helpers)[0]
        assert helper.process.stdin is not None
        helper.process.stdin.close()  # As the system does where this process is killed.
        assert helper.process.wait(30) == 0


def test_helpers_are_as_many_as_the_work_is_worth(manifest: Manifest, tmp_path: Path) -> None:
    packed_folder.create_packed(tmp_path, len(manifest), TRANSFORM)
    for count, expected in ((7, 0), (8, 1), (1000, CORES - 1)):
        with start_helpers(job(manifest, tmp_path), count) as helpers:
            assert len(helpers) == (expected + 1 if expected else CORES)
            assert len(helpers_of(helpers)) == expected


def test_what_no_other_process_can_see_is_packed_by_threads(manifest: Manifest, tmp_path: Path) -> None:
    arrays = from_arrays(np.zeros((20, 8, 8, 3), np.uint8), np.arange(20) % 2)
    for what in (job(manifest, None), job(arrays, tmp_path)):
        with start_helpers(what, 1000) as helpers:
            assert not helpers_of(helpers)
    assert isinstance(manifest.source, FileSource)


def test_where_no_process_can_be_started_threads_pack(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[bool]
) -> None:
    expected = by_threads(manifest, tmp_path / "threads", monkeypatch)
    monkeypatch.setattr("tlkit.child_processes.sys.executable", str(tmp_path / "no python"))
    assert packed(manifest, tmp_path / "here") == expected
    assert not told


def test_a_helper_keeps_the_memory_of_an_image_for_the_next(tmp_path: Path) -> None:
    """Given back to the system, it would be had again page by page: 300 faults an image, a sixth of the time."""
    statistics = Path("/proc/self/stat")
    if not statistics.exists() or platform.libc_ver()[0] != "glibc":
        pytest.skip("needs Linux and glibc")
    picture = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)
    for number in range(60):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture + np.uint8(number)).save(path)
    manifest = from_directory(tmp_path / "images")
    transform = make_transform(224)
    packed_folder.create_packed(tmp_path, len(manifest), transform)
    names, marks = manifest.items["item"].tolist(), packing.marks_of(manifest)
    told = Job(tmp_path, manifest.source, transform, len(manifest), pixels=True)

    def faults_of(helper: Helper) -> int:
        fields = Path(f"/proc/{helper.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[7])  # Minor faults: the tenth of all, of which two stand before the last bracket.

    with start_helpers(told, 1000) as helpers:
        helper = helpers_of(helpers)[0]
        assert helper.pack(np.arange(20), names[:20], marks[:20])
        before = faults_of(helper)
        assert helper.pack(np.arange(20, 60), names[20:], marks[20:])
        assert faults_of(helper) - before < 40 * 30
