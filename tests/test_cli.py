"""The command line in this process: what it prints, what it leaves behind, how it ends."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from tlkit import run
from tlkit.cli import main
from tlkit.data.transform import Transform

Captured = pytest.CaptureFixture[str]


def make_images(folder: Path, classes: dict[str, int], per_class: int = 12) -> Path:
    """Writes digits as PNG files, one folder a class; `classes` gives the digit of each class name."""
    x, y = load_digits(return_X_y=True)
    for name, digit in classes.items():
        (folder / name).mkdir(parents=True)
        for number, pixels in enumerate(x[y == digit][:per_class]):
            picture = Image.fromarray((pixels.reshape(8, 8) * 15.9).astype("uint8")).resize((40, 40))
            picture.save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images whose class names are awkward everywhere: spaces, Unicode, quotes, a leading =; and one broken file."""
    folder = make_images(
        tmp_path_factory.mktemp("data") / "images",
        {"=SUM(1+1)": 0, 'a "quoted" name': 1, "猫 & <b>": 2, "naïve 'x'": 3},
    )
    (folder / "=SUM(1+1)" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no JPEG")
    (folder / ".DS_Store").write_bytes(b"x")
    return folder


@pytest.fixture(scope="module")
def finished(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on these images."""
    output = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["--data", str(hostile), "--image-size", "64", "--output", str(output), "--epochs", "2"]
    arguments += ["--record-gradients", "--tensorboard"]
    assert main(["finetune", "--backbone", "EfficientNet-Lite0", "--strategy", "frozen", *arguments]) == 0
    return output


def told(captured: Captured) -> str:
    """What was written to standard error: for a mistake, one line a problem and no traceback."""
    error = captured.readouterr().err
    assert "Traceback" not in error
    return error


def test_a_run_leaves_every_file(finished: Path) -> None:
    expected = {
        *(run.CONFIG, run.ENVIRONMENT, run.MANIFEST, run.LABELS, run.AUDIT, run.TRANSFORM, run.HISTORY, run.METRICS),
        *(run.PREDICTIONS, run.PROBABILITIES, run.THUMBNAILS, run.MODEL, run.REPORT, run.STATE, "report.md"),
    }
    assert expected <= {path.name for path in finished.iterdir()}
    assert json.loads((finished / run.STATE).read_text()) == {"status": "complete", "version": 1}


def test_awkward_class_names_survive(finished: Path) -> None:
    names = run.read_labels(finished)
    assert names == tuple(sorted(["=SUM(1+1)", 'a "quoted" name', "猫 & <b>", "naïve 'x'"]))
    for file in (run.PREDICTIONS, run.MANIFEST):
        with open(finished / file, encoding="utf-8", newline="") as opened:
            rows = list(csv.DictReader(opened))
        assert {run.plain_cell(row["label"]) for row in rows} == set(names)
        assert not any(cell.startswith(run.FORMULA_STARTS) for row in rows for cell in row.values())
    assert "<b>" not in (finished / run.REPORT).read_text(encoding="utf-8").split("</style>", 1)[1].replace(
        "&lt;b&gt;", ""
    )


def test_a_broken_image_is_set_aside_and_named(finished: Path) -> None:
    audit = json.loads((finished / run.AUDIT).read_text())
    assert [entry["item"] for entry in audit["set_aside"]] == ["=SUM(1+1)/broken.jpg"]
    assert "broken.jpg" in (finished / run.REPORT).read_text(encoding="utf-8")
    assert "broken.jpg" in (finished / "report.md").read_text(encoding="utf-8")


def test_what_was_asked_to_be_recorded_is_there(finished: Path) -> None:
    [flow] = json.loads((finished / "gradients.json").read_text())["phases"]
    assert len(flow["steps"]) == 2
    assert flow["layers"] == ["head"]
    assert "<h4>Gradients</h4>" in (finished / "report.html").read_text()
    written = [path.parent.name for path in (finished / "tensorboard").rglob("events*")]
    assert sorted(written) == ["train", "validation"]


def test_cost_of_every_step_is_kept(finished: Path) -> None:
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["seconds"].keys() == environment["peak_memory_bytes"].keys()
    peaks = list(environment["peak_memory_bytes"].values())
    assert 50e6 < peaks[0] <= peaks[-1]
    counted = environment["parameters"]
    assert 0 < counted["trainable"] < counted["total"]
    told = (finished / "report.html").read_text()
    assert "Peak memory so far" in told
    assert "were trained in the last phase" in told


def test_metrics_hold_no_times_and_no_paths(finished: Path, hostile: Path) -> None:
    text = (finished / run.METRICS).read_text()
    assert str(hostile) not in text
    assert "seconds" not in text


def test_history_has_the_probe_and_the_epochs(finished: Path) -> None:
    with open(finished / run.HISTORY, newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["phase"] for row in rows} == {"probe", "head"}
    assert len([row for row in rows if row["phase"] == "head"]) == 2
    assert sum(row["best"] == "True" for row in rows if row["phase"] == "probe") == 1


def test_a_run_is_remade_from_its_configuration(finished: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert main(["finetune", "--config", str(finished / run.CONFIG), "--output", str(again)]) == 0
    for name in (run.METRICS, run.PREDICTIONS, run.PROBABILITIES, run.MANIFEST, run.HISTORY, run.CONFIG):
        assert (again / name).read_bytes() == (finished / name).read_bytes(), name


def test_predict_gives_the_runs_own_predictions(finished: Path, hostile: Path, capsys: Captured) -> None:
    with open(finished / run.PREDICTIONS, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    paths = [str(hostile / run.plain_cell(row["item"])) for row in rows]
    capsys.readouterr()
    assert main(["predict", str(finished), *paths, "--format", "jsonl", "--top", "4"]) == 0
    predicted = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    own = np.load(finished / run.PROBABILITIES)
    assert [row["path"] for row in predicted] == paths
    for row, probabilities in zip(predicted, own, strict=True):
        given = {entry["class_index"]: entry["probability"] for entry in row["classes"]}
        assert [np.float32(given[index]) for index in range(4)] == list(probabilities)


@pytest.mark.parametrize("output_format", ["table", "csv"])
def test_predict_tells_what_it_cannot_read(finished: Path, hostile: Path, capsys: Captured, output_format: str) -> None:
    assert main(["predict", str(finished), str(hostile / "=SUM(1+1)"), "--format", output_format]) == 0
    printed = capsys.readouterr().out
    assert "broken.jpg" in printed
    assert printed.count(".png") == 12


def test_predict_csv_is_safe_in_a_spreadsheet(finished: Path, hostile: Path, capsys: Captured) -> None:
    capsys.readouterr()
    assert main(["predict", str(finished), str(hostile), "--format", "csv", "--top", "1"]) == 0
    rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert not any(cell.startswith("=") for row in rows for cell in row)
    assert len(rows) == 1 + 4 * 12 + 1


def test_predict_without_a_readable_picture_is_a_mistake(finished: Path, hostile: Path, capsys: Captured) -> None:
    assert main(["predict", str(finished), str(hostile / "=SUM(1+1)" / "broken.jpg")]) == 2
    assert "at least one picture" in told(capsys)


def test_clean_removes_a_run_and_nothing_else(tmp_path: Path, capsys: Captured) -> None:
    run.write_state(tmp_path, "complete")
    assert main(["clean", str(tmp_path), "--yes"]) == 0
    assert not tmp_path.exists()
    tmp_path.mkdir()
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["clean", str(tmp_path), "--yes"]) == 2
    assert (tmp_path / "mine.txt").exists()


def test_version_and_help(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tlkit 0.")
    assert main(["finetune", "--help"]) == 0
    assert "--backbone" in capsys.readouterr().out


def test_backbones_lists_facts(capsys: Captured) -> None:
    assert main(["backbones", "resnet50"]) == 0
    printed = capsys.readouterr().out
    assert "resnet50" in printed
    assert "23,587,712" in printed  # Parameters without the head, as Keras counts them.
    assert main(["backbones", "nothing*like*it"]) == 2


FINETUNE = ["finetune", "--backbone", "efficientnet_lite0"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([*FINETUNE], ["--data"]),
        ([*FINETUNE, "--data", "nowhere"], ["nowhere", "Expected"]),
        ([*FINETUNE, "--data", "builtin:digit"], ["digits"]),
        (["finetune", "--backbone", "resnet5", "--data", "builtin:digits"], ["Did you mean 'resnet50'?"]),
        ([*FINETUNE, "--data", "builtin:digits", "--strategy", "frozne"], ["Did you mean 'frozen'?"]),
        ([*FINETUNE, "--data", "builtin:digits", "--stratgy", "frozen"], ["--strategy"]),
        ([*FINETUNE, "--data", "builtin:digits", "--image-size", "8"], ["at least 32", "Received: 8"]),
        ([*FINETUNE, "--data", "builtin:digits", "--weights", "nofile.h5"], ["nofile.h5"]),
        ([*FINETUNE, "--data", "builtin:digits", "--train-from", "blok6"], ["Did you mean 'block6'?"]),
        ([*FINETUNE, "--data", "builtin:digits", "--train-from", "stem"], ["would train everything"]),
        ([*FINETUNE, "--data", "builtin:digits", "--strategy", "scratch"], ["--weights none", "strategy full"]),
        ([*FINETUNE, "--data", "builtin:digits", "--config", "none.toml"], ["none.toml"]),
        (["predict", "nowhere", "x.jpg"], ["x.jpg"]),
        (["nonsense"], ["nonsense"]),
    ],
)
def test_mistakes_are_told_in_one_line(
    arguments: list[str], parts: list[str], capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = told(capsys)
    assert len(error.splitlines()) == 1, error
    for part in parts:
        assert part in error
    assert list(tmp_path.iterdir()) == []


def test_all_mistakes_are_told_at_once(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--backbone", "resnet5", "--data", "nowhere", "--weights", "no.h5"]
    assert main(["finetune", *arguments]) == 2
    error = told(capsys)
    assert len(error.splitlines()) == 3
    assert all(part in error for part in ("resnet50", "nowhere", "no.h5"))


@pytest.mark.parametrize(
    ("classes", "per_class", "part"),
    [({}, 0, "class"), ({"only": 0}, 5, "class"), ({"a": 0, "b": 1}, 2, "at least 3")],
)
def test_folders_that_are_no_data_set(
    classes: dict[str, int], per_class: int, part: str, capsys: Captured, tmp_path: Path
) -> None:
    images = make_images(tmp_path / "images", classes, per_class)
    images.mkdir(exist_ok=True)
    assert main([*FINETUNE, "--data", str(images), "--output", str(tmp_path / "run")]) == 2
    error = told(capsys)
    assert len(error.splitlines()) == 1
    assert part in error
    assert not (tmp_path / "run").exists()


def test_all_unreadable_is_a_mistake(capsys: Captured, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "images" / name / f"{number}.jpg").write_bytes(b"not an image at all")
    assert main([*FINETUNE, "--data", str(tmp_path / "images"), "--output", str(tmp_path / "run")]) == 2
    assert len(told(capsys).splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_an_output_folder_with_a_run_is_left_alone(finished: Path, capsys: Captured) -> None:
    before = (finished / run.METRICS).read_bytes()
    assert main([*FINETUNE, "--data", "builtin:digits", "--output", str(finished)]) == 2
    assert "holds a run already" in told(capsys)
    assert (finished / run.METRICS).read_bytes() == before


def test_weights_none_is_asked_for_not_fallen_back_to(hostile: Path, tmp_path: Path) -> None:
    arguments = ["--data", str(hostile), "--image-size", "32", "--weights", "none", "--strategy", "frozen"]
    arguments += ["--output", str(tmp_path / "run")]
    assert main([*FINETUNE, *arguments]) == 0


WITHOUT_TLKIT = """
import sys
sys.modules["tlkit"] = None  # Any import of tlkit fails from here on.
import keras, numpy
model = keras.models.load_model(sys.argv[1])
pixels = numpy.load(sys.argv[2])
numpy.save(sys.argv[3], model.predict(pixels, batch_size=32, verbose=0))
"""


def test_the_model_loads_without_tlkit_and_gives_the_runs_predictions(
    finished: Path, hostile: Path, tmp_path: Path
) -> None:
    with open(finished / run.PREDICTIONS, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    transform = Transform.from_dict(json.loads((finished / run.TRANSFORM).read_text()))
    pixels = [transform((hostile / run.plain_cell(row["item"])).read_bytes()) for row in rows]
    np.save(tmp_path / "pixels.npy", np.stack(pixels).astype("float32"))
    files = [str(path) for path in (finished / run.MODEL, tmp_path / "pixels.npy", tmp_path / "out.npy")]
    subprocess.run([sys.executable, "-c", WITHOUT_TLKIT, *files], check=True, cwd=tmp_path, capture_output=True)
    own = np.load(finished / run.PROBABILITIES)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), own, atol=1e-6)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two photographs that scikit-learn ships."""
    folder = tmp_path_factory.mktemp("photographs")
    for name, pixels in zip(("china", "flower"), load_sample_images().images, strict=True):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def test_the_imagenet_head_names_real_photographs(photographs: Path, capsys: Captured) -> None:
    capsys.readouterr()
    assert (
        main(["predict", "--imagenet", "efficientnet_lite0", str(photographs), "--format", "jsonl", "--top", "5"]) == 0
    )
    china, flower = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert flower["classes"][0]["class_index"] == 985
    assert flower["classes"][0]["class_name"] == "daisy"
    named = {entry["class_name"] for entry in china["classes"]}
    assert named & {"palace", "monastery", "boathouse", "bell_cote", "stupa"}


def test_a_sensitivity_for_more_than_two_classes_is_told_at_once(
    hostile: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert main([*FINETUNE, "--data", str(hostile), "--sensitivity", "0.9", "--output", str(tmp_path / "run")]) == 2
    assert "two classes" in told(capsys)
    assert not (tmp_path / "run").exists()


def test_an_interruption_leaves_a_run_to_go_on_with(
    hostile: Path, finished: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    output = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr("tlkit.training.head.fit_head", interrupt)
        assert main(["finetune", "--config", str(finished / run.CONFIG), "--output", str(output)]) == 130
    assert f"tlkit finetune --resume {output}" in told(capsys)
    assert json.loads((output / run.STATE).read_text()) == {"status": "interrupted", "version": 1}
    assert main(["finetune", "--config", str(finished / run.CONFIG), "--output", str(output)]) == 2
    assert "--resume" in told(capsys)
    assert main(["report", str(output)]) == 2
    assert "--resume" in told(capsys)
    assert main(["finetune", "--resume", str(output)]) == 0
    for name in (run.METRICS, run.PREDICTIONS, run.MANIFEST, run.HISTORY, run.CONFIG):
        assert (output / name).read_bytes() == (finished / name).read_bytes(), name
    left = {path.name for path in output.iterdir()}
    assert left == {path.name for path in finished.iterdir()}


def test_a_lock_that_a_kill_left_behind_a_finished_run_goes(finished: Path, capsys: Captured) -> None:
    (finished / run.LOCK).write_text("process 1 on another host")
    assert main(["finetune", "--resume", str(finished)]) == 0
    assert "finished: nothing to do" in capsys.readouterr().out
    assert not (finished / run.LOCK).exists()


def test_a_finished_run_is_not_resumed_and_other_options_are_told(finished: Path, capsys: Captured) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert main(["finetune", "--resume", str(finished), "--epochs", "2", "--backbone", "EfficientNet-Lite0"]) == 0
    assert "finished: nothing to do" in capsys.readouterr().out
    assert main(["finetune", "--resume", str(finished), "--epochs", "3", "--ema", "0.9", "--seed", "0"]) == 2
    lines = told(capsys).splitlines()
    assert len(lines) == 2
    assert "epochs" in lines[0]
    assert "began: 2. Received: 3." in lines[0]
    assert "ema" in lines[1]
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_what_is_no_run_is_not_resumed(tmp_path: Path, capsys: Captured) -> None:
    assert main(["finetune", "--resume", str(tmp_path)]) == 2
    assert main(["finetune", "--resume", str(tmp_path / "none")]) == 2
    run.write_state(tmp_path, "running")
    assert main(["finetune", "--resume", str(tmp_path)]) == 2
    assert len(told(capsys).splitlines()) == 3


@pytest.mark.parametrize("output", ["/proc/none", "/dev/null/x"])
def test_an_output_folder_that_cannot_be_made_is_told_early(output: str, capsys: Captured) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("needs a folder that not even root can write to, such as /proc")
    assert main([*FINETUNE, "--data", "builtin:digits", "--output", output]) == 2
    assert len(told(capsys).splitlines()) == 1


def test_predict_imagenet_without_pictures_is_told(capsys: Captured) -> None:
    assert main(["predict", "--imagenet", "efficientnet_lite0"]) == 2
    assert "picture" in told(capsys)
