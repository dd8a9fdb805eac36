"""The notebooks: valid, stripped of outputs, and every cell runs, in smoke mode and without Jupyter."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
FAST = ("03", "04")  # The others load ImageNet weights, or train several networks.


def _parameters():
    for path in NOTEBOOKS:
        yield pytest.param(path, marks=[] if path.name[:2] in FAST else [pytest.mark.slow], id=path.stem)


def _cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_short_valid_and_without_outputs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = notebook["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert 3 <= len(code) <= 15
    assert cells[0]["cell_type"] == "markdown"
    assert "".join(cells[0]["source"]).startswith("# ")
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in code:
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            if isinstance(node, ast.ImportFrom):
                assert not any(alias.name.startswith("_") for alias in node.names)
            if isinstance(node, ast.Attribute):
                assert not node.attr.startswith("_")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", list(_parameters()))
def test_runs_in_smoke_mode(path, monkeypatch, tmp_path):
    """Cells run in order in one namespace, the last expression of each evaluated, as a kernel would."""
    monkeypatch.setenv("TLKIT_SMOKE", "1")
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": "__main__"}
    for cell in _cells(path):
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, path.name, "exec"), namespace)
            if last is not None:
                shown = eval(compile(ast.Expression(last.value), path.name, "eval"), namespace)
                assert repr(shown)
