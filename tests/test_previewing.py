"""The verb `preview`: a sheet of pictures before and after, from any source of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkit.cli import main

Captured = pytest.CaptureFixture[str]


def test_a_sheet_is_written_and_layers_are_told(tmp_path: Path, capsys: Captured) -> None:
    output = tmp_path / "sheet.png"
    given = ["preview", "builtin:digits", "--augment", "strong", "--no-flip", "--image-size", "32", "--pictures", "3"]
    assert main([*given, "--views", "2", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    for told in ("RandomView(size=32", "flip=False", "CutMix(num_classes=10", str(output)):
        assert told in printed
    sheet = np.asarray(Image.open(output))
    assert sheet.shape == (3 * 116 + 4, 3 * 116 + 16, 3)
    assert main([*given, "--views", "2", "--output", str(tmp_path / "again.png")]) == 0
    assert (tmp_path / "again.png").read_bytes() == output.read_bytes()


def test_broken_pictures_are_passed_over(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (40, 30), (40 * number, 90, 10)).save(tmp_path / "images" / name / f"{number}.png")
        (tmp_path / "images" / name / "broken.png").write_bytes(b"nothing")
    output = tmp_path / "sheet.png"
    assert main(["preview", str(tmp_path / "images"), "--image-size", "16", "--output", str(output)]) == 0
    assert output.exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--augment", "standart"], "Unknown augment. Expected one of"),
        (["--augment", "auto"], "Received: auto, which finetune decides"),
        (["--strength", "3"], "strength to be at least 0 and at most 2. Received: 3."),
        (["--mixup", "-1"], "mixup to be at least 0"),
        (["--pictures", "0"], "pictures from 1 to 40. Received: 0."),
        (["--views", "99"], "views from 1 to 40. Received: 99."),
        (["--output", "nowhere/sheet.png"], "a file ending in .png in a folder that exists"),
        (["--output", "sheet.jpg"], "a file ending in .png"),
    ],
)
def test_mistakes_are_told_in_a_line(given: list[str], told: str, capsys: Captured) -> None:
    assert main(["preview", "builtin:digits", *given]) == 2
    printed = capsys.readouterr().err.strip()
    assert told in printed
    assert "\n" not in printed
