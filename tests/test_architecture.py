"""The house: imports point downwards, listings stay light, files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tlkit"

LEVELS = (
    {
        "errors",
        "version",
        "durations",
        "rules",
        "config",
        "config_files",
        "config_conditions",
        "run",
        "cache",
        "locks",
        "console",
        "environment",
        "allocation",
        "backend",
        "checkpoints",
        "child_processes",
        "interruption",
        "run_state",
        "large_arrays",
        "lazy",
        "__init__",
    },
    {"graph", "data", "augment", "models", "backbones"},
    {
        "classifier",
        "phases",
        "strategies",
        "features",
        "probe",
        "logistic",
        "ridge",
        "fingerprints",
        "optimizers",
        "callbacks",
        "regularisation",
        "auxiliary",
        "distribution",
        "analysis",
    },
    {"training", "evaluation", "metrics", "intervals", "calibration", "screening", "results", "advise", "doctor"}
    | {
        "activations",
        "views",
        "engines",
        "export",
        "prediction",
        "cross_validation",
        "phase_gains",
        "tensorboard_logs",
        "explaining",
        "pooled",
        "embedding",
        "label_issues",
        "augmenting",
        "symmetry",
        "serve",
        "report",
    },
    {"inspection", "evaluating", "evaluation_folder"},
    {
        "workflow",
        "preparing",
        "training_run",
        "preflight",
        "timing",
        "checking",
        "listing",
        "predicting",
        "exporting",
        "previewing",
        "varying",
        "recipes",
        "resuming",
    },
    {"search"},
    {"command_line", "cleaning"},
    {"cli"},
)
TENSORFLOW_ALLOWED = {
    "analysis/gradients.py",
    "data/loader.py",
    "data/tfds.py",
    "distribution.py",
    "export/conversion.py",
    "export/runtimes.py",
    "export/writing.py",
    "training/determinism.py",
}
NO_KERAS = {"report", "errors", "version", "config", "config_files", "run", "cache", "console", "environment"} | {
    "evaluation",
    "metrics",
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """The top-level module or package of a file, such as `data` or `cli`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def level(name: str) -> int:
    found = [number for number, names in enumerate(LEVELS) if name in names]
    assert found, f"{name} has no level: add it to the table"
    return found[0]


def runtime_imports(tree: ast.Module) -> set[str]:
    """Full names of the modules imported, those only for type checkers left out."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(inner for statement in node.body for inner in ast.walk(statement))
    names: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def internal(path: Path) -> set[Path]:
    """Files of tlkit that a file imports."""
    found = set()
    for name in runtime_imports(parse(path)):
        parts = name.split(".")
        if parts[0] == "tlkit" and len(parts) > 1:
            candidate = PACKAGE.joinpath(*parts[1:])
            for file in (candidate.with_suffix(".py"), candidate / "__init__.py"):
                if file.exists():
                    found.add(file)
    return found - {path}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    for imported in internal(path):
        above = level(room(imported)) > level(room(path))
        assert not above, f"{room(path)} (level {level(room(path))}) imports {room(imported)} above it"


def test_no_import_cycles() -> None:
    graph = {path: internal(path) for path in modules()}
    done: set[Path] = set()

    def visit(path: Path, trail: tuple[Path, ...]) -> None:
        assert path not in trail, "cycle: " + " -> ".join(file.stem for file in (*trail, path))
        if path in done:
            return
        for imported in graph[path]:
            visit(imported, (*trail, path))
        done.add(path)

    for path in graph:
        visit(path, ())


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_tensorflow_is_imported_only_where_it_is_the_subject() -> None:
    importing = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        if any(name.split(".")[0] in ("tensorflow", "tensorflow_datasets") for name in runtime_imports(parse(path)))
    }
    assert importing <= TENSORFLOW_ALLOWED
    for name in importing:
        outside = [node for node in parse(PACKAGE / name).body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert not any("tensorflow" in ast.unparse(node) for node in outside), f"{name} imports TensorFlow at its top"


@pytest.mark.parametrize("path", [path for path in modules() if room(path) in NO_KERAS], ids=lambda path: path.name)
def test_rooms_without_keras(path: Path) -> None:
    assert not any(name.split(".")[0] == "keras" for name in runtime_imports(parse(path))) or room(path) == "workflow"


@pytest.mark.parametrize(
    "statement", ["import tlkit, tlkit.cli", "from tlkit.backbones.registry import list_backbones"]
)
def test_light_imports_load_no_backend(statement: str) -> None:
    heavy = {"keras", "tensorflow", "jax", "pandas", "sklearn"}
    code = f"{statement}; import sys; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
