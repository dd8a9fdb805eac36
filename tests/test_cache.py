"""The cache: whole entries or none, least recently used first, never one in use, whatever happens to a process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tlkit import cache
from tlkit.errors import InputError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TLKIT_CACHE_BYTES", "10M")
    return tmp_path / "cache"


def fill(key: str, size: int = 1000, kind: str = "pixels") -> Path:
    with cache.build(kind, key, size, details={"made by": "test"}) as path:
        (path / "data.bin").write_bytes(bytes(size))
    found = cache.find(kind, key)
    assert found is not None
    return found


def build_until(kind: str, error: BaseException, *, resumable: bool = False) -> None:
    with cache.build(kind, "a", 10, resumable=resumable) as path:
        (path / "data.bin").write_bytes(b"12345")
        raise error


def last_used(path: Path, seconds_ago: float) -> None:
    moment = time.time() - seconds_ago
    os.utime(path / "entry.json", (moment, moment))


def names(entries: tuple[cache.Entry, ...]) -> list[str]:
    return [entry.key for entry in entries]


@contextmanager
def started(code: str) -> Iterator[subprocess.Popen[str]]:
    """Runs code in a process of its own, which says `ready` once it has come so far and is killed in the end."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_an_entry_is_found_when_it_is_whole(folder: Path):
    assert cache.find("pixels", "a") is None
    with cache.build("pixels", "a", 5) as path:
        (path / "data.bin").write_bytes(b"12345")
        assert cache.find("pixels", "a") is None
    assert cache.find("pixels", "a") == folder / "pixels" / "a"
    assert (folder / "pixels" / "a" / "data.bin").read_bytes() == b"12345"
    assert not list((folder / "pixels").glob("*.partial"))


def test_the_listing_tells_sizes_kinds_and_order():
    older, newer = fill("old", 100), fill("new", 3000, "activations")
    last_used(older, 60)
    assert names(cache.list_entries()) == ["new", "old"]
    assert names(cache.list_entries("pixels")) == ["old"]
    entry = cache.list_entries("activations")[0]
    assert entry.path == newer
    assert 3000 < entry.bytes < 4000
    assert entry.complete
    assert not entry.in_use
    assert entry.details == {"made by": "test"}


def test_finding_marks_as_used():
    first, second = fill("first"), fill("second")
    last_used(first, 100)
    last_used(second, 50)
    cache.find("pixels", "first")
    assert names(cache.list_entries()) == ["first", "second"]


def test_an_entry_with_missing_bytes_is_removed():
    path = fill("a", 1000)
    os.truncate(path / "data.bin", 999)
    assert cache.find("pixels", "a") is None
    assert not path.exists()


def test_a_failed_build_leaves_nothing(folder: Path):
    with pytest.raises(RuntimeError, match="stop"):
        build_until("pixels", RuntimeError("stop"))
    assert not (folder / "pixels" / "a.partial").exists()
    assert cache.list_entries() == ()


def test_a_resumable_build_goes_on_where_it_was_interrupted():
    with pytest.raises(KeyboardInterrupt):
        build_until("pixels", KeyboardInterrupt(), resumable=True)
    assert [(entry.complete, entry.in_use) for entry in cache.list_entries()] == [(False, False)]
    with cache.build("pixels", "a", 10, resumable=True) as path:
        assert (path / "data.bin").read_bytes() == b"12345"
    assert [entry.complete for entry in cache.list_entries()] == [True]


def test_the_least_recently_used_go_first():
    for age, key in enumerate(["newest", "middle", "oldest"]):
        last_used(fill(key, 3_000_000), 100 * (age + 1))
    evicted = cache.make_room(3_000_000)
    assert names(evicted) == ["oldest"]
    assert names(cache.list_entries()) == ["newest", "middle"]
    fill("another", 6_000_000)
    assert names(cache.list_entries()) == ["another", "newest"]


def test_nothing_is_evicted_for_what_would_not_fit_anyway():
    fill("kept", 3_000_000)
    with (
        pytest.raises(cache.CacheFull, match=r"11,000,000 bytes.*budget is 10,000,000"),
        cache.build("x", "y", 11_000_000),
    ):
        pytest.fail("the block must not run")
    assert names(cache.list_entries()) == ["kept"]


@pytest.mark.parametrize(
    ("free", "remedy"), [(10**9, "Raise TLKIT_CACHE_BYTES"), (1000, "Free some space on the disk")]
)
def test_the_remedy_fits_what_is_short(monkeypatch: pytest.MonkeyPatch, free: int, remedy: str):
    monkeypatch.setattr("tlkit.cache.budget.free_bytes", lambda: free)
    with pytest.raises(cache.CacheFull, match=f"{remedy}, set TLKIT_CACHE to another folder"):
        cache.make_room(5_000_000 if free == 1000 else 11_000_000)


def test_an_entry_in_use_is_never_evicted():
    last_used(fill("used", 6_000_000), 100)
    fill("free", 2_000_000)
    held = cache.hold("pixels", "used")
    assert held is not None
    with pytest.raises(cache.CacheFull):
        cache.make_room(9_000_000)
    assert names(cache.make_room(3_000_000)) == ["free"]
    assert cache.clear() == ()
    held.close()
    assert names(cache.clear()) == ["used"]
    assert cache.hold("pixels", "used") is None


def test_an_entry_in_use_by_another_process_stays_until_that_process_is_killed():
    fill("used", 6_000_000)
    with started("""
        from tlkit import cache
        held = cache.hold("pixels", "used")
        print("ready", flush=True)
        input()
    """):
        assert cache.list_entries()[0].in_use
        assert cache.clear() == ()
    assert not cache.list_entries()[0].in_use
    assert names(cache.clear()) == ["used"]
    assert not list((cache.cache_folder() / ".locks").glob("*use*"))


def test_room_is_reserved_for_what_is_being_built():
    with cache.build("pixels", "a", 8_000_000), pytest.raises(cache.CacheFull):
        cache.make_room(3_000_000)


def test_two_processes_build_one_entry_once(folder: Path, tmp_path: Path):
    code = f"""
        import os, time
        from pathlib import Path
        from tlkit import cache
        print("ready", flush=True)
        with cache.build("pixels", "a", 1000) as path:
            if cache.find("pixels", "a") is None:
                open({str(tmp_path / "builders")!r}, "a").write(f"{{os.getpid()}} ")
                time.sleep(0.3)
                (path / "data.bin").write_bytes(b"x" * 1000)
        assert (cache.find("pixels", "a") / "data.bin").read_bytes() == b"x" * 1000
    """
    with started(code) as first, started(code) as second, started(code) as third:
        assert [process.wait(timeout=30) for process in (first, second, third)] == [0, 0, 0]
    assert len((tmp_path / "builders").read_text().split()) == 1
    assert [entry.complete for entry in cache.list_entries()] == [True]


def test_a_killed_builder_is_succeeded_by_the_next():
    with started("""
        from tlkit import cache
        with cache.build("pixels", "a", 1000, resumable=True) as path:
            (path / "data.bin").write_bytes(b"half")
            print("ready", flush=True)
            input()
    """):
        assert cache.list_entries()[0].in_use
    assert not cache.list_entries()[0].in_use
    with cache.build("pixels", "a", 1000, resumable=True) as path:
        assert (path / "data.bin").read_bytes() == b"half"
    assert cache.find("pixels", "a")


def test_waiting_shows_the_folder_that_another_fills():
    seen: list[Path] = []
    with (
        started("""
        import time
        from tlkit import cache
        with cache.build("pixels", "a", 1000) as path:
            print("ready", flush=True)
            time.sleep(0.5)
    """),
        cache.build("pixels", "a", 1000, while_waiting=seen.append),
    ):
        assert cache.find("pixels", "a")
    assert seen
    assert {path.name for path in seen} == {"a.partial"}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("12345", 12345),
        ("20G", 20 * 10**9),
        ("500 MB", 500 * 10**6),
        ("1.5GiB", 3 * 2**29),
        ("2e3k", 2_000_000),
        ("0", 0),
    ],
)
def test_budgets_are_sizes(monkeypatch: pytest.MonkeyPatch, text: str, size: int):
    monkeypatch.setenv("TLKIT_CACHE_BYTES", text)
    assert cache.budget_bytes() == size


@pytest.mark.parametrize("text", ["much", "-1", "5 parsecs", "1..2G"])
def test_a_budget_that_is_no_size_is_the_users_mistake(monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv("TLKIT_CACHE_BYTES", text)
    with pytest.raises(InputError, match="TLKIT_CACHE_BYTES to be a size"):
        cache.budget_bytes()


def test_the_default_budget_leaves_half_of_the_disk(monkeypatch: pytest.MonkeyPatch, folder: Path):
    monkeypatch.delenv("TLKIT_CACHE_BYTES")
    status = os.statvfs(folder.parent)
    assert cache.budget_bytes() == pytest.approx(status.f_bavail * status.f_frsize / 2, rel=0.05)


def test_without_a_setting_the_platform_says_where(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TLKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    if sys.platform.startswith("linux"):
        assert cache.cache_folder() == Path("/somewhere/tlkit")
    assert cache.cache_folder().is_absolute()


def test_an_empty_cache_has_nothing_to_tell_and_is_not_made_by_looking(folder: Path):
    assert cache.list_entries() == ()
    assert cache.clear() == ()
    assert cache.find("pixels", "a") is None
    assert not folder.exists()


def test_lock_files_of_the_dead_are_swept(folder: Path):
    fill("a")
    with started("""
        from tlkit import cache
        held = cache.hold("pixels", "a")
        print("ready", flush=True)
        input()
    """):
        pass
    shutil.rmtree(folder / "pixels")
    assert len(list((folder / ".locks").glob("*use*"))) == 1
    cache.make_room(1)
    assert list((folder / ".locks").glob("*.lock")) == []


def test_a_hold_that_is_forgotten_holds_no_more():
    fill("a")
    held = cache.hold("pixels", "a")
    assert cache.clear() == ()
    del held
    assert names(cache.clear()) == ["a"]
