"""The packed store when things go wrong: killed passes, two at once, no space, no permission, data too large."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkit import cache
from tlkit.data import packed_folder, packing_rows
from tlkit.data.folders import from_directory
from tlkit.data.items import FileSource
from tlkit.data.manifest import Manifest
from tlkit.data.store import Store, open_store, plan_store
from tlkit.data.transform import Transform
from tlkit.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
TRANSFORM = Transform(48, 55, resampler="bilinear")
COUNT = 200

SLOW_PASS = """
    import sys, time
    from tlkit.data.folders import from_directory
    from tlkit.data.items import FileSource
    from tlkit.data.store import open_store
    from tlkit.data.transform import Transform

    read = FileSource.read
    def slowly(source, item):
        time.sleep(0.02)
        with open(sys.argv[2], "a") as log:
            log.write(item + "\\n")
        return read(source, item)
    FileSource.read = slowly
    told = []
    def tell(done, total):
        told.append(done)
        print(done, flush=True)
    print("ready", flush=True)
    store = open_store(from_directory(sys.argv[1]), Transform(48, 55, resampler="bilinear"), tell)
    print("mean", store.pixels(range(len(store))).mean(), flush=True)
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (20, 24, 3), np.uint8)).save(path)
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


@contextlib.contextmanager
def slow_pass(folder: Path, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Packs in a process of its own, 20 ms an image and thread; killed at the end if still there."""
    command = [sys.executable, "-c", textwrap.dedent(SLOW_PASS), str(folder), str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextlib.contextmanager
def small_disk(path: Path, options: str) -> Iterator[Path]:
    """A disk of its own, in memory; skips the test where none may be mounted."""
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def pixels_of(store: Store) -> np.ndarray:
    return store.pixels(np.arange(len(store)))


def files_below(path: Path) -> list[str]:
    return sorted(file.name for file in path.rglob("*") if file.is_file() and ".locks" not in file.parts)


def expected(manifest: Manifest) -> np.ndarray:
    return np.stack([packing_rows.look_at(manifest.source, item, TRANSFORM)[1] for item in manifest.items["item"]])


def test_a_killed_pass_is_taken_up_where_it_ended(folder: Path, tmp_path: Path, reads: list[str]):
    with slow_pass(folder, tmp_path / "log") as process:
        assert line(process) == "ready"
        while int(line(process)) < COUNT // 3:
            pass
        process.kill()
        process.wait()
    done = packed_folder.count_done(next((tmp_path / "cache" / "pixels").glob("*.partial")))
    assert COUNT // 3 <= done < COUNT
    manifest = from_directory(folder)
    told: list[int] = []
    store = open_store(manifest, TRANSFORM, lambda done, total: told.append(done))
    assert len(reads) == COUNT - done
    assert told[0] > done
    assert told[-1] == COUNT
    assert np.array_equal(pixels_of(store), expected(manifest))
    assert not list((tmp_path / "cache" / "pixels").glob("*.partial"))


def test_of_two_processes_one_packs_and_the_other_waits(folder: Path, tmp_path: Path):
    logs = [tmp_path / "first", tmp_path / "second"]
    with slow_pass(folder, logs[0]) as first, slow_pass(folder, logs[1]) as second:
        outputs = [process.communicate(timeout=60)[0].split("\n") for process in (first, second)]
    read = [log.read_text().split() if log.exists() else [] for log in logs]
    assert sorted(map(len, read)) == [0, COUNT]
    means = {text for lines in outputs for text in lines if text.startswith("mean")}
    assert len(means) == 1
    waited = outputs[0] if not read[0] else outputs[1]
    assert any(text.isdigit() for text in waited), "the waiting process shows how far the other one is"


def test_an_interrupted_pass_leaves_only_what_the_next_one_takes_up(folder: Path, tmp_path: Path, reads: list[str]):
    def interrupt(done: int, total: int) -> None:
        if done > COUNT // 2:
            raise KeyboardInterrupt

    manifest = from_directory(folder)
    with pytest.raises(KeyboardInterrupt):
        open_store(manifest, TRANSFORM, interrupt)
    read_before = len(reads)
    store = open_store(manifest, TRANSFORM)
    assert len(reads) == COUNT
    assert COUNT // 2 < read_before < COUNT
    assert np.array_equal(pixels_of(store), expected(manifest))


def test_what_would_not_fit_is_streamed_and_said_so(folder: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]):
    monkeypatch.setenv("TLKIT_CACHE_BYTES", "1M")
    manifest = from_directory(folder)
    assert plan_store(manifest, TRANSFORM).bytes > 1_000_000
    store = open_store(manifest, TRANSFORM)
    assert store.streaming
    assert store.path is None
    assert len(store.notes) == 1
    assert "No room for" in store.notes[0]
    assert "TLKIT_CACHE_BYTES" in store.notes[0]
    assert "decoded anew in every epoch" in store.notes[0]
    assert np.array_equal(pixels_of(store), expected(manifest))
    assert np.array_equal(store.images([3, 1]), TRANSFORM.to_model(pixels_of(store))[[3, 1]])
    assert store.ok.all()
    assert store.facts["digest"].is_unique


def test_streaming_examines_only_once(folder: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]):
    monkeypatch.setenv("TLKIT_CACHE_BYTES", "1M")
    manifest = from_directory(folder)
    facts = open_store(manifest, TRANSFORM).facts
    reads.clear()
    assert open_store(manifest, TRANSFORM).facts.equals(facts)
    assert reads == []


def test_streaming_with_no_room_at_all_keeps_the_facts_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TLKIT_CACHE_BYTES", "0")
    manifest = from_directory(folder)
    store = open_store(manifest, TRANSFORM)
    assert store.streaming
    assert np.array_equal(pixels_of(store), expected(manifest))
    assert cache.list_entries() == ()


def test_streaming_tells_a_file_that_is_gone(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TLKIT_CACHE_BYTES", "0")
    store = open_store(from_directory(folder), TRANSFORM)
    (folder / "a" / "000.png").unlink()
    with pytest.raises(InputError, match=r"a/000.png could be decoded before and no longer can: Cannot be read"):
        store.images([0])


def test_older_stores_make_room_for_new_ones(folder: Path, monkeypatch: pytest.MonkeyPatch):
    manifest = from_directory(folder)
    monkeypatch.setenv("TLKIT_CACHE_BYTES", str(int(1.5 * plan_store(manifest, TRANSFORM).bytes)))
    first = open_store(manifest, TRANSFORM)
    first.close()
    second = open_store(manifest, Transform(48, 55, "squash", resampler="bilinear"))
    assert not second.streaming
    assert [entry.path for entry in cache.list_entries("pixels")] == [second.path]
    third = open_store(manifest, TRANSFORM)
    assert third.streaming, "the second store is in use"


@pytest.mark.skipif(sys.platform == "win32", reason="mounts a disk")
@pytest.mark.parametrize("size", ["1m", "100k"])
def test_a_disk_that_fills_up_on_the_way_ends_in_streaming(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str
):
    manifest = from_directory(folder)
    with small_disk(tmp_path / "small", f"size={size}") as disk:
        monkeypatch.setenv("TLKIT_CACHE", str(disk / "cache"))
        monkeypatch.setenv("TLKIT_CACHE_BYTES", "1G")
        monkeypatch.setattr("tlkit.cache.budget.free_bytes", lambda: 10**9)  # The disk was free when we looked.
        store = open_store(manifest, TRANSFORM)
        assert store.streaming
        assert "filled up while" in store.notes[0]
        assert np.array_equal(pixels_of(store), expected(manifest))
        assert packed_folder.PIXELS not in files_below(disk)
        assert not list(disk.rglob("*.partial"))
        store.close()


@pytest.mark.skipif(sys.platform == "win32", reason="mounts a disk")
def test_a_full_disk_is_told_and_left_as_it_was(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with small_disk(tmp_path / "small", "size=256k") as disk:
        with contextlib.suppress(OSError), open(disk / "filler", "wb") as filler:
            filler.write(bytes(1 << 20))
        monkeypatch.setenv("TLKIT_CACHE", str(disk / "cache"))
        store = open_store(from_directory(folder), TRANSFORM)
        assert store.streaming
        assert len(store.notes) == 1
        assert files_below(disk) == ["filler"]
        store.close()


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX systems")
def test_a_limit_on_file_sizes_ends_in_streaming(folder: Path, tmp_path: Path):
    code = """
        import resource, sys
        from tlkit.data.folders import from_directory
        from tlkit.data.store import open_store
        from tlkit.data.transform import Transform
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        store = open_store(from_directory(sys.argv[1]), Transform(48, 55, resampler="bilinear"))
        print(store.streaming, store.notes[0])
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True The disk of the cache filled up while")
    assert packed_folder.PIXELS not in files_below(tmp_path / "cache")


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Makes a folder read-only: for root by mounting it so, for others by its permissions."""
    if os.geteuid() == 0:
        command = ["mount", "--bind", "-o", "ro", str(path), str(path)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("root may write anywhere, and may not mount a folder read-only here")
    else:
        path.chmod(0o500)
    try:
        yield
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", "-l", str(path)], check=True)
        else:
            path.chmod(0o700)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX systems")
def test_a_read_only_cache_gives_what_it_has_and_streams_the_rest(folder: Path, own_cache: Path, reads: list[str]):
    manifest = from_directory(folder)
    open_store(manifest, TRANSFORM).close()
    reads.clear()
    with read_only(own_cache):
        kept = open_store(manifest, TRANSFORM)
        assert not kept.streaming
        assert np.array_equal(pixels_of(kept), pixels_of(kept))
        assert reads == []
        other = open_store(manifest, Transform(32, 32, resampler="bilinear"))
        assert other.streaming
        assert "Expected a cache folder that can be written to" in other.notes[0]
        assert "TLKIT_CACHE" in other.notes[0]
        assert other.images([0]).shape == (1, 32, 32, 3)
        kept.close()


def test_a_cache_folder_that_is_a_file_is_told(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "taken").write_text("not a folder")
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "taken"))
    store = open_store(from_directory(folder), TRANSFORM)
    assert store.streaming
    assert str(tmp_path / "taken") in store.notes[0]
    assert (tmp_path / "taken").read_text() == "not a folder"


@pytest.mark.skipif(sys.platform == "win32", reason="mounts a disk")
def test_pixels_spoilt_in_a_read_only_cache_are_made_anew_in_memory(folder: Path, own_cache: Path):
    manifest = from_directory(folder)
    store = open_store(manifest, TRANSFORM)
    with open(store.path / packed_folder.PIXELS, "r+b") as file:
        file.write(bytes(100))
    store.close()
    with read_only(own_cache):
        again = open_store(manifest, TRANSFORM)
        assert np.array_equal(pixels_of(again), expected(manifest))
        assert np.array_equal(pixels_of(again), expected(manifest))
        again.close()
