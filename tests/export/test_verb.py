"""The verbs `predict` and `export`: what they print, and how they end."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

import tlkit
from tlkit.cli import main

Captured = pytest.CaptureFixture[str]


def test_export_prints_the_table(small_run: Path, capsys: Captured) -> None:
    assert main(["export", str(small_run), "--format", "keras", "--temperature"]) == 0
    printed = capsys.readouterr().out
    assert "keras-calibrated" in printed
    assert "100.00%" in printed


def test_too_much_loss_ends_with_three(small_run: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlkit.export.exports.Exports.dropped", property(lambda self: self.made))
    assert main(["export", str(small_run), "--format", "keras"]) == 3
    assert "keras loses 0.00% accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--format", "onnx", "--precision", "bfloat16"], "ONNX Runtime does not load"),
        (["--format", "onnxx"], "Did you mean 'onnx'?"),
        (["--format", "litert", "--input", "row"], "Did you mean 'raw'?"),
        ([], "--format"),
    ],
)
def test_mistakes_end_with_two(small_run: Path, options: list[str], part: str, capsys: Captured) -> None:
    assert main(["export", str(small_run), *options]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert len(error.splitlines()) == 1


def test_predict_takes_paths_on_standard_input(
    small_run: Path, pictures: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = str(pictures / "null" / "01.png").encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    assert main(["predict", str(small_run), "-", "--format", "csv", "--top", "1", "--calibrated"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2
    assert "01.png,null" in printed[1]


def test_the_library_offers_the_same(small_run: Path, pictures: Path) -> None:
    classifier = tlkit.load_run(small_run)
    [found] = tlkit.predict(classifier, [pictures / "null" / "01.png"], top=1)
    assert found.classes[0].class_name == "null"
    assert tlkit.export_run(small_run, ["keras"]).dropped == ()
