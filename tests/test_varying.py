"""A run with augmentation: what it writes, what its report shows, and that it repeats."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import pytest
from keras import layers
from PIL import Image
from sklearn.datasets import load_digits

from tlkit import run
from tlkit.cli import main
from tlkit.config_files import load_config
from tlkit.workflow import finetune

SIZE = 32


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Forty pictures each of three digits, and a small network, as options."""
    root = tmp_path_factory.mktemp("varying")
    digits = load_digits()
    for number in (2, 3, 7):
        (root / "images" / str(number)).mkdir(parents=True)
        for index in (digits.target == number).nonzero()[0][:40]:
            image = Image.fromarray((digits.images[index] * 15.9).astype("uint8"))
            image.resize((40, 40)).save(root / "images" / str(number) / f"{index}.png")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(24, 5, strides=2, activation="relu")(layers.Rescaling(1 / 255)(inputs))
    keras.Model(inputs, layers.Conv2D(32, 3, strides=2, activation="relu")(x)).save(root / "small.keras")
    return {"data": str(root / "images"), "backbone": str(root / "small.keras"), "image_size": str(SIZE)}


def test_auto_decides_shows_and_measures(source: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    given = {"strategy": "frozen", "augment": "auto", "views": "2", "output": str(tmp_path / "run")}
    folder = finetune(load_config(None, source | given))
    facts = json.loads((folder / run.AUGMENTATION).read_text())
    assert facts["preset"] == "light"
    assert facts["flip"] == facts["flip_test"]["keeps_class"]
    assert facts["views"] == 2
    assert facts["layers"][0].startswith("RandomView(size=32")
    with Image.open(folder / run.PREVIEW) as sheet:
        assert sheet.format == "JPEG"
    rows = (folder / run.SYMMETRY).read_text().splitlines()
    assert len(rows) == 1 + 2 * 9
    page = (folder / run.REPORT).read_text(encoding="utf-8")
    for told in ("How training pictures were varied", "data:image/jpeg;base64", 'id="symmetry"', "rotation 15°"):
        assert told in page
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "## Symmetry" in text
    assert "Preset light" in text
    keras.models.load_model(folder / run.MODEL)
    told = capsys.readouterr().out
    assert "a head on the frozen features names" in told
    assert facts["told"] in told
    assert "augmented views of each" in facts["told"]
    assert facts["trained_on"] == facts["told"].startswith("The head was fitted to the pictures")
    for report in (page, text):
        assert facts["told"] in report
        assert ("Training figures are on augmented pictures" in report) == facts["trained_on"]
        assert ("nothing was trained on augmented pictures" in report) == (not facts["trained_on"])

    assert main(["evaluate", str(folder), "--tta"]) == 0
    told = capsys.readouterr().out
    assert "Test-time augmentation changed accuracy by" in told
    picture = next(Path(source["data"]).rglob("*.png"))
    assert main(["predict", str(folder), str(picture), "--tta"]) == 0


def test_no_flip_and_strong_are_obeyed_and_repeat(source: dict[str, str], tmp_path: Path) -> None:
    given = {"strategy": "partial", "augment": "strong", "flip": False, "epochs": "2", "seed": "1"}
    folders = [
        finetune(load_config(None, source | given | {"output": str(tmp_path / name)})) for name in ("one", "two")
    ]
    facts = json.loads((folders[0] / run.AUGMENTATION).read_text())
    assert facts["flip"] is False
    assert facts["mixes"] is True
    assert "it is lower than on plain pictures" in (folders[0] / run.REPORT).read_text(encoding="utf-8")
    for name in ("history.csv", "metrics.json", run.SYMMETRY, run.AUGMENTATION):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_without_augmentation_nothing_is_written(source: dict[str, str], tmp_path: Path) -> None:
    folder = finetune(load_config(None, source | {"strategy": "frozen", "output": str(tmp_path / "run")}))
    for name in (run.AUGMENTATION, run.PREVIEW, run.SYMMETRY):
        assert not (folder / name).exists()
    assert main(["evaluate", str(folder), "--tta", "--output", str(tmp_path / "judged")]) == 0
