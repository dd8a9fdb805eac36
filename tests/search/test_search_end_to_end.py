"""A whole search by the command line: trials, the claim, the pages, the winner as a run; and the ways it can end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tlkit.cli import main
from tlkit.config_files import load_config
from tlkit.report import write_any_report
from tlkit.report.files import read_json
from tlkit.search.folder import read_records

COMMAND = [sys.executable, "-c", "import sys; from tlkit.cli import main; sys.exit(main())", "search"]

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four digits, 200 pictures."""
    x, y = load_digits(return_X_y=True)
    rows = np.flatnonzero(y < 4)[:200]
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(path, images=(x[rows].reshape(-1, 8, 8) * 15.9).astype("uint8"), labels=y[rows])
    return str(path)


def search(data: str, output: Path, *arguments: str) -> list[str]:
    return ["--data", data, "--image-size", "32", "--output", str(output), *arguments]


def of_trial(folder: Path, number: int) -> Any:
    return next(one for one in read_records(folder) if one.number == number)


def test_mistakes_are_told_in_a_line_each(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", *search(data, tmp_path / "a", "--objective", "acuracy", "--algorithm", "grit")]) == 2
    told = capsys.readouterr().err
    assert "Did you mean 'accuracy'?" in told
    assert "Did you mean 'grid'?" in told
    assert main(["search", *search(data, tmp_path / "a", "--space", "quikc")]) == 2
    assert "Did you mean 'quick'?" in capsys.readouterr().err
    assert main(["search", *search(data, tmp_path / "a", "--resume")]) == 2
    assert "has no settings.json" in capsys.readouterr().err
    assert main(["search", "--data", data, "--resume"]) == 2
    assert "--resume --output FOLDER" in capsys.readouterr().err
    assert main(["search", *search(data, tmp_path / "a", "--space", "full", "--algorithm", "hyperband")]) == 2
    assert "gradual" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_head_search_from_data_to_winner(data: str, tmp_path: Path) -> None:
    folder = tmp_path / "search"
    assert main(["search", *search(data, folder, "--space", "head", "--trials", "15", "--objective", "log_loss")]) == 0
    facts = read_json(folder / "search.json")
    assert len(facts["trials"]) == 15
    assert {one["status"] for one in facts["trials"]} == {"completed"}
    assert {one["kind"] for one in facts["trials"]} == {"head"}
    assert len(list((folder / "features").glob("*/result.json"))) == 1
    scores = [one["metrics"]["log_loss"] for one in facts["trials"]]
    assert facts["best"] == int(np.argmin(scores))
    winner = read_json(folder / "winner" / "metrics.json")
    assert winner["validation"]["log_loss"] == pytest.approx(min(scores), rel=0.02)
    assert load_config(folder / "config.toml").training.strategy == "frozen"
    if facts["best"]:
        assert facts["gains"]["test"]["images"] == winner["test"]["num_images"]
        assert facts["gains"]["validation"]["gain"] > 0
    page = (folder / "search.html").read_text()
    write_any_report(folder)
    assert (folder / "search.html").read_text() == page
    for part in ("What mattered", "Slices", "penalty", "all, by the clock"):
        assert part in page
    models = [path.parent.name for path in folder.glob("trials/*/validation.npy")]
    assert len(models) <= 4
    # The same again is refused, and going on has nothing left to do but says so by ending well.
    assert main(["search", *search(data, folder)]) == 2
    assert main(["search", "--resume", "--output", str(folder)]) == 0
    assert read_json(folder / "search.json")["trials"] == facts["trials"]


@pytest.mark.slow
def test_body_trials_run_in_processes_and_a_killed_search_goes_on(data: str, tmp_path: Path) -> None:
    space = tmp_path / "space.toml"
    space.write_text(
        '[space]\nstrategy = ["partial", "frozen"]\naugment = "none"\npooling = "default"\n'
        "layer_decay = 'default'\nlabel_smoothing = 'default'\nlearning_rate = [1e-4, 1e-3, 1e18]\n"
    )
    folder = tmp_path / "search"
    arguments = search(data, folder, "--space", str(space), "--algorithm", "grid", "--trials", "5", "--epochs", "1")
    first = subprocess.Popen([*COMMAND, *arguments, "--repeats", "1", "--keep", "1"], start_new_session=True)
    try:
        until = time.monotonic() + 300
        while not any(one.number == 1 for one in read_records(folder)) and time.monotonic() < until:
            time.sleep(0.2)
        os.killpg(first.pid, signal.SIGKILL)  # With its children: none has the same group.
    finally:
        first.kill()
        first.wait()
    (folder / "trials" / "0000" / ".model.keras.abc.writing").write_bytes(b"half")
    before = {one.number: one.metrics for one in read_records(folder) if one.status == "completed"}
    assert 0 in before
    assert main(["search", "--resume", "--output", str(folder)]) == 0
    assert not list(folder.rglob("*.writing"))
    records = {one.number: one for one in read_records(folder) if one.number < 100_000}
    assert sorted(records) == [0, 1, 2, 3, 4]
    assert all(records[number].metrics == metrics for number, metrics in before.items())
    failed = [one for one in records.values() if one.status == "failed"]
    assert [one.reason for one in failed] == ["not finite"]
    assert failed[0].values["learning_rate"] == 1e18
    kept = {path.parent.name for path in folder.glob("trials/*/model.keras")}
    assert len([name for name in kept if int(name) < 100_000]) <= 2
    assert json.loads((folder / "search.json").read_text())["seconds"]["wall"] > 0


@pytest.mark.slow
def test_a_time_budget_ends_a_search_cleanly(data: str, tmp_path: Path) -> None:
    folder = tmp_path / "search"
    arguments = search(data, folder, "--space", "head", "--trials", "500", "--time-budget", "40s")
    assert main(["search", *arguments]) == 0
    found = read_records(folder)
    assert 0 < len(found) < 500
    assert all(one.status == "completed" for one in found)
    assert (folder / "winner" / "model.keras").exists()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ends a worker and what it has started by their group")
def test_chief_and_workers_find_each_other_by_kerastuners_variables(data: str, tmp_path: Path) -> None:
    folder = tmp_path / "search"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        variables = {"TUNER_ID": name, "ORACLE_IP": "127.0.0.1", "ORACLE_PORT": port}
        environment = {f"KERASTUNER_{key}": value for key, value in variables.items()}
        return subprocess.Popen([*COMMAND, *arguments], env=os.environ | environment, start_new_session=True)

    workers = [start(f"worker-{letter}", "--output", str(folder)) for letter in "abc"]  # They wait for their chief.
    processes = [*workers, start("chief", *search(data, folder, "--space", "head", "--trials", "40"))]
    try:
        until = time.monotonic() + 300
        while len([one for one in read_records(folder) if one.status == "completed"]) < 5 and time.monotonic() < until:
            time.sleep(0.1)
        os.killpg(workers[0].pid, signal.SIGKILL)
        assert processes[-1].wait(300) == 0
        assert [worker.wait(60) for worker in workers] == [-signal.SIGKILL, 0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    records = [one for one in read_records(folder) if one.number < 100_000]
    assert sorted(one.number for one in records) == list(range(40))
    assert {one.status for one in records} == {"completed"}
    assert (folder / "winner" / "model.keras").exists()
