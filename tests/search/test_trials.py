"""Trials on real features: what survives a kill, what is not run twice, what is kept on disk, how failures are told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlkit.cache.locks import try_lock
from tlkit.config_files import load_config
from tlkit.errors import InputError
from tlkit.probe import HeadOptions, fit_head
from tlkit.search import folder as search_folder
from tlkit.search.executing import Trial
from tlkit.search.folder import FEATURES, Record, read_records, trial_folder, write_record
from tlkit.search.head_worker import HeadWorker
from tlkit.search.oracles import make_oracle
from tlkit.search.plan import Plan, read_plan, resumed
from tlkit.search.processes import Stopped, memory_kills, why_it_ended
from tlkit.search.ranking import kept_numbers, ranked
from tlkit.search.searching import require_success
from tlkit.search.space import read_space
from tlkit.search.working import DEFAULT_LOCK, work

# KerasTuner asks threads for their names in a way that Python has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")

MakePlan = Callable[..., Plan]


def oracle_of(plan: Plan) -> Any:
    path = plan.folder / search_folder.ORACLE
    oracle = make_oracle(plan.settings, plan.space, plan.objective, plan.base.training.seed, path)
    if path.exists():
        oracle.load()
    return oracle


def run_all(plan: Plan, **options: Any) -> list[Record]:
    executor = plan.executor()
    try:
        assert work(oracle_of(plan), executor, "worker-0", **options)
    finally:
        executor.close()
    return read_records(plan.folder)


def features_of(plan: Plan) -> Path:
    return next(path for path in (plan.folder / FEATURES).iterdir() if path.is_dir())


def told(record: Record) -> tuple[Any, ...]:
    return record.number, record.values, record.status, record.metrics


def test_the_default_recipe_of_a_worker_that_died_is_run_by_another(make_plan: MakePlan) -> None:
    plan = make_plan("one", trials=4)
    at_the_default = try_lock(plan.folder / DEFAULT_LOCK)
    assert at_the_default is not None
    with ThreadPoolExecutor(1) as thread:
        other = thread.submit(run_all, plan)
        try:
            until = time.monotonic() + 60
            while time.monotonic() < until and not other.done() and len(read_records(plan.folder)) < 3:
                time.sleep(0.05)
            assert not other.done()
        finally:
            at_the_default.release()
        records = other.result(60)
    assert [(one.number, one.status) for one in records] == [(number, "completed") for number in range(4)]


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "grid"])
def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(make_plan: MakePlan, algorithm: str) -> None:
    whole = run_all(make_plan("whole", algorithm=algorithm, trials=8))
    plan = make_plan("killed", algorithm=algorithm, trials=8)
    seen: list[Record] = []

    class KilledError(Exception):
        pass

    def kill(record: Record) -> None:
        seen.append(record)
        if len(seen) == 4:
            raise KilledError

    with pytest.raises(KilledError):
        run_all(plan, on_trial=kill)
    oracle = oracle_of(plan)
    lost = oracle.create_trial("worker-0")  # At work when the kill comes.
    assert lost.status == "RUNNING"
    records = run_all(plan)
    assert [one.number for one in records] == list(range(8))
    assert [told(one) for one in records] == [told(one) for one in whole]


def test_trial_0_is_the_default_recipe_and_all_are_the_runs_that_their_files_describe(make_plan: MakePlan) -> None:
    plan = make_plan(trials=5)
    records = run_all(plan)
    assert records[0].values == {}
    x, y, x_val, y_val = (
        np.load(features_of(plan) / f"{name}.npy")
        for name in ("train", "train-labels", "validation", "validation-labels")
    )
    half = x.shape[1] // 2
    for record in records:
        config = load_config(trial_folder(plan.folder, record.number) / "config.toml")
        columns = {"avg": slice(0, half), "max": slice(half, None), "both": slice(None)}[config.model.pooling or "avg"]
        training = config.training
        wanted = HeadOptions(training.head, training.penalty, training.balance)
        probe = fit_head(x[:, columns], y, x_val[:, columns], y_val, num_classes=10, wanted=wanted)
        expected = np.mean((x_val[:, columns] @ probe.kernel + probe.bias).argmax(axis=1) == y_val)
        assert record.metrics["accuracy"] == pytest.approx(expected, abs=0.01)
        assert (trial_folder(plan.folder, record.number) / "history.csv").read_text().startswith("phase,epoch,penalty")


def test_the_process_that_fits_heads_imports_no_backend(make_plan: MakePlan, tmp_path: Path) -> None:
    plan = make_plan()
    task = {"features": str(features_of(plan)), "classes": 10, "pooling": "avg", "balance": False}
    with HeadWorker(tmp_path / "log.txt") as heads:
        answers = [
            heads.fit(task | {"head": kind, "penalty": None, "probabilities": str(tmp_path / f"{kind}.npy")}, np.inf)
            for kind in ("logistic", "ridge")
        ]
        wrong = {"head": "ridge", "penalty": None, "balance": True, "probabilities": str(tmp_path / "x.npy")}
        refused = heads.fit(task | wrong, np.inf)
        first = heads.conversation.process
        assert first is not None
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        again = heads.fit(task | {"head": "ridge", "penalty": None, "probabilities": str(tmp_path / "x.npy")}, np.inf)
    assert all(one["backends"] == [] for one in (*answers, refused, again))
    assert all(one["metrics"]["accuracy"] > 0.75 for one in answers), answers
    assert refused["reason"] == "input"
    assert again["metrics"] == answers[1]["metrics"]


def test_a_recipe_that_was_run_is_not_run_again(make_plan: MakePlan) -> None:
    plan = make_plan()
    executor = plan.executor()
    try:
        first = executor.run(executor.proposed(1, {"pooling": "max", "head": "ridge", "penalty": 0.1}))
        same = executor.run(executor.proposed(2, {"pooling": "max", "head": "ridge", "penalty": 0.1, "balance": True}))
        default = executor.run(executor.default())
        assert executor.run(replace(executor.default(), number=0)) == default
    finally:
        executor.close()
    assert (same.copied_from, same.metrics, same.total_seconds) == (1, first.metrics, 0)
    assert ranked(plan, read_records(plan.folder))[0].copied_from is None


def test_what_fails_is_told_with_its_reason(make_plan: MakePlan) -> None:
    plan = make_plan()
    for file in features_of(plan).glob("*.json"):
        file.unlink()
    (features_of(plan) / "config.toml").unlink()
    broken = replace(plan, base=replace(plan.base, model=replace(plan.base.model, weights="/nowhere.h5")))
    executor = broken.executor()
    try:
        with pytest.raises(InputError, match="nowhere"):
            executor.run(executor.default())
        record = executor.run(replace(executor.default(), number=1))
    finally:
        executor.close()
    assert (record.status, record.reason) == ("failed", "input")
    assert not trial_folder(plan.folder, 0).exists()
    with pytest.raises(InputError, match=r"1 by input \(.*nowhere"):
        require_success(plan.folder, read_records(plan.folder))
    assert why_it_ended(-signal.SIGKILL, memory_kills())["reason"] == "killed"
    assert why_it_ended(-signal.SIGKILL, memory_kills() - 1)["reason"] == "out of memory"
    assert "SIGSEGV" in why_it_ended(-signal.SIGSEGV, 0)["message"]


def test_a_deadline_stops_cleanly(make_plan: MakePlan) -> None:
    plan = make_plan()
    executor = plan.executor()
    try:
        assert not work(oracle_of(plan), executor, "worker-0", deadline=time.monotonic())
        assert read_records(plan.folder) == []
        with pytest.raises(Stopped):
            executor.run(executor.default(), time.monotonic() - 1)
        assert not trial_folder(plan.folder, 0).exists()
    finally:
        executor.close()
    with pytest.raises(InputError, match="none ended"):
        require_success(plan.folder, [])


def test_losers_leave_no_models(make_plan: MakePlan) -> None:
    plan = make_plan(keep=2)
    for number, accuracy in enumerate([0.5, 0.9, 0.7, 0.8, 0.6]):
        metrics = {"accuracy": accuracy}
        write_record(plan.folder, Record(number, {}, str(number), "completed", metrics=metrics))
        (trial_folder(plan.folder, number) / "model.keras").write_bytes(b"x" * 1000)
    freed = search_folder.prune(plan.folder, kept_numbers(plan, read_records(plan.folder)))
    left = sorted(int(path.parent.name) for path in plan.folder.rglob("model.keras"))
    assert (left, freed) == ([0, 1, 3], 2000)


def test_what_repeats_said_is_kept_for_a_search_that_goes_on(make_plan: MakePlan) -> None:
    plan = make_plan()
    for number in (7, search_folder.REPEATS_FROM + 1):
        write_record(plan.folder, Record(number, {}, str(number), "completed", metrics={"accuracy": 0.5}))
        for name in ("model.keras", search_folder.PROBABILITIES):
            (trial_folder(plan.folder, number) / name).write_bytes(b"x")
    search_folder.prune(plan.folder, set())
    kept = (plan.folder / search_folder.TRIALS).rglob(search_folder.PROBABILITIES)
    assert [path.parent.name for path in kept] == ["100001"]
    assert not list(plan.folder.rglob("model.keras"))


def test_a_damaged_record_is_told(make_plan: MakePlan) -> None:
    plan = make_plan()
    write_record(plan.folder, Record(3, {}, "3", "completed"))
    file = trial_folder(plan.folder, 3) / "trial.json"
    file.write_text(file.read_text()[:40])
    with pytest.raises(InputError, match=r"trial.json as tlkit search wrote it. Received: a damaged file. Remove "):
        read_records(plan.folder)


def test_hyperband_keeps_what_a_higher_rung_may_want(make_plan: MakePlan) -> None:
    plan = make_plan(algorithm="hyperband", max_epochs=9, trials=40)
    space = read_space("quick")
    oracle = make_oracle(plan.settings, space, plan.objective, 0, None)
    for index in range(5):
        trial = oracle.create_trial("worker-0")
        assert trial.hyperparameters.values["tuner/epochs"] == 1
        oracle.update_trial(trial.trial_id, {"accuracy": index / 10})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    size = oracle._get_size(2, 1)
    assert oracle.promotable() == {number + 1 for number in range(5 - size, 5)}


@pytest.mark.parametrize(("trials", "random"), [(5, 3), (13, 4), (1000, 12)])
def test_a_bayesian_search_learns_before_time_ends_it(make_plan: MakePlan, trials: int, random: int) -> None:
    plan = make_plan(algorithm="bayesian", trials=trials)
    assert make_oracle(plan.settings, read_space("quick"), plan.objective, 0, None).num_initial_points == random


def test_two_searches_cannot_write_one_folder(make_plan: MakePlan) -> None:
    plan = make_plan()
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom tlkit.search.folder import owned\n"
        "with owned(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(plan.folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"process {other.pid}"), search_folder.owned(plan.folder):
            pass
    finally:
        other.kill()
        other.communicate()
    with search_folder.owned(plan.folder):
        pass


def test_another_space_is_told_on_resuming(make_plan: MakePlan) -> None:
    plan = make_plan()
    assert read_plan(plan.folder) == plan
    other = replace(plan, space=read_space("head", plan.base, given={"penalty": 0.1}))
    with pytest.raises(InputError, match=r"penalty: 1e-05 to 10 \(log\); now not searched"):
        resumed(plan, other, {})
    with pytest.raises(InputError, match="objective: accuracy; now ece"):
        resumed(plan, replace(plan, settings=replace(plan.settings, objective="ece")), {"objective": "ece"})
    more = replace(plan, settings=replace(plan.settings, trials=50))
    assert resumed(plan, more, {"trials": 50}).settings.trials == 50


def test_a_worker_that_dies_twice_on_a_trial_has_it_failed(make_plan: MakePlan) -> None:
    plan = make_plan()
    oracle = oracle_of(plan)
    trial = oracle.create_trial("a")
    assert oracle.give_up("a").trial_id == trial.trial_id
    assert oracle.create_trial("b").trial_id == trial.trial_id
    oracle.end_trial(trial)  # Worker b ends it.
    oracle.end_trial(trial)  # Worker a was not dead after all: told twice, it counts once.
    assert oracle.end_order == [trial.trial_id]
    other = oracle.create_trial("a")
    oracle.give_up("a")
    oracle.create_trial("b")
    oracle.give_up("b")
    assert oracle.trials[other.trial_id].status == "FAILED"
    assert json.loads((plan.folder / search_folder.ORACLE).read_text())["trials"][other.trial_id]["status"] == "FAILED"


def test_nobody_is_sent_home_while_another_may_die_over_the_last_trial(make_plan: MakePlan) -> None:
    oracle = oracle_of(make_plan(trials=3))  # The default recipe is one of them.
    first, last = oracle.create_trial("a"), oracle.create_trial("b")
    oracle.update_trial(first.trial_id, {"accuracy": 0.5})
    first.status = "COMPLETED"
    oracle.end_trial(first)
    assert oracle.create_trial("a").status == "IDLE"
    oracle.give_up("b")
    again = oracle.create_trial("a")
    assert (again.trial_id, again.status) == (last.trial_id, "RUNNING")
    oracle.update_trial(again.trial_id, {"accuracy": 0.6})
    again.status = "COMPLETED"
    oracle.end_trial(again)
    assert oracle.create_trial("a").status == "STOPPED"
    assert not oracle.tuner_ids


def test_a_trial_is_numbered_apart_from_the_default(make_plan: MakePlan) -> None:
    plan = make_plan()
    executor = plan.executor()
    assert executor.default() == Trial(0, executor.default().recipe, {})
    first = oracle_of(plan).create_trial("worker-0")
    assert executor.proposed(int(first.trial_id) + 1, first.hyperparameters.values).number == 1
    executor.close()
