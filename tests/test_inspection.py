"""`tlkit inspect`: a backbone, a saved model or a run; as a table, JSON or a page; with data and without."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tlkit import run
from tlkit.errors import InputError
from tlkit.inspection import examine, gather, inspect
from tlkit.inspection.examining import sample
from tlkit.inspection.outputs import count, sees


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small nested classifier of 16 x 16 grey pictures in ten classes."""
    keras.utils.set_random_seed(0)
    body = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, activation="relu", padding="same", name="first"),
            layers.MaxPooling2D(name="pool"),
            layers.Conv2D(12, 3, activation="relu", name="second"),
        ],
        name="body",
    )
    inputs = keras.Input((16, 16, 1), name="image")
    x = layers.GlobalAveragePooling2D(name="mean")(body(inputs))
    model = keras.Model(inputs, layers.Dense(10, activation="softmax", name="head")(x), name="small")
    path = tmp_path_factory.mktemp("saved") / "small.keras"
    model.save(path)
    return path


def test_a_backbone_as_a_table(capsys: pytest.CaptureFixture) -> None:
    inspect("vgg16", image_size=64)
    printed = capsys.readouterr().out
    assert "vgg16: 64 x 64 x 3" in printed
    row = next(line.split() for line in printed.splitlines() if "block5_pool" in line)
    assert row[-2:] == ["212", "px"]
    assert "14,714,688 parameters" in printed
    assert "a multiply-add counts 2" in printed


def test_stages_of_a_backbone_are_the_registered_ones() -> None:
    inspection = examine("EfficientNet_Lite0", image_size=64)
    facts = gather(inspection)
    assert [stage["name"] for stage in facts["stages"]][:2] == ["stem", "block1"]
    assert facts["stages"][-1]["name"] == "top"
    assert facts["totals"]["parameters"] == sum(stage["parameters"] for stage in facts["stages"])
    assert facts["measured"] is None


def test_a_nested_file_as_json(saved: Path, capsys: pytest.CaptureFixture) -> None:
    inspect(saved, output_format="json")
    facts = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in facts["layers"]}
    assert rows["body/second"]["field"] == {
        "size": [8, 8], "stride": [2.0, 2.0], "start": [-1, -1], "centre": [2.5, 2.5], "whole": "", "unknown": "",
    }  # fmt: skip
    assert rows["body/first"]["multiply_adds"] == 16 * 16 * 9 * 8
    assert rows["head"]["field"]["whole"] == "mean"
    assert facts["input_shape"] == [16, 16, 1]


@pytest.fixture(scope="module")
def measured(saved: Path) -> dict:
    return gather(examine(saved, data="builtin:digits", layer="first", channel=2))


def test_measurements_are_told_as_numbers(measured: dict) -> None:
    found = measured["measured"]
    assert measured["data"] == {"source": "builtin:digits", "pictures": 1797}
    assert found["pictures"] == 512
    assert measured["notes"] == []
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured
    assert found["strongest"][0]["layer"] == "body/first"
    assert found["strongest"][0]["channel"] == 2
    assert len(found["labels"]) == 512
    assert abs(found["labels"].count("0") - 51.2) < 2
    assert found["gradients"]["verdict"]["kind"] == "healthy"
    assert set(found["neighbours"]["agreement"]) == {"pixels", *found["layers"]}


def test_every_format_to_a_file(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for ending, start in (("html", "<!doctype html>"), ("json", "{"), ("txt", "small.keras: 16 x 16 x 1")):
        path = tmp_path / f"inspection.{ending}"
        inspect(saved, output=path)
        assert path.read_text(encoding="utf-8").startswith(start)
        assert str(path) in capsys.readouterr().out
    inspect(saved, output=tmp_path / "page.txt", output_format="html")
    assert (tmp_path / "page.txt").read_text(encoding="utf-8").startswith("<!doctype html>")
    lines = (tmp_path / "inspection.txt").read_text(encoding="utf-8").splitlines()
    assert lines[1].split() == [
        "Stage",
        "Layer",
        "Kind",
        "Output",
        "Parameters",
        "Mult-adds",
        "FLOPs",
        "Memory",
        "Sees",
        "Cut",
    ]


def test_tables_of_measurements(saved: Path, tmp_path: Path) -> None:
    inspect(saved, output=tmp_path / "inspection.txt", data="builtin:digits")
    text = (tmp_path / "inspection.txt").read_text(encoding="utf-8")
    for title in ("nearest pictures", "Does a map move along?", "Does an answer stay?", "truly sees", "Gradients of"):
        assert title in text
    assert "Measured on 512 of 1,797 pictures." in text


def test_a_run_folder(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / run.MODEL).write_bytes(saved.read_bytes())
    run.write_labels(folder, tuple("abcdefghij"))
    run.write_state(folder, "complete")
    inspection = examine(folder, data="builtin:digits")
    assert inspection.name == "demo"
    assert "other classes" in inspection.notes[0]


def test_models_with_two_inputs_give_a_table_and_a_note(tmp_path: Path) -> None:
    image, age = keras.Input((16, 16, 3), name="image"), keras.Input((1,), name="age")
    x = layers.Concatenate()([layers.Flatten()(layers.Conv2D(2, 3)(image)), age])
    keras.Model([image, age], layers.Dense(2)(x)).save(tmp_path / "two.keras")
    inspection = examine(tmp_path / "two.keras", data="builtin:digits")
    assert inspection.table.totals.parameters == 56 + (14 * 14 * 2 + 1) * 2 + 2
    assert any("2 inputs" in note for note in inspection.notes)
    assert any("Nothing is measured" in note for note in inspection.notes)
    assert inspection.measurements is None


def test_open_sizes_take_the_size_asked_for(tmp_path: Path) -> None:
    inputs = keras.Input((None, None, 3))
    keras.Model(inputs, layers.Conv2D(2, 3, padding="same")(inputs)).save(tmp_path / "open.keras")
    assert examine(tmp_path / "open.keras", image_size=10).table.totals.multiply_adds == 100 * 54
    assert examine(tmp_path / "open.keras").image_size == 224


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"target": "resnet5"}, "Did you mean 'resnet50'"),
        ({"target": "nothing.keras"}, "does not exist"),
        ({"target": "vgg16", "output_format": "htm"}, "Did you mean 'html'"),
        ({"target": "vgg16", "output_format": "html"}, "--output inspection.html"),
        ({"target": "vgg16", "output": "/nowhere/page.html"}, "does not exist"),
        ({"target": "vgg16", "image_size": 8}, "32"),
        ({"target": "vgg16", "image_size": 32, "layer": "block5_pol"}, "Did you mean 'block5_pool'"),
    ],
)
def test_mistakes_are_told(arguments: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        inspect(**arguments)


def test_mistakes_with_files_and_data(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="image size of 16"):
        examine(saved, image_size=32)
    with pytest.raises(InputError, match="The nearest is 7"):
        examine(saved, data="builtin:digits", layer="first", channel=151)
    with pytest.raises(InputError, match="Did you mean 'digits'"):
        examine(saved, data="builtin:digit")
    with pytest.raises(InputError, match="a folder"):
        inspect(saved, output=tmp_path)
    broken = tmp_path / "broken.keras"
    broken.write_bytes(b"no archive")
    with pytest.raises(InputError, match="loads without code"):
        examine(broken)


def test_samples_are_even_over_classes() -> None:
    labels = np.array([0] * 90 + [1] * 8 + [2] * 2)
    chosen = labels[sample(labels, 12)]
    assert np.bincount(chosen).tolist() == [5, 5, 2]
    assert sorted(sample(labels, 200)) == list(range(100))


def test_figures_read_well() -> None:
    assert [count(value) for value in (0, 999, 15_470_264_320, 86_704_128, None)] == [
        "0",
        "999",
        "15.5 G",
        "86.7 M",
        "?",
    ]
    field = {"size": [212, 212], "whole": "", "unknown": ""}
    assert sees(field) == "212 px"
    assert sees(field | {"size": [3, 5], "whole": "gate"}) == "3 x 5 px + whole"
    assert sees(field | {"size": None, "whole": "pool"}) == "whole"
    assert sees(field | {"size": None, "unknown": "a reason"}) == "?"
