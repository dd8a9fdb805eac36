"""The verbs beside finetune and predict: check, cache, report, compare."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.report.make_run import build_run
from tlkit import run
from tlkit.cli import main

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of noise, one picture twice under two labels, one file that is no picture."""
    folder = tmp_path_factory.mktemp("messy")
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir()
        for number in range(4):
            Image.fromarray(random.integers(0, 255, (40, 50, 3), "uint8")).save(folder / name / f"{number}.png")
    shutil.copy(folder / "a" / "0.png", folder / "b" / "copy.png")
    (folder / "a" / "broken.jpg").write_bytes(b"nothing")
    return folder


def test_check_tells_and_writes(messy: Path, tmp_path: Path, capsys: Captured) -> None:
    json_file, html_file = tmp_path / "audit.json", tmp_path / "audit.html"
    assert main(["check", str(messy), "--json", str(json_file), "--html", str(html_file)]) == 0
    printed = capsys.readouterr().out
    assert "conflicting labels" in printed
    assert "broken.jpg" in printed
    audit = json.loads(json_file.read_text())
    assert [entry["item"] for entry in audit["set_aside"]] == ["a/broken.jpg"]
    assert "broken.jpg" in html_file.read_text(encoding="utf-8")


def test_check_strict_ends_with_3_where_something_was_found(messy: Path, capsys: Captured) -> None:
    assert main(["check", str(messy), "--strict"]) == 3
    assert main(["check", "builtin:digits", "--strict"]) == 0
    assert main(["check", "nowhere"]) == 2


def test_cache_is_listed_and_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    from tlkit import data

    data.load(data.builtin("digits"), image_size=16).store.close()
    capsys.readouterr()
    assert main(["cache", "path"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "cache")
    assert main(["cache", "ls"]) == 0
    assert "builtin:digits" in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert "Removed 1 " in capsys.readouterr().out


@pytest.fixture
def two_runs(tmp_path: Path) -> list[str]:
    return [str(build_run(tmp_path / name)) for name in ("one", "two")]


def test_report_is_made_again(two_runs: list[str], capsys: Captured) -> None:
    page = Path(two_runs[0]) / run.REPORT
    page.unlink(missing_ok=True)
    assert main(["report", two_runs[0]]) == 0
    assert page.exists()
    assert main(["report", "nowhere"]) == 2


def test_compare_tells_the_difference(two_runs: list[str], tmp_path: Path, capsys: Captured) -> None:
    page = tmp_path / "page.html"
    assert main(["compare", *two_runs, "--html", str(page)]) == 0
    assert "same" in capsys.readouterr().out
    assert page.exists()
    assert main(["compare", two_runs[0], "--html", str(page)]) == 2


def test_compare_wants_different_runs(two_runs: list[str], capsys: Captured) -> None:
    assert main(["compare", two_runs[0], f"{two_runs[0]}/."]) == 2
    assert "twice" in capsys.readouterr().err
