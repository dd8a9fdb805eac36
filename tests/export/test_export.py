"""Exports of a run: the same answers in every format's own runtime, whole or not there at all."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from tlkit import run
from tlkit.data.transform import Transform
from tlkit.errors import InputError
from tlkit.export import Exports, ParityError, export_run
from tlkit.export.formats import FORMATS
from tlkit.exporting import export
from tlkit.prediction import load_run, predict

ALL = list(FORMATS)

MakeRun = Callable[[Path, keras.Model, Transform], Path]


def copy_run(source: Path, folder: Path) -> Path:
    """Copies a run without its exports."""
    return shutil.copytree(source, folder / "run", ignore=shutil.ignore_patterns("export"))


@pytest.fixture(scope="module")
def exported(small_run: Path) -> Exports:
    """The small run in every format, float32, resized input."""
    return export_run(small_run, ALL)


@pytest.fixture(scope="module")
def exported_raw(small_run: Path) -> Exports:
    """The small run in every format with raw input and its temperature."""
    return export_run(small_run, ALL, input_kind="raw", temperature=True)


def test_float32_gives_the_models_own_answers(exported: Exports) -> None:
    assert [one.format for one in exported.made] == ALL
    for one in exported.made:
        assert one.agreement.top1_agreement == 1, one.name
        assert one.agreement.max_difference <= 1e-4, one.name
        assert one.agreement.accuracy == exported.original.agreement.accuracy > 0.6
        assert one.bytes > 10_000
        assert set(one.milliseconds) == {1, 32}
    assert exported.dropped == ()


def test_raw_input_gives_the_answers_of_the_same_graph(exported_raw: Exports) -> None:
    for one in exported_raw.made:
        assert one.agreement.top1_agreement == 1, one.name
        assert one.agreement.max_difference <= 1e-4, one.name
        assert one.temperature == 1.7
        assert one.store_agreement is not None
        assert one.store_agreement >= 0.9


def test_the_temperature_is_in_the_graph(small_run: Path, exported_raw: Exports) -> None:
    model = keras.saving.load_model(exported_raw.folder / "keras-raw-calibrated" / "model.keras")
    names = [layer.name for layer in model._flatten_layers()]
    assert "temperature" in names
    assert "tlkit" not in json.dumps(model.get_config(), default=str)


def test_every_export_is_complete(exported: Exports, small_run: Path) -> None:
    for one in exported.made:
        folder = exported.folder / one.name
        assert (folder / FORMATS[one.format].file).exists()
        assert run.read_labels(folder) == run.read_labels(small_run)
        assert (folder / run.TRANSFORM).read_bytes() == (small_run / run.TRANSFORM).read_bytes()
    assert not [path for path in exported.folder.iterdir() if path.name.startswith(".")]


def test_parity_is_on_file(exported: Exports, exported_raw: Exports) -> None:
    found = json.loads((exported.folder / "parity.json").read_text())
    names = [entry["name"] for entry in found["exports"]]
    assert set(names) >= {*ALL, *(f"{name}-raw-calibrated" for name in ALL)}
    assert len(names) == len(set(names))
    assert found["images"]["split"] == "validation"
    assert found["images"]["compared"] == exported.images == found["images"]["of"]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["", "-raw-calibrated"])
def test_the_example_beside_it_works(
    name: str,
    kind: str,
    exported: Exports,
    exported_raw: Exports,
    small_run: Path,
    pictures: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = str(pictures / "zwei" / "01.png")
    script = exported.folder / f"{name}{kind}" / "example.py"
    monkeypatch.setattr(sys, "argv", [str(script), picture])
    runpy.run_path(str(script))
    label, probability = capfd.readouterr().out.split()[-2:]
    [prediction] = predict(load_run(small_run), [picture], calibrated=bool(kind))
    assert label == prediction.classes[0].class_name
    assert float(probability) == pytest.approx(prediction.classes[0].probability, abs=5e-3)
    code = [line for line in script.read_text().splitlines() if line and not line.startswith(("import", "from", '"""'))]
    assert len(code) <= 12


@pytest.mark.parametrize(("geometry", "store"), [("pad", 40), ("squash", 32)])
def test_the_example_resizes_as_the_run_did(
    geometry: str,
    store: int,
    make_run,
    pictures: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = keras.models.load_model(make_small(tmp_path))
    folder = make_run(tmp_path / "run", model, Transform(32, store, geometry))
    made = export_run(folder, ["keras"])
    picture = str(pictures / "eins" / "02.png")
    monkeypatch.setattr(sys, "argv", ["example.py", picture])
    runpy.run_path(str(made.folder / "keras" / "example.py"))
    [prediction] = predict(load_run(folder), [picture])
    assert float(capfd.readouterr().out.split()[-1]) == pytest.approx(prediction.classes[0].probability, abs=1e-3)


def make_small(folder: Path) -> Path:
    """Saves a network of another seed."""
    keras.utils.set_random_seed(3)
    image = keras.Input((32, 32, 3), name="image")
    x = keras.layers.Conv2D(24, 5, strides=4, activation="relu", name="conv")(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.GlobalAveragePooling2D(name="pooled_features")(x)
    x = keras.layers.Activation("softmax", name="probabilities")(keras.layers.Dense(3, name="head")(x))
    keras.Model(image, x, name="other").save(folder / "other.keras")
    return folder / "other.keras"


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_reduced_precision_is_smaller_and_states_its_loss(precision: str, exported: Exports, small_run: Path) -> None:
    made = export_run(small_run, ["litert", "onnx", "openvino"], precision=precision, max_drop=1.0)
    for one in made.made:
        whole = next(other for other in exported.made if other.format == one.format)
        assert one.name == f"{one.format}-{precision}"
        assert one.bytes < whole.bytes
        assert 0 < one.agreement.max_difference < 0.5
        assert one.agreement.top1_agreement > 0.8
    assert made.dropped == ()


def test_past_max_drop_is_told(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy_run(small_run, tmp_path)
    model = keras.models.load_model(folder / run.MODEL)
    norm, head = model.get_layer("block2_norm"), model.get_layer("head")
    scale = np.where(np.arange(64) == 0, 1, 1e-4)  # One channel drowns the others in 8 bits.
    gamma, beta, *statistics = norm.get_weights()
    norm.set_weights([gamma * scale, beta * scale, *statistics])
    kernel, bias = head.get_weights()
    head.set_weights([kernel / scale[:, None], bias])
    model.save(folder / run.MODEL)
    options = {"precision": "int8", "input_kind": "resized", "temperature": False}
    assert export(folder, "litert", **options, max_drop=0.0) is True
    printed = capsys.readouterr().out
    assert "litert-int8 loses" in printed
    assert "more than the 0.00%" in printed
    assert export(folder, "litert", **options, max_drop=1.0) is False


def test_an_unlike_float32_export_fails_and_leaves_nothing(small_run: Path, tmp_path: Path) -> None:
    folder = copy_run(small_run, tmp_path)
    model = keras.models.load_model(folder / run.MODEL)
    model.get_layer("block2_relu").max_value = None
    norm, head = model.get_layer("block2_norm"), model.get_layer("head")
    gamma, beta, *statistics = norm.get_weights()
    norm.set_weights([gamma, beta + 1e5, *statistics])  # Leaves float32 few digits for what matters.
    kernel, bias = head.get_weights()
    head.set_weights([kernel, bias - 1e5 * kernel.sum(axis=0)])
    model.save(folder / run.MODEL)
    with pytest.raises(ParityError, match="largest difference"):
        export_run(folder, ["onnx"])
    assert not (folder / "export").exists()


@pytest.mark.parametrize("name", ["litert", "onnx", "openvino"])
def test_a_model_that_a_format_cannot_hold(name: str, small_run: Path, tmp_path: Path) -> None:
    folder = copy_run(small_run, tmp_path)
    model = keras.models.load_model(folder / run.MODEL)
    image = keras.Input((32, 32, 3), name="image")
    shrunk = keras.layers.Resizing(32, 32, antialias=True, name="shrink_pictures")(keras.layers.ZeroPadding2D(2)(image))
    keras.Model(image, model(shrunk)).save(folder / run.MODEL)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(InputError) as caught:
        export_run(folder, [name])
    message = str(caught.value)
    assert "Resizing 'shrink_pictures'" in message
    assert "ScaleAndTranslate" in message
    assert "\n" not in message
    assert sorted(path.name for path in folder.iterdir()) == before


def test_an_export_replaces_the_one_before(small_run: Path, exported: Exports) -> None:
    stray = exported.folder / "keras" / "stray.txt"
    stray.write_text("of an older export")
    export_run(small_run, ["keras"])
    assert not stray.exists()
    assert (exported.folder / "keras" / "model.keras").exists()


@pytest.mark.parametrize(
    ("formats", "options", "parts"),
    [
        (["onxx"], {}, ["Did you mean 'onnx'?"]),
        ([], {}, ["at least one format"]),
        (["onnx"], {"precision": "bfloat16"}, ["float32 or float16 or int8", "ONNX Runtime does not load"]),
        (["savedmodel"], {"precision": "int8"}, ["float32", "savedmodel"]),
        (["litert"], {"precision": "int8", "input_kind": "raw"}, ["float32 or float16", "resized"]),
        (["onnx"], {"input_kind": "rw"}, ["'raw'"]),
        (["onnx"], {"max_drop": 2.0}, ["max_drop"]),
    ],
)
def test_mistakes_are_told_in_one_line(small_run: Path, formats: list[str], options: dict, parts: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        export_run(small_run, formats, **options)
    assert "\n" not in str(caught.value)
    assert all(part in str(caught.value) for part in parts)


def test_a_missing_package_names_the_command(small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(InputError, match=r"tf2onnx.*pip install 'tlkit\[export\]'"):
        export_run(small_run, ["onnx"])


def test_no_room_is_told_before_anything_is_written(small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 1000))
    with pytest.raises(InputError, match="MB of room"):
        export_run(small_run, ["keras"])


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run folder"):
        export_run(tmp_path, ["keras"])


def test_pictures_that_are_gone(small_run: Path, tmp_path: Path) -> None:
    folder = copy_run(small_run, tmp_path)
    config = (folder / run.CONFIG).read_text()
    (folder / run.CONFIG).write_text(config.replace("pictures", "elsewhere"))
    with pytest.raises(InputError, match="pictures of the run"):
        export_run(folder, ["keras"])


def test_a_model_of_mixed_precision_is_exported_in_float32(make_run: MakeRun, tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        path = make_small(tmp_path)
    finally:
        keras.config.set_dtype_policy("float32")
    folder = make_run(tmp_path / "run", keras.models.load_model(path), Transform(32, 32))
    made = export_run(folder, ["onnx"])
    assert made.made[0].agreement.max_difference <= 1e-4
    assert any("mixed precision" in note for note in made.notes)
