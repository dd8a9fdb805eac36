from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tlkit import data, results, run


@pytest.fixture(scope="module")
def scene() -> tuple[data.Manifest, data.Store]:
    """Digits with class names that a spreadsheet would run."""
    digits = load_digits()
    images = np.rint(digits.images[:120] * (255 / 16)).astype(np.uint8)
    manifest = data.from_arrays(images, [f"=digit {label}" for label in digits.target[:120]]).split(0.2, 0.3, seed=0)
    return manifest, data.open_store(manifest, data.make_transform(32))


def probabilities_of(manifest: data.Manifest) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    parts = ("validation", "test")
    return {split: generator.dirichlet(np.ones(10), len(manifest.indices(split))) for split in parts}


def test_table_has_a_row_for_each_prediction(scene: tuple) -> None:
    manifest, _ = scene
    probabilities = probabilities_of(manifest)
    table = results.prediction_table(manifest, probabilities)
    assert table["split"].tolist() == [split for split, rows in probabilities.items() for _ in rows]
    assert table["item"].tolist() == manifest.items["item"][table.index].tolist()
    assert table["label"].tolist() == manifest.items["label"][table.index].tolist()
    stacked = np.concatenate(list(probabilities.values()))
    labels = manifest.labels()[table.index]
    assert table["confidence"].to_numpy() == pytest.approx(stacked.max(axis=1), abs=1e-6)
    assert table["true_probability"].to_numpy() == pytest.approx(stacked[np.arange(len(table)), labels], abs=1e-6)
    assert (table["correct"] == (table["label"] == table["predicted"])).all()


def test_files_hold_the_table_and_no_formula(scene: tuple, tmp_path: Path) -> None:
    manifest, _ = scene
    probabilities = probabilities_of(manifest)
    table = results.prediction_table(manifest, probabilities)
    results.write_predictions(tmp_path, table, probabilities)
    kept = pd.read_csv(tmp_path / run.PREDICTIONS)
    assert kept["label"].str.startswith("'=digit").all()
    assert kept["label"].map(run.plain_cell).tolist() == table["label"].tolist()
    stacked = np.load(tmp_path / run.PROBABILITIES)
    assert stacked.dtype == np.float32
    assert stacked == pytest.approx(np.concatenate(list(probabilities.values())), abs=1e-6)


def test_thumbnails_are_small_pictures_named_by_digest(scene: tuple, tmp_path: Path) -> None:
    manifest, store = scene
    table = results.prediction_table(manifest, probabilities_of(manifest))
    results.write_thumbnails(tmp_path, table, manifest, store)
    names = {path.stem for path in (tmp_path / run.THUMBNAILS).iterdir()}
    assert names == {digest[:32] for digest in manifest.items["digest"][manifest.indices("test")]}
    for path in (tmp_path / run.THUMBNAILS).iterdir():
        with Image.open(path) as picture:
            assert (picture.format, max(picture.size) <= results.THUMBNAIL_SIZE) == ("JPEG", True)


def test_a_thumbnail_that_is_there_stays(scene: tuple, tmp_path: Path) -> None:
    manifest, store = scene
    results.save_thumbnails(tmp_path, [3, 4], manifest, store)
    path = tmp_path / run.THUMBNAILS / f"{manifest.items['digest'][3][:32]}.jpg"
    path.write_bytes(b"mine")
    results.save_thumbnails(tmp_path, [3, 5], manifest, store)
    assert path.read_bytes() == b"mine"
    assert len(list((tmp_path / run.THUMBNAILS).iterdir())) == 3


def test_pictures_are_chosen_class_by_class_mistakes_first() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [3000, 300, 30])
    table = pd.DataFrame(
        {
            "split": "test",
            "label": labels,
            "confidence": generator.random(len(labels)),
            "correct": generator.random(len(labels)) < 0.9,
        }
    )
    chosen = table.loc[results.chosen_pictures(table)]
    assert len(chosen) == results.MAX_THUMBNAILS - results.KEPT_FOR_LABEL_ISSUES
    assert (chosen["label"].value_counts()[[2, 1]] == [30, 300]).all()
    mistakes = table[(table["label"] == 0) & ~table["correct"]]
    assert set(mistakes.index) <= set(chosen.index)
    surest = mistakes["confidence"].idxmax()
    assert chosen[chosen["label"] == 0].index[0] == surest


def test_without_a_test_part_all_is_judged() -> None:
    table = pd.DataFrame({"split": ["validation"] * 3, "label": "a"})
    assert len(results.judged_part(table)) == 3
    mixed = table.assign(split=["validation", "test", "test"])
    assert results.judged_part(mixed).index.tolist() == [1, 2]


def test_jpeg_is_one() -> None:
    with Image.open(io.BytesIO(results.jpeg(Image.new("RGB", (8, 6), "blue")))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (8, 6))
