"""A run folder belongs to one process at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tlkit import run, run_state
from tlkit.errors import InputError

# Waits for the word, makes the run folder, and holds it until its standard input ends.
HOLDER = """
import sys
from pathlib import Path
from tlkit import run_state
from tlkit.errors import InputError
print("ready", flush=True)
sys.stdin.readline()
try:
    with run_state.new_run(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
except InputError as error:
    print(error, flush=True)
"""


def start(folder: Path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def say(process: subprocess.Popen) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_of_two_processes_that_race_for_a_folder_one_gets_it(tmp_path: Path) -> None:
    racers = [start(tmp_path / "run") for _ in range(2)]
    for racer in racers:
        say(racer)
    told = [racer.stdout.readline() for racer in racers]  # type: ignore[union-attr]
    assert sorted(line == "held\n" for line in told) == [False, True], told
    [loser] = [line for line in told if line != "held\n"]
    assert "no process works on" in loser
    assert str(racers[told.index("held\n")].pid) in loser
    assert run.read_status(tmp_path / "run") == "running"
    with pytest.raises(InputError, match="no process works on"):
        run_state.require_idle(tmp_path / "run")
    for racer in racers:
        racer.communicate()


def test_a_lock_of_a_dead_process_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dead = start(tmp_path / "run")
    say(dead)
    assert dead.stdout is not None
    assert dead.stdout.readline() == "held\n"
    os.kill(dead.pid, signal.SIGKILL)
    dead.communicate()
    with run_state.resumed_run(tmp_path / "run"):
        assert run.read_status(tmp_path / "run") == "running"
    told = capsys.readouterr().out
    assert f"process {dead.pid}" in told
    assert "stale" in told
    assert not (tmp_path / "run" / run.LOCK).exists()


def test_a_mistake_before_any_training_takes_the_folder_away(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mine"), run_state.new_run(tmp_path / "deep" / "run"):
        raise InputError("mine")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "interrupted"), (ZeroDivisionError, "failed")])
def test_what_ends_a_run_early_is_recorded(tmp_path: Path, error: type[BaseException], status: str) -> None:
    with pytest.raises(error), run_state.new_run(tmp_path / "run"):
        raise error
    assert json.loads((tmp_path / "run" / run.STATE).read_text())["status"] == status
    assert os.listdir(tmp_path / "run") == [run.STATE]


def test_a_mistake_after_something_was_trained_leaves_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()

    def fail_later() -> None:
        with run_state.new_run(tmp_path / "run"):
            (tmp_path / "run" / run.CHECKPOINT).mkdir()
            raise InputError("mine")

    with pytest.raises(InputError, match="mine"):
        fail_later()
    assert run.read_status(tmp_path / "run") == "failed"


def test_a_folder_with_a_run_is_not_a_new_one(tmp_path: Path) -> None:
    run.write_state(tmp_path, "complete")
    with pytest.raises(InputError, match="holds a run already"), run_state.new_run(tmp_path):
        pytest.fail("it cannot be held")
    assert run.read_status(tmp_path) == "complete"


def test_what_a_killed_process_was_writing_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "kept.json").write_text("{}")
    left = [Path(tempfile.mkstemp(".writing", ".metrics.json.", folder)[1]) for folder in (tmp_path, tmp_path / "sub")]
    script = "import os, sys; from tlkit import run; file = run.atomic_file(sys.argv[1]); file.__enter__(); os._exit(9)"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.bin")], check=False)
    assert len(list(tmp_path.glob(".a.bin.*"))) == 1
    with run_state.resumed_run(tmp_path):
        assert not any(path.exists() for path in left)
        assert not list(tmp_path.glob(".a.bin.*"))
    assert (tmp_path / "kept.json").exists()
