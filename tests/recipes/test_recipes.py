"""The recipes: each runs in smoke mode, says what it must, and uses the public API alone."""

from __future__ import annotations

import ast
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import tlkit
from tlkit.errors import InputError
from tlkit.recipes.headers import as_table, find_recipe, read_header, read_headers
from tlkit.recipes.running import summarise

FOLDER = Path(__file__).resolve().parents[2] / "recipes"
HEADERS = read_headers(FOLDER)
FASHION = Path("/usr/share/datasets/fashion-mnist")
WHOLE = ("01", "04", "08", "09", "10", "11", "13", "14")  # The others measure less in smoke mode.
FAST = ("01", "09", "14")  # The others compile larger networks.


def _parameters():
    for header in HEADERS:
        marks = [] if header.name[:2] in FAST else [pytest.mark.slow]
        if "fashion-mnist" in header.fields["Data"]:
            marks.append(pytest.mark.skipif(not FASHION.is_dir(), reason="Debian's dataset-fashion-mnist is missing"))
        yield pytest.param(header, marks=marks, id=header.name)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("header", list(_parameters()))
def test_runs_in_smoke_mode(header, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(header.path), "--smoke", "--json", str(tmp_path / "figures.json")])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(header.path), run_name="__main__")
    assert ended.value.code == 0, capsys.readouterr().err
    (figures,) = json.loads((tmp_path / "figures.json").read_text())
    assert figures
    assert all(isinstance(value, int | float) for value in figures.values())
    if header.name[:2] in WHOLE:
        assert set(header.expected) <= set(figures)


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.name)
def test_is_short_and_imports_public_names_alone(header):
    text = header.path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            assert all(alias.name == "tlkit" for alias in node.names if alias.name.startswith("tlkit"))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("tlkit"):
            _, *packages = str(node.module).split(".")
            assert not packages or packages[0] in tlkit.PACKAGES
            assert not any(part.startswith("_") for part in packages)
            assert all(alias.name in tlkit.__all__ for alias in node.names) or packages
        if isinstance(node, ast.Attribute | ast.alias):
            assert not (node.attr if isinstance(node, ast.Attribute) else node.name).startswith("_")
    assert f"python recipes/{header.path.name}" in header.fields["Command"]
    assert header.expected or header.fields["Expected"].startswith("not run here")


def test_the_table_is_made_of_the_headers():
    assert as_table(HEADERS) in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_recipes_are_found_by_number_and_by_name():
    assert find_recipe(HEADERS, "1").name.startswith("01_")
    assert find_recipe(HEADERS, "09_angle_filter.py").name == find_recipe(HEADERS, "angle").name
    with pytest.raises(InputError, match="Did you mean '09_angle_filter'"):
        find_recipe(HEADERS, "09_angel_filter")
    with pytest.raises(InputError, match="Expected one recipe"):
        find_recipe(HEADERS, "")


def test_figures_outside_the_stated_spread_are_told(tmp_path):
    script = tmp_path / "01_some.py"
    lines = [f"{name}: some" for name in ("Purpose", "Command", "Data", "Machine", "Time")]
    text = "Title.\n\n" + "\n".join([*lines, "Expected: accuracy 97.5 ± 0.4 %,", "          error -1 ± 0"])
    script.write_text(f'"""{text}\n"""\n', encoding="utf-8")
    header = read_header(script)
    assert header.expected == {"accuracy": (97.5, 0.4), "error": (-1.0, 0.0)}
    assert header.misses({"accuracy": (97.2, 1.0), "error": (-1.0, 0.0)}) == ()
    assert len(header.misses({"accuracy": (97.0, 1.0)})) == 2
    assert len(header.misses({"accuracy": (97.0, 1.0)}, accelerator=True)) == 1
    script.write_text('"""Title."""\n', encoding="utf-8")
    with pytest.raises(InputError, match="Expected a line 'Purpose'"):
        read_header(script)


def test_the_check_runs_a_recipe_and_names_one_that_is_unknown():
    def check(*arguments):
        return subprocess.run(
            [sys.executable, FOLDER / "check.py", *arguments], capture_output=True, text=True, check=False
        )

    done = check("--smoke", "09")
    assert done.returncode == 0, done.stderr
    assert "09_angle_filter: Does the picture hold an angle?" in done.stdout
    assert "it runs: nothing was checked" in done.stdout
    done = check("angel")
    assert done.returncode == 2
    assert "09_angle_filter" in done.stderr


def test_spread_is_twice_the_standard_deviation():
    assert summarise([{"a": 1.0}, {"a": 3.0}]) == {"a": (2.0, 2.83)}
    assert summarise([{"a": 1.0}]) == {"a": (1.0, 0.0)}
