"""How steady answers are: exact for networks whose symmetry is known, and read back by the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from tlkit import run
from tlkit.errors import InputError
from tlkit.report.varied import read_varied
from tlkit.symmetry import measure_steadiness, write_symmetry


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.stack(
        [
            picture[:256:8, start : start + 256 : 8]
            for picture in load_sample_images().images
            for start in (0, 100, 200, 300)
        ]
    )


def by_side(images: np.ndarray) -> np.ndarray:
    """A network that tells which half of a picture is brighter, and nothing else."""
    left = images[:, :, :16].mean(axis=(1, 2, 3)) > images[:, :, 16:].mean(axis=(1, 2, 3))
    return np.stack([left, ~left], axis=1).astype("float32")


def by_colour(images: np.ndarray) -> np.ndarray:
    """A network that looks at the mean colour alone: no flip and no right angle changes it."""
    shares = images.mean(axis=(1, 2)) + 1
    return (shares / shares.sum(axis=1, keepdims=True)).astype("float32")


def test_known_symmetries_are_found(images: np.ndarray, tmp_path: Path) -> None:
    found = measure_steadiness({"before": by_side, "after": by_colour}, images)
    by_name = {(one.transformation, one.when): one for one in found}
    assert by_name["flip", "before"].agreement == 0
    assert by_name["flip", "before"].change == 1
    assert by_name["flip", "after"].agreement == 1
    assert by_name["flip", "after"].change == pytest.approx(0, abs=1e-6)
    assert by_name["rotation 90°", "after"].change == pytest.approx(0, abs=1e-3)
    assert by_name["scale 0.8", "after"].change > 0
    assert {one.images for one in found} == {8}
    write_symmetry(tmp_path, found)
    read = {row["transformation"]: row for row in read_varied(tmp_path).symmetry}
    assert read["flip"]["before"] == {"agreement": 0.0, "change": 1.0}
    assert read["flip"]["images"] == 8
    assert len(read) == 9


def test_a_damaged_table_is_told(tmp_path: Path) -> None:
    (tmp_path / run.SYMMETRY).write_text("transformation,when,images,agreement,change\nflip,never,3,1,0\n")
    with pytest.raises(InputError, match="neither before nor after"):
        read_varied(tmp_path)
    (tmp_path / run.SYMMETRY).unlink()
    (tmp_path / run.AUGMENTATION).write_text('{"preset": "light"}')
    with pytest.raises(InputError, match="no flip"):
        read_varied(tmp_path)


def test_no_pictures_are_told() -> None:
    with pytest.raises(InputError, match="at least one picture"):
        measure_steadiness({"after": by_side}, np.zeros((0, 8, 8, 3), np.uint8))
