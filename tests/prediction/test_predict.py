"""Predictions: every way of naming pictures, in order, bit-equal to evaluation, told in rows that can be taken up."""

from __future__ import annotations

import csv
import io
import json
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tlkit import run
from tlkit.calibration import apply_temperature
from tlkit.data.transform import Transform
from tlkit.errors import InputError
from tlkit.features import predict_in_order
from tlkit.predicting import Telling
from tlkit.predicting import predict as predict_and_tell
from tlkit.prediction import Classifier, Prediction, Wanted, find_pictures, load_model_file, load_run, predict

NAMES = ("left", "right", "=up", "naïve")
SIZE = 24
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network was made, not trained; its answers differ from picture to picture."""
    keras.utils.set_random_seed(1)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Conv2D(16, 5, strides=3, activation="relu")(keras.layers.Rescaling(1 / 64, -1.0)(image))
    x = keras.layers.GlobalAveragePooling2D(name="pooled_features")(x)
    x = keras.layers.Dense(len(NAMES), kernel_initializer="random_normal", name="head")(keras.ops.multiply(x, 40.0))
    model = keras.Model(image, keras.layers.Activation("softmax", name="probabilities")(x))
    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    model.save(folder / run.MODEL)
    run.write_labels(folder, NAMES)
    run.write_json(folder / run.TRANSFORM, Transform(SIZE, SIZE + 4).to_dict())
    run.write_json(folder / run.METRICS, {"calibration": {"temperature": 2.5}})
    run.write_state(folder, "complete")
    return folder


@pytest.fixture(scope="module")
def classifier(folder: Path) -> Classifier:
    return load_run(folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventy pictures in two folders, with two files among them that are none."""
    root = tmp_path_factory.mktemp("data") / "pictures"
    rng = np.random.default_rng(0)
    for number, digit in enumerate(load_digits().images[:70]):
        place = root / ("a" if number < 40 else "b")
        place.mkdir(parents=True, exist_ok=True)
        size = tuple(int(side) for side in rng.integers(20, 60, 2))
        coloured = (digit[:, :, None] * rng.uniform(5, 15.9, 3)).astype("uint8")
        Image.fromarray(coloured).resize(size).save(place / f"{number:03d}.png")
    (root / "a" / "020b.jpg").write_bytes(b"no picture")
    (root / "b" / "065b.png").write_bytes(b"")
    (root / ".DS_Store").write_bytes(b"x")
    return root


def all_files(pictures: Path) -> list[Path]:
    return sorted(path for path in pictures.rglob("*") if path.is_file() and not path.name.startswith("."))


def same(first: list[Prediction], second: list[Prediction]) -> bool:
    """Tells whether predictions are equal in all but the names of their pictures, to the last bit."""
    return [(one.classes, one.problem) for one in first] == [(one.classes, one.problem) for one in second]


@pytest.fixture(scope="module")
def expected(classifier: Classifier, pictures: Path) -> list[Prediction]:
    """Predictions of all files, named one by one."""
    return list(predict(classifier, all_files(pictures), top=len(NAMES)))


def test_predictions_are_those_of_evaluation(
    classifier: Classifier, pictures: Path, expected: list[Prediction]
) -> None:
    readable = [one for one in expected if not one.problem]
    pixels = np.stack([classifier.transform(Path(one.path).read_bytes()) for one in readable])
    own = predict_in_order(classifier.model, (pixels, np.zeros(len(pixels))))[0]
    assert len(readable) == 70
    assert own.std() > 0.1
    for one, probabilities in zip(readable, own, strict=True):
        given = {ranked.class_index: np.float32(ranked.probability) for ranked in one.classes}
        assert [given[index] for index in range(len(NAMES))] == list(probabilities)
        assert one.classes == tuple(sorted(one.classes, key=lambda ranked: -ranked.probability))


def test_order_is_kept_and_unreadable_files_are_rows(pictures: Path, expected: list[Prediction]) -> None:
    assert [one.path for one in expected] == [str(path) for path in all_files(pictures)]
    problems = {Path(one.path).name: one.problem for one in expected if one.problem}
    assert set(problems) == {"020b.jpg", "065b.png"}
    assert all(problems.values())


def test_folders_patterns_and_archives(
    classifier: Classifier, pictures: Path, expected: list[Prediction], tmp_path: Path
) -> None:
    archive = tmp_path / "pictures.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in all_files(pictures):
            file.write(path, path.relative_to(pictures))
        file.writestr("../escaped.png", b"x")
    assert same(list(predict(classifier, [pictures], top=4)), expected)
    assert same(list(predict(classifier, [str(pictures / "*" / "*.*")], top=4)), expected)
    *inside, escaped = predict(classifier, [archive], top=4)
    assert same(inside, expected)
    assert inside[0].path == f"{archive}/a/000.png"
    assert "leads out of the archive" in escaped.problem


def test_tables_lists_and_standard_input(
    classifier: Classifier, pictures: Path, expected: list[Prediction], tmp_path: Path
) -> None:
    names = [str(path.relative_to(pictures)) for path in all_files(pictures)]
    text = io.StringIO()
    csv.writer(text).writerows([["label", "file"], *([f"x,{name}", name] for name in names)])
    (pictures / ".list.csv").write_text(text.getvalue(), encoding="utf-8-sig")
    (pictures / ".list.txt").write_text("\r\n".join(names) + "\n")
    for listed in (".list.csv", ".list.txt"):
        found = list(predict(classifier, [pictures / listed], top=4))
        assert same(found, expected)
        assert found[0].path == names[0]
    for separator in ("\n", "\0"):
        given = separator.join(str(path) for path in all_files(pictures)).encode()
        assert [one.name for one in find_pictures(["-"], given)] == [one.path for one in expected]
    missing = find_pictures(["-"], b"nowhere.png\n")
    with pytest.raises(OSError, match="No such file"):
        missing[0].read()


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("none.csv", "label\nx\n", "column of paths"),
        ("empty.csv", "", "no rows"),
        ("bad.zip", "no archive", "damaged"),
        ("empty.txt", "\n", "at least one picture"),
    ],
)
def test_lists_that_name_nothing(name: str, content: str, part: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=part):
        find_pictures([tmp_path / name])


def test_what_is_not_there(tmp_path: Path) -> None:
    for given in ("nowhere.jpg", "nowhere/*.jpg"):
        with pytest.raises(InputError, match="nowhere"):
            find_pictures([given])
    with pytest.raises(InputError, match="no file in it"):
        find_pictures([tmp_path])


def test_names_that_are_no_text(classifier: Classifier, pictures: Path, tmp_path: Path) -> None:
    name = b"caf\xe9.png"
    try:
        (tmp_path / name.decode("utf-8", "surrogateescape")).write_bytes((pictures / "a" / "000.png").read_bytes())
    except OSError:
        pytest.skip("This file system takes no such names.")
    [one] = predict(classifier, [tmp_path])
    one.path.encode("utf-8")
    assert one.problem == "a name that is not valid Unicode"


def test_top_threshold_and_calibration(classifier: Classifier, pictures: Path, expected: list[Prediction]) -> None:
    paths = [pictures / "a" / f"{number:03d}.png" for number in range(20)]
    assert {len(one.classes) for one in predict(classifier, paths, top=2)} == {2}
    sure = list(predict(classifier, paths, top=4, threshold=0.6))
    assert {len(one.classes) for one in sure} == {0, 1}
    assert not any(one.problem for one in sure)
    raw, calibrated = (
        np.array(
            [[ranked.probability for ranked in one.classes] for one in predict(classifier, paths, top=4, **options)]
        )
        for options in ({}, {"calibrated": True})
    )
    assert np.abs(apply_temperature(raw, 2.5) - calibrated).max() < 1e-6
    for options, part in (({"top": 0}, "top"), ({"threshold": 2.0}, "threshold")):
        with pytest.raises(InputError, match=part):
            predict(classifier, paths, **options)
    bare = Classifier(classifier.model, classifier.class_names, classifier.transform)
    with pytest.raises(InputError, match="temperature"):
        predict(bare, paths, calibrated=True)


def test_features_are_what_the_head_sees(classifier: Classifier, pictures: Path, expected: list[Prediction]) -> None:
    with_features = list(predict(classifier, [pictures], top=4, features=True))
    assert same(with_features, expected)
    prefix = keras.Model(classifier.model.input, classifier.model.get_layer("pooled_features").output)
    for one in with_features[:3]:
        pixels = classifier.transform(Path(one.path).read_bytes())[None].astype("float32")
        assert one.features == pytest.approx(prefix.predict(pixels, verbose=0)[0], abs=1e-5)
    assert all((one.features is None) == bool(one.problem) for one in with_features)


def test_progress_counts_every_picture(classifier: Classifier, pictures: Path) -> None:
    told: list[tuple[int, int]] = []
    found = list(predict(classifier, [pictures], on_progress=lambda done, total: told.append((done, total))))
    assert told[-1] == (len(found), len(found))
    assert told == sorted(told)


# --- the verb ---


def tell(folder: Path, paths: list[Path], wanted: Wanted | None = None, **telling: object) -> None:
    """Runs the verb on a run."""
    how = Telling(**telling)  # type: ignore[arg-type]
    names = [str(path) for path in paths]
    predict_and_tell(str(folder), names, imagenet=None, weights="imagenet", wanted=wanted or Wanted(3), telling=how)


def test_rows_go_to_standard_output_and_nothing_else(folder: Path, pictures: Path, capsys: Captured) -> None:
    tell(folder, [pictures], format="csv")
    printed = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert len(rows) == 72
    assert not any(cell.startswith("=") for row in rows for cell in row.values())
    tell(folder, [pictures], format="jsonl")
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for row, entry in zip(rows, entries, strict=True):
        assert run.plain_cell(row["path"]) == entry["path"]
        if entry["classes"]:
            assert run.plain_cell(row["class_1"]) == entry["classes"][0]["class_name"]
            assert float(row["probability_1"]) == pytest.approx(entry["classes"][0]["probability"], abs=1e-6)


def test_a_table_tells_what_is_too_unsure(folder: Path, pictures: Path, capsys: Captured) -> None:
    tell(folder, [pictures / "a"], Wanted(2, threshold=0.6), format="table")
    printed = capsys.readouterr().out
    assert "(no class is probable enough)" in printed
    assert "020b.jpg" in printed


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_file_is_taken_up_where_it_ended(folder: Path, pictures: Path, ending: str, tmp_path: Path) -> None:
    whole, part = tmp_path / f"whole.{ending}", tmp_path / f"part.{ending}"
    tell(folder, [pictures], output=whole)
    lines = whole.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[:30]) + lines[30][:15])  # Ended in the middle of a row.
    tell(folder, [pictures], output=part)
    assert part.read_bytes() == whole.read_bytes()
    changed = part.stat().st_mtime_ns
    tell(folder, [pictures], output=part)  # Nothing is left to do.
    assert part.stat().st_mtime_ns == changed


def test_a_picture_named_twice_has_two_rows(folder: Path, pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    picture = pictures / "a" / "001.png"
    tell(folder, [picture, picture], output=output)
    whole = output.read_bytes()
    assert whole.count(b"\n") == 2
    output.write_bytes(whole.splitlines(keepends=True)[0])
    tell(folder, [picture, picture], output=output)
    assert output.read_bytes() == whole


def test_rows_of_another_model_are_not_mixed_in(folder: Path, pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    paths = [pictures / "a"]
    tell(folder, paths[:1], output=output)
    before = output.read_bytes()
    for wanted, part in ((Wanted(3, calibrated=True), "another prediction"), (Wanted(2), "another header")):
        with pytest.raises(InputError, match=part):
            tell(folder, [*paths, pictures / "b"], wanted, output=output)
        with pytest.raises(InputError, match=part):
            tell(folder, paths, wanted, output=output)  # Though all of it is there.
        with pytest.raises(InputError, match=part):
            tell(folder, [pictures / "b"], wanted, output=output)  # Though none of it is asked for.
    assert output.read_bytes() == before
    (tmp_path / "notes.csv").write_text("my own notes\n")
    with pytest.raises(InputError, match=r"notes\.csv"):
        tell(folder, paths, output=tmp_path / "notes.csv")
    assert (tmp_path / "notes.csv").read_text() == "my own notes\n"


def test_what_is_left_may_be_unreadable(folder: Path, pictures: Path, tmp_path: Path, capsys: Captured) -> None:
    output, broken = tmp_path / "rows.csv", tmp_path / "broken.jpg"
    broken.write_bytes(b"")
    good = tmp_path / "good.png"
    good.write_bytes((pictures / "a" / "001.png").read_bytes())
    tell(folder, [good], output=output)
    tell(folder, [good, broken], output=output)
    assert len(output.read_text().splitlines()) == 3
    good.unlink()
    tell(folder, [pictures / "a" / "001.png"], output=output)
    assert "was not checked" in capsys.readouterr().err


def test_embeddings_have_the_rows_of_the_output(folder: Path, pictures: Path, tmp_path: Path) -> None:
    output, embed = tmp_path / "rows.csv", tmp_path / "features.npy"
    tell(folder, [pictures / "a" / "020b.jpg", pictures / "a"], Wanted(1, features=True), output=output, embed=embed)
    features = np.load(embed)
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert features.shape == (len(rows), 16)
    assert features.dtype == np.float32
    assert [bool(np.isnan(row).all()) for row in features] == [bool(row["problem"]) for row in rows]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.npy", "rows.csv"]
    with pytest.raises(InputError, match="new --output"):
        tell(folder, [pictures], Wanted(1, features=True), output=output, embed=embed)


def test_an_embedding_that_fails_leaves_no_file(folder: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one picture that can be read"):
        tell(folder, [pictures / "b" / "065b.png"], Wanted(1, features=True), embed=tmp_path / "features.npy")
    assert list(tmp_path.iterdir()) == []


def test_standard_input_of_the_verb(
    folder: Path, pictures: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = io.TextIOWrapper(io.BytesIO(f"{pictures / 'a' / '001.png'}\nnowhere.png\n".encode()))
    monkeypatch.setattr(sys, "stdin", given)
    tell(folder, [Path("-")], format="jsonl")
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["classes"]
    assert second["problem"] == "No such file or directory"


@pytest.mark.parametrize(
    ("telling", "part"),
    [
        ({"format": "xml"}, "table, csv, jsonl"),
        ({"output": Path("rows.txt")}, "csv, jsonl"),
        ({"output": Path("nowhere/rows.csv")}, "a folder that exists"),
        ({"embed": Path("features.csv")}, "ending in .npy"),
    ],
)
def test_mistakes_in_how_to_tell(folder: Path, pictures: Path, telling: dict, part: str) -> None:
    with pytest.raises(InputError, match=part):
        tell(folder, [pictures / "a" / "001.png"], **telling)


# --- model files ---


def test_a_lambda_is_refused(tmp_path: Path) -> None:
    image = keras.Input((8, 8, 3))
    keras.Model(image, keras.layers.Lambda(lambda x: x * 2)(image)).save(tmp_path / "model.keras")
    with pytest.raises(InputError, match="a Lambda, which would run code") as caught:
        load_model_file(tmp_path / "model.keras")
    assert "\n" not in str(caught.value)


def test_a_foreign_layer_is_refused_by_name(tmp_path: Path) -> None:
    class Doubling(keras.layers.Layer):
        """A layer that only its author has."""

        def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
            return 2 * x

    image = keras.Input((8, 8, 3))
    keras.Model(image, Doubling()(image)).save(tmp_path / "model.keras")
    with pytest.raises(InputError, match="not Keras's own, Doubling"):
        load_model_file(tmp_path / "model.keras")


def test_a_damaged_file_is_refused(folder: Path, tmp_path: Path) -> None:
    data = (folder / run.MODEL).read_bytes()
    (tmp_path / "model.keras").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"Expected a model.*model\.keras"):
        load_model_file(tmp_path / "model.keras")


def test_a_run_whose_labels_do_not_fit(folder: Path, tmp_path: Path) -> None:
    for name in (run.MODEL, run.TRANSFORM, run.STATE):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    run.write_labels(tmp_path, NAMES[:2])
    with pytest.raises(InputError, match="4"):
        load_run(tmp_path)
