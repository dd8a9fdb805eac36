"""Chief and workers as real processes on loopback, one of them killed; and what is told where that is asked wrongly."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tlkit.errors import InputError
from tlkit.search import folder as search_folder
from tlkit.search.chief import Crew, lead
from tlkit.search.folder import read_records
from tlkit.search.oracles import make_oracle
from tlkit.search.plan import Plan
from tlkit.search.roles import ORACLE_IP, ORACLE_PORT, TUNER_ID, role
from tlkit.search.service import join, serving, wait_for_chief

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")

MakePlan = Callable[..., Plan]


def oracle_of(plan: Plan) -> Any:
    return make_oracle(plan.settings, plan.space, plan.objective, 0, plan.folder / search_folder.ORACLE)


def worker_named(name: str, among: list[int]) -> int | None:
    """The process of a worker, by its environment."""
    for pid in among:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if f"{TUNER_ID}={name}".encode() in file.read().split(b"\0"):
                return pid
    return None


def test_a_port_that_is_taken_is_told(make_plan: MakePlan) -> None:
    oracle = oracle_of(make_plan())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(InputError, match="Expected a free port"),
            serving(oracle, "127.0.0.1", taken.getsockname()[1]),
        ):
            pass
    with (
        serving(oracle, "127.0.0.1", 0) as (_, port),
        pytest.raises(InputError, match=str(port)),
        serving(oracle, "127.0.0.1", port),
    ):
        pass


def test_a_chief_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch, make_plan: MakePlan) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv(TUNER_ID, "worker-0")
    monkeypatch.setenv(ORACLE_IP, "127.0.0.1")
    monkeypatch.setenv(ORACLE_PORT, str(port))
    with pytest.raises(InputError, match=f"a chief that answers at 127.0.0.1:{port}. Received: nothing for 1 s"):
        wait_for_chief(1.0)
    monkeypatch.setattr("keras_tuner.src.distribute.oracle_client.TIMEOUT", 1.0)
    plan = make_plan()
    with pytest.raises(InputError, match="Start it, or take it up again"):
        join(plan.folder)
    with serving(oracle_of(make_plan("other")), "127.0.0.1", port):
        wait_for_chief(10.0)


def test_an_error_of_the_oracle_ends_the_search(make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(workers=2)
    oracle = oracle_of(plan)

    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(oracle, "populate_space", fail)

    def ask() -> None:
        with contextlib.suppress(OSError):
            oracle.create_trial("worker-0")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(10)
    assert oracle.give_up("worker-0") is None  # The lock is free.
    with pytest.raises(OSError, match="No space left"):
        lead(plan, oracle, lambda record: None, served=False)


def test_a_mistake_that_no_worker_can_mend_ends_the_search_in_a_line(make_plan: MakePlan) -> None:
    plan = make_plan(workers=2)
    features = next((plan.folder / search_folder.FEATURES).iterdir())
    (features / "result.json").unlink()
    plan = replace(plan, base=replace(plan.base, data=replace(plan.base.data, data="/nowhere")))
    plan.write()
    with pytest.raises(InputError, match=r"^[^\n]*/nowhere[^\n]*once they are back"):
        lead(plan, oracle_of(plan), lambda record: None, served=False)
    assert not [one for one in read_records(plan.folder) if one.status == "failed"]


def test_a_trial_over_which_two_workers_died_is_a_failed_trial(make_plan: MakePlan) -> None:
    plan = make_plan(workers=2)
    oracle, crew = oracle_of(plan), Crew(plan, "127.0.0.1:1")
    told = []
    for name in ("local-0", "local-1"):
        oracle.create_trial(name)
        told.append(crew._give_up(oracle, name))
    assert told == ["; trial 1 is given to another", "; trial 1 fails: another had died over it"]
    failed = read_records(plan.folder)[0]
    assert (failed.number, failed.status, failed.reason) == (1, "failed", "killed")
    assert crew._give_up(oracle, "local-0") == ""


def test_one_trial_is_the_default_recipe_alone(make_plan: MakePlan) -> None:
    assert oracle_of(make_plan(trials=1)).create_trial("worker-0").status == "STOPPED"


def test_the_role_is_that_of_kerastuners_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (TUNER_ID, ORACLE_IP, ORACLE_PORT):
        monkeypatch.delenv(name, raising=False)
    assert role() is None
    monkeypatch.setenv(ORACLE_IP, "10.0.0.1")
    with pytest.raises(InputError, match=ORACLE_PORT):
        role()
    monkeypatch.setenv(ORACLE_PORT, "8000")
    with pytest.raises(InputError, match=TUNER_ID):
        role()
    monkeypatch.setenv(TUNER_ID, "chief")
    assert role() == "chief"
    monkeypatch.setenv(TUNER_ID, "worker7")
    assert role() == "worker"
    monkeypatch.setenv(ORACLE_PORT, "eighty")
    with pytest.raises(InputError, match="'eighty'"):
        role()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc to find the worker that it kills")
def test_all_trials_end_though_a_worker_is_killed(make_plan: MakePlan, children: Callable[[int], list[int]]) -> None:
    plan = make_plan(trials=60, workers=3)
    oracle, seen = oracle_of(plan), []
    killed: list[int] = []

    def kill_one() -> None:
        while not killed:
            pid = worker_named("local-1", children(os.getpid()))
            if pid is not None and "local-1" in oracle.ongoing_trials:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.01)

    threading.Thread(target=kill_one, daemon=True).start()
    lead(plan, oracle, seen.append, served=False)
    records = read_records(plan.folder)
    assert killed
    assert [one.number for one in records] == list(range(60))
    assert {one.status for one in records} == {"completed"}
    assert sorted(one.number for one in seen) == list(range(60))
    assert not oracle.ongoing_trials
    assert {trial.status for trial in oracle.trials.values()} == {"COMPLETED"}
