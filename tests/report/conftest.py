"""Run folders to report on, and a browser to look at the reports with."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def load_beside(name: str) -> ModuleType:
    """Loads a module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(f"tests_report_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def build_run() -> Callable[..., Path]:
    """`make_run.build_run`: writes a run folder of real digits."""
    return load_beside("make_run").build_run


@pytest.fixture(scope="session")
def write_folder() -> Callable[..., None]:
    """`make_run.write_folder`: writes a run folder of labels and probabilities of one's own."""
    return load_beside("make_run").write_folder


@pytest.fixture(scope="session")
def kept_run(tmp_path_factory: pytest.TempPathFactory, build_run: Callable[..., Path]) -> Path:
    """A small run, built once; do not write to it."""
    return build_run(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture
def run(tmp_path: Path, kept_run: Path) -> Path:
    """A copy of the small run to change at will."""
    return Path(shutil.copytree(kept_run, tmp_path / "demo"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; tests that need one are skipped where there is none."""
    module = load_beside("browser")
    executable = module.find_browser()
    if executable is None:
        pytest.skip("no Chromium on this machine; Debian has it as the package chromium")
    with module.start_browser(executable) as started:
        yield started
