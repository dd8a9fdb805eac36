"""What is to be done, of a search that begins or is taken up again, and how long it has been at work."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tlkit import data
from tlkit.cli import main
from tlkit.config import SearchConfig
from tlkit.config_files import load_config
from tlkit.errors import InputError
from tlkit.run import write_json
from tlkit.search import clock
from tlkit.search.data_marks import mark_of_contents
from tlkit.search.folder import Record, read_records, write_record
from tlkit.search.plan import Plan, asked_again, read_plan, wait_for_plan
from tlkit.search.roles import role
from tlkit.search.same_data import require_same_data
from tlkit.search.searching import make_plan as plan_of
from tlkit.search.searching import tell_plan
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


def test_an_option_that_was_searched_and_is_held_now_is_told_once(tmp_path: Path) -> None:
    folder = begun(tmp_path / "search")
    with pytest.raises(InputError) as told:
        taken_up(folder, {"dropout": "0.1", "data": "builtin:digits"}, {"space": "scratch"})
    assert str(told.value).count("dropout") == 1


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four pictures of each of two classes, and the plan of a search in them."""
    for name, shade in (("dark", 20), ("light", 230)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (40, 40), (shade, shade, 10 * index)).save(tmp_path / "images" / name / f"{index}.png")
    return tmp_path / "images"


def plan_in(pictures: Path, **own: object) -> Plan:
    given = {"data": str(pictures), "backbone": "scratch:lenet5"}
    return plan_of(load_config(None, given), SearchConfig(space="scratch", **own), given, {})  # type: ignore[arg-type]


def test_a_search_goes_on_with_the_same_pictures_alone(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = replace(plan_in(pictures), folder=pictures.parent / "search")
    plan.folder.mkdir()
    assert require_same_data(plan) == plan.data_marks
    manifest = data.from_spec(str(pictures)).with_digests()
    seen = mark_of_contents(manifest.items["item"], manifest.items["digest"])
    write_json(plan.folder / "validation.json", {"labels": [], "groups": None, "pictures": seen})
    picture = pictures / "dark" / "0.png"
    os.utime(picture, (1, 1))  # Another time, the same content.
    assert require_same_data(plan) != plan.data_marks
    assert "comparing the images" in " ".join(capsys.readouterr().out.split())
    Image.new("RGB", (40, 40), (9, 9, 9)).save(picture)
    with pytest.raises(InputError, match=r"the images that .* began with. Received: others"):
        require_same_data(plan)
    (pictures / "dark" / "0.png").rename(pictures / "light" / "9.png")
    with pytest.raises(InputError, match=r"the images that .* began with. Received: others"):
        require_same_data(plan)


def test_a_trial_whose_pictures_are_gone_ends_the_search_and_leaves_nothing(pictures: Path) -> None:
    plan = replace(plan_in(pictures), folder=pictures.parent / "search")
    plan.folder.mkdir()
    plan.write()
    pictures.rename(pictures.with_name("elsewhere"))
    with closing(plan.executor()) as executor, pytest.raises(InputError, match="once they are back: tlkit search"):
        executor.run(executor.default())
    assert not read_records(plan.folder)
    with pytest.raises(InputError, match="images"):
        require_same_data(read_plan(plan.folder))


def test_all_mistakes_of_a_search_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["--algorithm", "guess", "--objective", "luck", "--trials", "0", "--backbone", "resnet51"]
    assert main(["search", "--data", "builtin:digits", *wrong]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [sum(word in line for line in lines) for word in ("'guess'", "'luck'", "trials", "'resnet51'")] == [1] * 4
    (tmp_path / "mine.txt").write_text("kept")
    others = ["--space", "quik", "--weights", "none.h5", "--output", str(tmp_path)]
    assert main(["search", "--data", "builtin:digits", *others]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert all(part in told for part in ("Did you mean 'quick'", "none.h5", "holds other files"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_taken_port_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(taken.getsockname()[1]))
        output = tmp_path / "search"
        assert main(["search", "--data", "builtin:digits", "--space", "head", "--output", str(output)]) == 2
    assert "Expected a free port" in " ".join(capsys.readouterr().err.split())
    assert not output.exists()


def test_trials_that_ended_before_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = read_plan(begun(tmp_path / "search"))
    for number in range(3):
        write_record(plan.folder, Record(number, {}, str(number), status="completed"))
    tell_plan(plan)
    told = capsys.readouterr().out
    assert "3 trials ended before\n" in told
    assert "Held fixed: backbone scratch:lenet5, epochs 2" in told
    tell_plan(replace(plan, settings=replace(plan.settings, trials=2)))
    assert "3 trials ended before; no new one is begun" in capsys.readouterr().out


def test_another_space_is_told_by_its_name_and_each_difference_once(tmp_path: Path) -> None:
    folder = begun(tmp_path / "search")
    for space in ("quick", "head"):
        with pytest.raises(InputError) as told:
            taken_up(folder, {}, {"space": space})
        assert f"Received another: space: scratch; now {space}; " in str(told.value)
        assert str(told.value).count("augment: ") == 1
        assert "more of the space" in str(told.value)


def test_a_preset_has_its_own_strategy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "--data", "builtin:digits", "--space", "head", "--strategy", "full"]) == 2
    assert "Expected strategy frozen with --space head" in " ".join(capsys.readouterr().err.split())
    assert main(["search", "--data", "builtin:digits", "--space", "head", "--backbone", "efficientnet_lite9"]) == 2
    assert capsys.readouterr().err.count("Unknown backbone") == 1


def test_a_chief_that_never_begins_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected a chief that begins a search in"):
        wait_for_plan(tmp_path / "none", 0.6)


def test_a_file_of_options_is_compared_where_a_search_is_taken_up(tmp_path: Path) -> None:
    folder = begun(tmp_path / "search")
    file = tmp_path / "other.toml"
    file.write_text("[training]\nepochs = 5\n")
    own = {"resume": True, "output": str(folder)}
    base, settings = asked_again(file, {}, own)
    with pytest.raises(InputError, match="epochs: 2; now 5"):
        plan_of(base, settings, {}, own)


def test_a_space_file_is_needed_no_more_where_a_search_is_taken_up(tmp_path: Path) -> None:
    file, folder = tmp_path / "space.toml", tmp_path / "search"
    file.write_text("preset = 'scratch'\n[space]\nstrategy = 'scratch'\n")
    given = {"data": "builtin:digits", "backbone": "scratch:lenet5", "strategy": "scratch"}
    settings = SearchConfig(space=str(file), output=str(folder))
    folder.mkdir()
    replace(
        plan_of(load_config(None, given), replace(settings, output=None), given, {}), settings=settings, folder=folder
    ).write()
    file.unlink()
    assert taken_up(folder, {"data": "builtin:digits"}, {}).space.parameters
    with pytest.raises(InputError, match="strategy: "):
        taken_up(folder, {"strategy": "full"}, {})


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
