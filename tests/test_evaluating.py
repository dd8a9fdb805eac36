"""A run judged again: the same figures on its own images, honest ones on others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from PIL import Image
from sklearn.datasets import load_digits

from tlkit.config_files import load_config
from tlkit.errors import InputError
from tlkit.evaluating import evaluate_run
from tlkit.report import compare_runs
from tlkit.workflow import finetune

SIZE = 32
NAMES = {3: "three", 8: "eight"}


def draw(folder: Path, start: int, count: int, names: dict[int, str] = NAMES) -> Path:
    """Writes so many pictures of each class, beginning with the one numbered `start`."""
    digits = load_digits()
    for digit, name in names.items():
        (folder / name).mkdir(parents=True)
        for index in np.flatnonzero(digits.target == digit)[start : start + count]:
            image = Image.fromarray(np.rint(digits.images[index] * (255 / 16)).astype(np.uint8))
            image.resize((40, 40)).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run on threes and eights, and other threes and eights."""
    root = tmp_path_factory.mktemp("evaluating")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.MaxPooling2D()(layers.Conv2D(24, 5, strides=2, activation="relu")(x))
    keras.Model(inputs, layers.Conv2D(32, 3, activation="relu")(x)).save(root / "small.keras")
    draw(root / "images", 0, 60)
    draw(root / "others", 60, 40)
    given = {"data": str(root / "images"), "backbone": str(root / "small.keras"), "output": str(root / "run")}
    given["strategy"] = "frozen"
    finetune(load_config(None, given | {"image_size": str(SIZE), "test": "0.3", "sensitivity": "0.9"}))
    return root / "run", root / "others"


@pytest.fixture
def run(folders: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders[0], tmp_path / "run"))


@pytest.fixture
def others(folders: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders[1], tmp_path / "others"))


def files_of(run: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and not path.relative_to(run).parts[0].startswith("evaluation")
    }


def test_its_own_test_part_gives_the_very_figures_of_the_run(run: Path) -> None:
    before = files_of(run)
    found = evaluate_run(run)
    kept = json.loads((run / "metrics.json").read_text())
    assert found["test"] == kept["test"]
    assert found["baseline"] == kept["baseline"]
    assert found["calibration"]["temperature"] == kept["calibration"]["temperature"]
    assert found["calibration"]["test"] == kept["calibration"]["test"]
    assert found["screening"]["test"] == kept["screening"]["test"]
    assert found["notes"] == []
    assert Path(found["folder"]) == run / "evaluation-test"
    assert files_of(run) == before
    page = (run / "evaluation-test" / "report.html").read_text(encoding="utf-8")
    assert "Evaluation of a tlkit run" in page
    assert "run on its own test images" in page
    assert "were looked at once" not in page
    assert not (run / "evaluation-test" / "model_card.md").exists()


def test_other_images_are_judged_by_name_of_their_class(run: Path, others: Path) -> None:
    found = evaluate_run(run, str(others))
    assert found["test"]["num_images"] == 80
    assert found["test"]["accuracy"] > 0.8
    table = pd.read_csv(Path(found["folder"]) / "predictions.csv")
    assert set(table["split"]) == {"test"}
    assert (table["label"] == table["item"].str.split("/").str[0]).all()
    assert Path(found["folder"]).name == "evaluation-others"
    facts = json.loads((Path(found["folder"]) / "report.json").read_text())
    trained = json.loads((run / "report.json").read_text())["data"]["classes"]
    assert [row["train"] for row in facts["per_class"]] == [row["train"] for row in trained]
    assert facts["data"]["source"] == str(others)
    assert facts["asked"]["command"] == f"tlkit evaluate {run} --data {others}"


def test_one_class_alone_and_swapped_classes_show_in_the_figures(run: Path, others: Path) -> None:
    right = evaluate_run(run, str(others))["test"]["accuracy"]
    for name, other in (("three", "spare"), ("eight", "three"), ("spare", "eight")):
        (others / name).rename(others / other)
    assert evaluate_run(run, str(others))["test"]["accuracy"] == pytest.approx(1 - right)
    shutil.rmtree(others / "three")
    alone = evaluate_run(run, str(others))
    assert alone["test"]["num_images"] == 40
    assert alone["test"]["per_class"][1]["support"] == 0
    assert Path(alone["folder"]).name == "evaluation-others-3"


def test_images_that_the_run_has_seen_are_left_out_and_told(run: Path, others: Path) -> None:
    manifest = pd.read_csv(run / "manifest.csv")
    source = Path(json.loads((run / "report.json").read_text())["data"]["source"])
    for split in ("train", "validation", "test"):
        row = manifest[manifest["split"] == split].iloc[0]
        shutil.copyfile(source / row["item"], others / row["label"] / f"{split}.png")
    found = evaluate_run(run, str(others))
    assert found["test"]["num_images"] == 81
    assert found["notes"] == ["Left out: 2 images that the run was trained on or chosen by."]
    page = (Path(found["folder"]) / "report.html").read_text(encoding="utf-8")
    assert found["notes"][0] in page
    seen = others.parent / "seen"
    for item in manifest[manifest["split"] == "train"]["item"]:
        (seen / item).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / item, seen / item)
    with pytest.raises(InputError, match="that the run has not seen"):
        evaluate_run(run, str(seen))


def test_unknown_classes_are_refused_in_one_line_or_left_out(run: Path, others: Path) -> None:
    draw(others, 0, 5, {1: "one"})
    with pytest.raises(InputError, match=r"Received: 'one', which it does not\. Rename or remove") as caught:
        evaluate_run(run, str(others))
    assert "\n" not in str(caught.value)
    assert not list(run.glob("evaluation-*"))
    found = evaluate_run(run, str(others), leave_out_unknown=True)
    assert found["test"]["num_images"] == 80
    assert found["notes"] == ["Left out: 5 images of classes that the model has not ('one')."]


def test_broken_pictures_are_set_aside_and_a_given_test_part_is_taken(run: Path, others: Path) -> None:
    divided = others.parent / "divided"
    for part, count in (("train", 10), ("test", 6)):
        for name in NAMES.values():
            (divided / part / name).mkdir(parents=True)
            pictures = sorted((others / name).iterdir())
            for picture in pictures[:count] if part == "train" else pictures[-count:]:
                shutil.copyfile(picture, divided / part / name / picture.name)
    (divided / "test" / "three" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = evaluate_run(run, str(divided))
    assert found["test"]["num_images"] == 12
    assert found["notes"] == [
        "Set aside: 1 image that cannot be used; audit.json names them.",
        "Left out: 20 images outside the test part that the data came with.",
    ]


def test_a_wanted_sensitivity_sets_the_threshold_on_the_run_s_validation_images(run: Path, others: Path) -> None:
    found = evaluate_run(run, str(others), sensitivity=1.0)
    predictions = pd.read_csv(run / "predictions.csv")
    held = ((predictions["split"] == "validation") & (predictions["label"] == "three")).to_numpy()
    expected = np.load(run / "probabilities.npy")[held, 1].min()
    assert found["screening"]["wanted_sensitivity"] == 1.0
    assert found["screening"]["test"]["threshold"] == pytest.approx(expected, abs=1e-6)
    again = evaluate_run(run, str(others))
    assert again["screening"]["wanted_sensitivity"] == 0.9
    with pytest.raises(InputError, match="sensitivity above 0"):
        evaluate_run(run, str(others), sensitivity=1.5)


def test_changed_and_lost_images_are_told(run: Path, tmp_path: Path) -> None:
    source = Path(json.loads((run / "report.json").read_text())["data"]["source"])
    moved = Path(shutil.copytree(source, tmp_path / "images"))
    config = (run / "config.toml").read_text()
    (run / "config.toml").write_text(config.replace(str(source), str(moved)))
    items = pd.read_csv(run / "manifest.csv").query("split == 'test'")["item"].tolist()
    Image.new("RGB", (40, 40), "red").save(moved / items[0])
    (moved / items[1]).unlink()
    with pytest.raises(InputError, match="2 images changed or gone") as caught:
        evaluate_run(run)
    assert items[0] in str(caught.value)


def test_two_evaluations_on_the_same_images_can_be_compared(run: Path, others: Path, tmp_path: Path) -> None:
    first = evaluate_run(run, str(others), output=tmp_path / "first")
    second = evaluate_run(run, str(others), output=tmp_path / "second")
    comparison = compare_runs([first["folder"], second["folder"]])
    assert comparison.num_images == 80
    assert comparison.differences[0].accuracy == 0


@pytest.mark.parametrize("missing", ["model.keras", "metrics.json", "state.json"])
def test_what_is_no_run_is_told(run: Path, missing: str) -> None:
    (run / missing).unlink()
    with pytest.raises(InputError, match=missing.replace(".", r"\.")):
        evaluate_run(run)


def test_an_output_folder_in_use_is_refused_before_anything_is_done(run: Path, others: Path) -> None:
    with pytest.raises(InputError, match="holds other files"):
        evaluate_run(run, str(others), output=others)


def test_steps_are_shown_and_timed(run: Path, others: Path) -> None:
    from contextlib import contextmanager

    opened: list[str] = []

    @contextmanager
    def step(text: str, unit: str):
        opened.append(text)
        yield lambda done, total: opened.append(f"{unit} {done} of {total}")

    found = evaluate_run(run, str(others), step=step)
    assert "Predicting the images" in opened
    assert "batches 3 of 3" in opened
    environment = json.loads((Path(found["folder"]) / "environment.json").read_text())
    assert set(environment["seconds"]) == {one for one in opened if " of " not in one}
