"""Processes of trials: forked from one, ended at a deadline and with whoever wanted them, replaced where they died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tlkit.run import write_text
from tlkit.search.processes import Stopped
from tlkit.search.tasks import CAN_FORK, TaskRunner

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="processes are started afresh on this system")

Children = Callable[[int], list[int]]
PATIENCE = 60.0
BROKEN = '[data]\ndata = "/nowhere"\n'
LONG = '[data]\ndata = "builtin:digits"\n[model]\nbackbone = "scratch:mnist_cnn"\nimage_size = 64\n'
LONG += '[training]\nstrategy = "scratch"\nepochs = 1000\n'


def wait_until(holds: Callable[[], Any]) -> Any:
    """Returns what a condition gives once it holds."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := holds():
            return found
        time.sleep(0.05)
    pytest.fail("it did not come to be in time")


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[TaskRunner]:
    found = TaskRunner(tmp_path / "server.txt")
    yield found
    found.close()


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], Path]:
    def make(config: str) -> Path:
        path = tmp_path / f"task {len(list(tmp_path.iterdir()))}"
        path.mkdir()
        write_text(path / "config.toml", config)
        return path

    return make


def server_of(runner: TaskRunner) -> int:
    assert runner.server.process is not None
    return runner.server.process.pid


def test_tasks_are_forked_from_one_process_and_leave_a_result_and_a_log(
    runner: TaskRunner, folder: Callable[[str], Path], children: Children
) -> None:
    places = [folder(BROKEN), folder(BROKEN)]
    found, servers = [], []
    for place in places:
        found.append(runner.run(place, {"work": "train"}, time.monotonic() + PATIENCE))
        servers.append(server_of(runner))
        assert "/nowhere" in (place / "log.txt").read_text()
    assert [one["reason"] for one in found] == ["input", "input"]
    assert servers[0] == servers[1]
    assert children(servers[0]) == []


def test_a_deadline_ends_a_task_and_a_dead_process_is_told_and_replaced(
    runner: TaskRunner, folder: Callable[[str], Path], children: Children
) -> None:
    runner.run(folder(BROKEN), {"work": "train"}, time.monotonic() + PATIENCE)
    with pytest.raises(Stopped):
        runner.run(folder(LONG), {"work": "train"}, time.monotonic() + 3)
    server = server_of(runner)
    assert children(server) == []

    def killed(victim: Callable[[], int]) -> dict[str, Any]:
        place = folder(LONG)
        answers: list[dict[str, Any]] = []
        thread = threading.Thread(
            target=lambda: answers.append(runner.run(place, {"work": "train"}, time.monotonic() + PATIENCE))
        )
        thread.start()
        wait_until(lambda: (place / "log.txt").exists() and (place / "log.txt").stat().st_size)
        os.kill(victim(), signal.SIGKILL)
        thread.join(PATIENCE)
        return answers[0]

    assert killed(lambda: children(server)[0])["reason"] == "killed"
    assert server_of(runner) == server
    orphans: list[int] = []

    def kill_server() -> int:
        orphans.extend(children(server))
        return server

    assert killed(kill_server)["reason"] == "killed"
    wait_until(lambda: not any(Path(f"/proc/{one}").exists() for one in orphans))
    assert runner.run(folder(BROKEN), {"work": "train"}, time.monotonic() + PATIENCE)["reason"] == "input"
    assert server_of(runner) != server


def test_a_task_ends_with_the_search_that_wanted_it(
    tmp_path: Path, folder: Callable[[str], Path], children: Children
) -> None:
    place = folder(LONG)
    code = "import sys; from pathlib import Path; from tlkit.search.tasks import TaskRunner; "
    code += "TaskRunner(Path(sys.argv[2])).run(Path(sys.argv[1]), {'work': 'train'}, float('inf'))"
    search = subprocess.Popen([sys.executable, "-c", code, str(place), str(tmp_path / "server.txt")])
    try:
        wait_until(lambda: (place / "log.txt").exists() and (place / "log.txt").stat().st_size)
        server = children(search.pid)[0]
        task = children(server)[0]
    finally:
        search.kill()
        search.wait()
    wait_until(lambda: not any(Path(f"/proc/{one}").exists() for one in (server, task)))
    assert not (place / "result.json").exists()
