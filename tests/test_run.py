from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tlkit import run
from tlkit.errors import InputError


def test_write_replaces_whole_files_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    run.write_text(path, "old")
    run.write_text(path, "new\n")
    assert path.read_bytes() == b"new\n"
    assert os.listdir(tmp_path) == ["a.txt"]
    assert stat.S_IMODE(path.stat().st_mode) & 0o444 == 0o444


def test_failed_write_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    run.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("text", ["=1+1", "+a", "-a", "@x", "\tx", "'", "'=x", "''", "plain", "", "a=b", "'quoted'"])
def test_cells_are_safe_and_come_back(text: str) -> None:
    cell = run.safe_cell(text)
    assert not cell.startswith(run.FORMULA_STARTS)
    assert run.plain_cell(cell) == text


def test_labels_round_trip(tmp_path: Path) -> None:
    names = ("a b", "猫", '"x"', "=1", "naïve")
    run.write_labels(tmp_path, names)
    assert run.read_labels(tmp_path) == names


def test_output_folder_must_be_free(tmp_path: Path) -> None:
    run.require_free(tmp_path)
    run.require_free(tmp_path / "new" / "deep")
    (tmp_path / "other.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        run.require_free(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        run.require_free(tmp_path / "other.txt")
    run.write_state(tmp_path, "complete")
    with pytest.raises(InputError, match="holds a run already"):
        run.require_free(tmp_path)


def test_run_that_was_killed_is_told_as_such(tmp_path: Path) -> None:
    run.write_state(tmp_path, "running")
    with pytest.raises(InputError, match=r"no metrics\.json: it is still at work, or .* --resume .*, or remove"):
        run.require_run(tmp_path, "metrics.json")
    run.write_state(tmp_path, "complete")
    with pytest.raises(InputError, match=r"made by tlkit finetune.*no metrics\.json"):
        run.require_run(tmp_path, "metrics.json")


def test_newer_version_is_told(tmp_path: Path) -> None:
    run.write_json(tmp_path / run.STATE, {"status": "complete", "version": 99})
    with pytest.raises(InputError, match="version 99"):
        run.require_run(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe"])
def test_damaged_state_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / run.STATE).write_bytes(content)
    with pytest.raises(InputError, match=r"state\.json, which is damaged") as caught:
        run.require_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_default_folder_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = run.default_folder("resnet50", "frozen")
    first.mkdir(parents=True)
    second = run.default_folder("resnet50", "frozen")
    assert first != second
    assert first.name.endswith("resnet50-frozen")
