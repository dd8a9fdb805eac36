"""A run folder that is not whole says which file is wrong, and how."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tlkit.errors import InputError
from tlkit.report import write_report
from tlkit.report.reading import NEEDED, read_run
from tlkit.run import plain_cell


def test_a_whole_folder_is_read_with_types(kept_run: Path) -> None:
    run = read_run(kept_run)
    assert run.name == "demo"
    assert run.judged_split == "test"
    assert run.predictions["label"].dtype == np.int64
    assert run.probabilities.shape == (len(run.predictions), 10)
    assert run.history["best"].sum() == 2
    named = [run.class_names[index] for index in run.predictions["label"]]
    in_manifest = dict(zip(run.manifest["item"], run.manifest["label"], strict=True))
    assert named == [in_manifest[item] for item in run.predictions["item"]]


@pytest.mark.parametrize("name", [*NEEDED, "state.json"])
def test_a_missing_file_is_named_and_nothing_is_written(run: Path, name: str) -> None:
    (run / name).unlink()
    with pytest.raises(InputError, match=re.escape(name)):
        write_report(run)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(("version", "remedy"), [(2, "update tlkit"), (0, "train again"), (None, "train again")])
def test_a_folder_of_another_version_says_what_to_do(run: Path, version: int | None, remedy: str) -> None:
    (run / "state.json").write_text(json.dumps({"status": "complete", "version": version}))
    with pytest.raises(InputError, match=f"version {version} in .*state.json.*{remedy}"):
        read_run(run)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("state.json", "{", "not JSON"),
        ("metrics.json", "[]", "no object but list"),
        ("metrics.json", '{"test": {"num_images": 3}}', "no class_names in test"),
        ("environment.json", "\udcff", "not UTF-8"),
        ("config.toml", "data = ", "not TOML"),
        ("history.csv", "phase,epoch\nprobe,0\n", "without the column penalty"),
        ("history.csv", "", "cannot be read"),
        ("predictions.csv", "item,split,label,predicted,confidence,correct\na,test,zero,ten,0.5,False\n", "'ten'"),
        ("predictions.csv", "item,split,label,predicted,confidence,correct\na,test,zero,one,much,False\n", "no number"),
        ("probabilities.npy", "no array", "no array"),
        ("labels.txt", "zero\none\n", "labels.txt has not"),
    ],
)
def test_a_damaged_file_is_named_with_the_reason(run: Path, name: str, content: str, reason: str) -> None:
    (run / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=reason) as caught:
        read_run(run)
    assert "\n" not in str(caught.value)


def test_probabilities_of_another_shape_are_refused(run: Path) -> None:
    np.save(run / "probabilities.npy", np.zeros((3, 10), np.float32))
    with pytest.raises(InputError, match=r"probabilities.npy.*shape \(3, 10\)"):
        read_run(run)


def test_pickled_probabilities_are_not_loaded(run: Path) -> None:
    np.save(run / "probabilities.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"probabilities.npy.*no array"):
        read_run(run)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        read_run(tmp_path / "nowhere")


def test_numbers_of_a_run_that_diverged_are_undefined(run: Path) -> None:
    text = (run / "history.csv").read_text()
    (run / "history.csv").write_text(text + "head,6,,0.001,inf,nan,0.1,inf,0.1,False\n")
    assert np.isnan(read_run(run).history["loss"].iloc[-1])
    assert np.isnan(read_run(run).history["val_loss"].iloc[-1])
    write_report(run)


@pytest.mark.parametrize(
    ("cell", "meant"),
    [("'=1+1", "=1+1"), ("'-5", "-5"), ("''tis", "'tis"), ("'tis", "'tis"), ("plain", "plain"), ("'", "'"), ("", "")],
)
def test_the_quote_against_formulas_is_taken_away(cell: str, meant: str) -> None:
    assert plain_cell(cell) == meant
