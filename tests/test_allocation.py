"""That freed memory is kept, counted in page faults, and that the user's own choice is left alone."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from tlkit.allocation import CHOICES, keep_freed_memory

ROUNDS = 20
PAGES = ROUNDS * 40_000_000 // 4096  # Of pieces of 40 MB, more than the library keeps unasked.
WORK = f"""
import resource
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({ROUNDS}):
    b"x" * 40_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def printed(code: str, **choices: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in CHOICES} | choices
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture(autouse=True)
def gnu() -> None:
    if not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("not the GNU C library")


@pytest.mark.parametrize(
    "start",
    [
        "from tlkit import keep_freed_memory; assert keep_freed_memory()",
        "from tlkit.backend import start_keras; start_keras(compute=False)",  # As every command does.
        "import keras; from tlkit.backend import start_keras; start_keras()",  # As recipes do that import Keras first.
    ],
)
def test_memory_that_is_freed_costs_no_page_fault_when_it_is_had_again(start: str) -> None:
    if int(printed(WORK)) < PAGES / 4:
        pytest.skip("this system gives memory in huge pages: there is nothing to win")
    assert int(printed(start + WORK)) < PAGES / ROUNDS * 2


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_of_the_environment_is_left(name: str) -> None:
    code = "from tlkit import keep_freed_memory; print(keep_freed_memory())"
    value = "glibc.malloc.arena_max=4" if name == "GLIBC_TUNABLES" else "131072"
    assert printed(code, **{name: value}) == "False"


def test_another_c_library_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    for name in CHOICES:
        monkeypatch.delenv(name, raising=False)
    assert not keep_freed_memory()
