"""The table of items: labels, counts, and a file that spreadsheets and `read_csv` both take."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path

import numpy as np
import pytest

from tlkit.data import Manifest, from_arrays, from_spec
from tlkit.data.manifest import COLUMNS, make_manifest
from tlkit.errors import InputError

ODD_NAMES = [
    *("=SUM(A1)", "'quoted'", '"double"', "+1", "-1", "@here"),
    *("naïve café", "日本語", "with, comma", "a;b", " space ", "''=x"),
]


def pictures(number: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (number, 12, 10, 3), dtype=np.uint8)


def odd_manifest() -> Manifest:
    labels = [name for name in ODD_NAMES for _ in range(4)]
    return from_arrays(pictures(len(labels)), labels, name="odd")


def test_labels_are_positions_in_sorted_names():
    manifest = from_arrays(pictures(9), [2, 0, 1] * 3, ["zebra", "ant", "mole"])
    assert manifest.class_names == ("ant", "mole", "zebra")
    assert manifest.num_classes == 3
    assert manifest.labels().tolist() == [1, 2, 0] * 3
    assert manifest.labels().dtype == np.int64
    split = manifest.split(0.34, 0.34)
    for part in ("train", "validation", "test"):
        assert split.labels(part).tolist() == split.labels()[split.indices(part)].tolist()
    with pytest.raises(InputError, match="split='val'"):
        split.indices("val")


def test_counts():
    manifest = from_arrays(pictures(20), ["a"] * 12 + ["b"] * 8)
    assert manifest.counts().to_dict() == {"unassigned": {"a": 12, "b": 8}}
    counts = manifest.split(0.25, 0.25).counts()
    assert counts.to_dict("list") == {"train": [6, 4], "validation": [3, 2], "test": [3, 2]}
    assert list(counts.index) == ["a", "b"]


def test_csv_is_read_back_exactly_and_holds_no_formula(tmp_path: Path):
    manifest = odd_manifest().split()
    path = tmp_path / "manifest.csv"
    manifest.write_csv(path)
    again = Manifest.read_csv(path, manifest.source)
    assert again.items.equals(manifest.items)
    assert again.class_names == manifest.class_names
    with open(path, encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))]
    assert tuple(cells[: len(COLUMNS)]) == COLUMNS


def test_csv_keeps_names_with_line_breaks(tmp_path: Path):
    rows = [{"item": f"a\r\n{number}.png", "label": label} for number in range(3) for label in ("x", "y")]
    rows = [{**row, "item": row["label"] + row["item"]} for row in rows]
    manifest = make_manifest(rows, odd_manifest().source)
    manifest.write_csv(tmp_path / "m.csv")
    assert Manifest.read_csv(tmp_path / "m.csv", manifest.source).items.equals(manifest.items)


def test_csv_of_something_else(tmp_path: Path):
    (tmp_path / "m.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="columns item, label"):
        Manifest.read_csv(tmp_path / "m.csv", odd_manifest().source)


def test_digits():
    manifest = from_spec("builtin:digits")
    assert (len(manifest), manifest.class_names) == (1797, tuple("0123456789"))
    assert manifest.items["item"].iloc[7] == "digits/0007"
    image = manifest.source.read("digits/0007")
    assert isinstance(image, np.ndarray)
    assert (image.shape, image.dtype, image.max()) == ((8, 8), np.uint8, 255)
    with pytest.raises(InputError, match="Did you mean 'digits'"):
        from_spec("builtin:digit")


def test_manifests_travel_between_processes():
    manifest = from_spec("builtin:digits")
    copy = pickle.loads(pickle.dumps(manifest))
    assert np.array_equal(copy.source.read("digits/0001"), manifest.source.read("digits/0001"))
    assert copy.items.equals(manifest.items)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (["a"] * 9, "Received: one, 'a'"),
        (["a"] * 5 + ["b"] * 2 + ["c"] * 2, "'b' has 2, 'c' has 2"),
        (["a"] * 5 + ["b\n"] * 4, "without control characters"),
        (["a"] * 5 + ["  "] * 4, "visible character"),
        (["a"] * 5, "5 labels"),
        (np.zeros((9, 2), int), "shape"),
        (np.zeros(9), "float64"),
    ],
)
def test_labels_that_cannot_be_used(labels, told: str):
    with pytest.raises(InputError, match=told) as error:
        from_arrays(pictures(9), labels)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (pictures(9) / 255.0, "float64.*Convert"),
        (pictures(9)[..., :2], "shape"),
        (pictures(9)[0, 0], "shape"),
    ],
)
def test_images_that_cannot_be_used(images: np.ndarray, told: str):
    with pytest.raises(InputError, match=told):
        from_arrays(images, [0, 1, 2] * 3)


def test_integer_labels_out_of_range_and_names_that_clash():
    with pytest.raises(InputError, match=r"from 0 to 1\. Received: 0 to 2"):
        from_arrays(pictures(9), [0, 1, 2] * 3, ["a", "b"])
    with pytest.raises(InputError, match="that differ"):
        from_arrays(pictures(9), [0, 1, 2] * 3, ["a", "a", "b"])


def test_many_integer_labels_keep_their_order():
    manifest = from_arrays(pictures(36), np.repeat(np.arange(12), 3)[:, None])
    assert manifest.class_names[:3] == ("00", "01", "02")
    assert manifest.labels().tolist() == np.repeat(np.arange(12), 3).tolist()


def test_class_names_are_normalised_and_likeness_is_told():
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    labels = [composed] * 3 + [decomposed] * 3 + ["Dog"] * 3 + ["dog "] * 3
    manifest = from_arrays(pictures(12), labels)
    assert manifest.class_names == ("Dog", composed, "dog ")
    kinds = [finding.kind for finding in manifest.findings]
    assert kinds == ["class names merged", "class names alike"]
    assert "'Dog'" in manifest.notes[1]
    assert "'dog '" in manifest.notes[1]
