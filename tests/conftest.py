"""What every test shares: a cache of its own, and a backend that keeps quiet."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or fills the user's cache; weights are converted once a session."""
    os.environ["TLKIT_CACHE"] = str(tmp_path_factory.mktemp("tlkit-cache"))


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Folder of the figures that published or reference implementations gave."""
    return Path(__file__).parent / "goldens"
