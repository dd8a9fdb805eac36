"""What is to be done, of a search that begins or is taken up again, and how long it has been at work."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tlkit.cli import main
from tlkit.config import SearchConfig
from tlkit.config_files import load_config
from tlkit.errors import InputError
from tlkit.search import clock
from tlkit.search.plan import Plan, asked_again, read_plan
from tlkit.search.roles import role
from tlkit.search.searching import make_plan as plan_of
from tlkit.search.space import read_space

MakePlan = Callable[..., Plan]


def begun(folder: Path) -> Path:
    """The folder of a search as the command plans it, with options of its own."""
    folder.mkdir()
    given = {"data": "builtin:digits", "backbone": "scratch:lenet5", "epochs": 2}
    settings = SearchConfig(space="scratch", trials=7, output=str(folder))
    plan = plan_of(load_config(None, given), replace(settings, output=None), given, {})
    replace(plan, folder=folder, settings=settings).write()
    return folder


def taken_up(folder: Path, given: dict, own: dict) -> Plan:
    own = {"resume": True, "output": str(folder), **own}
    base, settings = asked_again(None, given, own)
    return plan_of(base, settings, given, own)


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ({}, {}),
        ({}, {"objective": "accuracy"}),
        ({"data": "builtin:digits"}, {}),
        ({"epochs": "2", "data": "builtin:digits", "backbone": "scratch:lenet5"}, {"space": "scratch"}),
    ],
)
def test_what_is_said_again_changes_nothing(tmp_path: Path, given: dict, own: dict) -> None:
    folder = begun(tmp_path / "search")
    plan = taken_up(folder, given, own)
    assert replace(plan, settings=replace(plan.settings, resume=False)) == read_plan(folder)


def test_what_may_change_is_changed(tmp_path: Path) -> None:
    folder = begun(tmp_path / "search")
    plan = taken_up(folder, {}, {"objective": "accuracy", "trials": 30})
    assert (plan.settings.trials, plan.settings.space) == (30, "scratch")


def test_only_what_differs_is_told(tmp_path: Path) -> None:
    folder = begun(tmp_path / "search")
    with pytest.raises(InputError) as told:
        taken_up(folder, {"epochs": "3", "data": "builtin:digits"}, {"objective": "ece", "algorithm": "random"})
    assert "Received another: objective: accuracy; now ece; epochs: 2; now 3. Give" in str(told.value)


def test_resume_needs_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "--resume"]) == 2
    assert "Name it: --resume --output FOLDER" in " ".join(capsys.readouterr().err.split())


def test_a_search_of_heads_on_random_weights_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--data", "builtin:digits", "--output", str(tmp_path / "a")]
    assert main(["search", *arguments, "--backbone", "scratch:lenet5", "--space", "head"]) == 2
    assert "--space scratch" in " ".join(capsys.readouterr().err.split())
    file = tmp_path / "space.toml"
    file.write_text("preset = 'head'\n[space]\nweights = 'none'\n")
    assert main(["search", *arguments, "--space", str(file)]) == 2
    assert "random weights of efficientnet_lite0" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("text", ["", "# nothing\n", "[space]\n"])
def test_a_space_file_says_something(tmp_path: Path, text: str) -> None:
    file = tmp_path / "space.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"a preset, or options under \[space\]. Received: neither"):
        read_space(str(file))


def test_kerastuners_variables_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert role() is None
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    with pytest.raises(InputError, match="ORACLE_IP and KERASTUNER_ORACLE_PORT beside KERASTUNER_TUNER_ID"):
        role()


def test_the_clock_goes_on_where_it_stopped(tmp_path: Path) -> None:
    for part in ("trials", "trials", "end"):
        with clock.counting(tmp_path, part) as seconds:
            time.sleep(0.05)
            assert seconds() >= 0.05
    assert 0.1 <= clock.seconds_of(tmp_path, "trials") < 5
    assert 0.05 <= clock.seconds_of(tmp_path, "end") < 5


def test_a_damaged_clock_is_told(tmp_path: Path) -> None:
    (tmp_path / "clock.json").write_text("{")
    with pytest.raises(InputError, match=r"clock\.json"):
        clock.seconds_of(tmp_path, "trials")


def test_a_kill_loses_seconds_at_most(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from tlkit.search import clock; clock.BEAT_SECONDS = 0.05\n"
        "with clock.counting(pathlib.Path(sys.argv[1]), 'trials'): time.sleep(100)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    try:
        until = time.monotonic() + 60
        while clock.seconds_of(tmp_path, "trials") < 0.5 and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert clock.seconds_of(tmp_path, "trials") >= 0.5
