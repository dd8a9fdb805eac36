"""Rows of packed pixels: read at their place from any thread, with and without the calls that only POSIX has."""

from __future__ import annotations

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tlkit.data.reading import PackedRows, RowFile
from tlkit.data.transform import Transform

TRANSFORM = Transform(8, 10)
ROW_BYTES = 10 * 10 * 3
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 10, 10, 3), np.uint8)


@pytest.fixture(params=["positioned", "sought"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of forty rows, on a system that can read at a place and on one that has to go there first."""
    if request.param == "sought":
        for name in ("preadv", "pwrite"):
            monkeypatch.delattr(os, name, raising=False)
    elif not hasattr(os, "preadv"):
        pytest.skip("this system cannot read at a given place")
    path = tmp_path / "rows.bin"
    with RowFile(path, ROW_BYTES, write=True) as file:
        for row in np.random.default_rng(1).permutation(40).tolist():
            file.write(row, PIXELS[row].data.cast("B"))
    return path


def rows_of(path: Path, make_anew=None) -> PackedRows:
    checksums = np.array([zlib.crc32(row.data) for row in PIXELS], np.uint32)
    return PackedRows(RowFile(path, ROW_BYTES), checksums, TRANSFORM, make_anew or pytest.fail)


def test_rows_come_back_as_written(path: Path):
    assert path.read_bytes() == PIXELS.tobytes()
    rows = np.array([39, 0, 7, 7])
    reader = rows_of(path)
    assert np.array_equal(reader.read(rows, 10), PIXELS[rows])
    for _ in range(2):  # The second time only the rows of pixels that are wanted are read.
        assert np.array_equal(reader.read(rows, 8), PIXELS[rows, 1:9, 1:9])
    reader.close()


def test_many_threads_read_at_once(path: Path):
    reader = rows_of(path)
    orders = [np.random.default_rng(seed).permutation(40) for seed in range(50)]
    with ThreadPoolExecutor(8) as executor:
        for rows, squares in zip(orders, executor.map(lambda rows: reader.read(rows, 8), orders), strict=True):
            assert np.array_equal(squares, PIXELS[rows, 1:9, 1:9])
    reader.close()


def test_many_threads_write_at_once(tmp_path: Path, path: Path):
    with RowFile(tmp_path / "other.bin", ROW_BYTES, write=True) as file, ThreadPoolExecutor(8) as executor:
        list(executor.map(lambda row: file.write(row, PIXELS[row].data.cast("B")), range(40)))
        file.extend_to(41)
    assert (tmp_path / "other.bin").read_bytes() == PIXELS.tobytes() + bytes(ROW_BYTES)


def test_a_spoilt_row_is_made_anew_once_and_written_back(path: Path):
    spoilt = bytearray(PIXELS.tobytes())
    spoilt[5 * ROW_BYTES + 17] ^= 1
    path.write_bytes(spoilt)
    asked: list[int] = []

    def make_anew(row: int) -> np.ndarray:
        asked.append(row)
        return PIXELS[row]

    for _ in range(2):
        reader = rows_of(path, make_anew)
        assert np.array_equal(reader.read(np.arange(40), 10), PIXELS)
        reader.close()
    assert asked == [5]
    assert path.read_bytes() == PIXELS.tobytes()


def test_a_file_that_was_cut_short_meanwhile_is_noticed(path: Path):
    reader = rows_of(path, lambda row: PIXELS[row])
    assert np.array_equal(reader.read(np.arange(40), 8), PIXELS[:, 1:9, 1:9])
    os.truncate(path, 20 * ROW_BYTES)
    assert np.array_equal(reader.read(np.arange(40), 8), PIXELS[:, 1:9, 1:9])
    reader.close()
