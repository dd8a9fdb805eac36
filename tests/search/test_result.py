"""What a search tells in the end: gains, what mattered, and a page that says nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlkit import run
from tlkit.cli import main
from tlkit.config_files import load_config
from tlkit.errors import InputError
from tlkit.report import write_any_report
from tlkit.report.files import read_json
from tlkit.search.concluding import result_of, tell_result
from tlkit.search.folder import RESULT, TRUTH, Record, owned, read_records, trial_folder
from tlkit.search.importance import importance
from tlkit.search.objectives import paired_gain
from tlkit.search.oracles import make_oracle
from tlkit.search.plan import Plan
from tlkit.search.ranking import ranked
from tlkit.search.working import work

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")

MakePlan = Callable[..., Plan]


def searched(plan: Plan) -> list[Record]:
    executor = plan.executor()
    try:
        work(make_oracle(plan.settings, plan.space, plan.objective, 0, None), executor, "worker-0")
    finally:
        executor.close()
    return read_records(plan.folder)


def probabilities(plan: Plan, number: int) -> np.ndarray:
    return np.load(trial_folder(plan.folder, number) / "validation.npy")


def facts_of(plan: Plan, records: list[Record]) -> dict[str, Any]:
    best = ranked(plan, records)[0]
    labels = np.array(read_json(plan.folder / TRUTH)["labels"])
    gain = paired_gain(plan.objective, labels, [probabilities(plan, best.number)], [probabilities(plan, 0)])
    recipe = load_config(trial_folder(plan.folder, best.number) / "config.toml")
    return result_of(plan, records, best, recipe, {"validation": dict(gain) | {"selected": []}, "test": None}, 1.0)


def test_the_page_tells_what_the_search_found(make_plan: MakePlan) -> None:
    plan = make_plan(trials=25, objective="log_loss")
    records = searched(plan)
    records[3] = replace(records[3], status="failed", reason="crash", message="Ended <b>badly</b>", metrics={})
    plan = replace(plan, base=replace(plan.base, data=replace(plan.base.data, data="<script>alert(1)</script>")))
    facts = facts_of(plan, records)
    run.write_json(plan.folder / RESULT, facts)
    page = write_any_report(plan.folder).read_text()
    assert "<script>alert" not in page
    assert "<b>badly" not in page
    assert "Ended &lt;b&gt;badly" in page
    for name in ("head", "pooling", "balance", "penalty"):
        assert f"<figcaption>{name}</figcaption>" in page
    assert f"Winner: trial {facts['best']}" in page
    assert "http" not in re.sub(r"http-equiv", "", page)
    assert write_any_report(plan.folder).read_text() == page
    names = [one["name"] for one in facts["importance"]["shares"]]
    assert sorted(names) == ["balance", "head", "penalty", "pooling"]
    (plan.folder / RESULT).write_text("{")
    with pytest.raises(InputError, match=r"search\.json"):
        write_any_report(plan.folder)


def test_the_page_tells_what_flatters_the_winner(make_plan: MakePlan) -> None:
    plan = make_plan(trials=8)
    facts = facts_of(plan, searched(plan))
    gain = facts["gains"]["validation"] | {"interval": [0.01, 0.03], "selected": []}
    facts["gains"] = {"validation": gain, "test": gain | {"winners": 1}}

    def told() -> tuple[str, str]:
        run.write_json(plan.folder / RESULT, facts)
        return write_any_report(plan.folder).read_text(), " ".join(tell_result(facts))

    page, verdict = told()
    assert "both were run again under new seeds" in page
    assert "looked at once" in page
    assert "flatters" not in page + verdict
    assert page.count('<th scope="col">Accuracy</th>') + page.count('<th scope="col">accuracy</th>') == 1
    gain["selected"] = ["winner", "default"]
    facts["gains"]["test"]["winners"] = 2
    page, verdict = told()
    assert "A convex head comes out the same" in page
    assert "shown 2 winners" in page
    assert "chosen by, which flatters it" in verdict
    assert "the 2. winner that these images have been shown" in verdict
    facts["settings"]["repeats"] = 0
    assert "Nothing was run again under new seeds" in told()[0]


def test_a_search_that_has_not_ended_has_no_page(make_plan: MakePlan, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan()
    assert main(["report", str(plan.folder)]) == 2
    assert f"tlkit search --resume --output {plan.folder}" in " ".join(capsys.readouterr().err.split())


def test_clean_removes_a_search_that_is_not_at_work(make_plan: MakePlan, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan()
    with owned(plan.folder):
        assert main(["clean", str(plan.folder), "--yes"]) == 2
    assert "one is at work" in " ".join(capsys.readouterr().err.split())
    assert main(["clean", str(plan.folder), "--yes"]) == 0
    assert not plan.folder.exists()


def test_importance_finds_what_decides_the_score_and_only_that(make_plan: MakePlan) -> None:
    plan = make_plan()
    generator = np.random.default_rng(0)
    records = []
    for number in range(1, 41):
        penalty = float(10 ** generator.uniform(-5, 1))
        values = {"head": "ridge", "pooling": str(generator.choice(["avg", "max", "both"])), "penalty": penalty}
        score = 0.9 - 0.1 * abs(np.log10(penalty) + 2)
        records.append(Record(number, values, str(number), "completed", metrics={"accuracy": float(score)}))
    found = importance(plan.space, records, plan.objective)
    assert found["shares"][0]["name"] == "penalty"
    assert found["shares"][0]["share"] > 0.5
    assert all(abs(one["share"]) < 0.1 for one in found["shares"][1:])
    assert found["explained"] > 0.7
    assert importance(plan.space, records[:5], plan.objective)["shares"] == []


@pytest.mark.slow
def test_memory_does_not_grow_with_trials(make_plan: MakePlan) -> None:
    plan = make_plan(trials=55)
    resident: list[int] = []

    def look(record: Record) -> None:
        status = Path("/proc/self/status").read_text()
        resident.append(int(status.partition("VmRSS:")[2].split()[0]))

    executor = plan.executor()
    try:
        oracle = make_oracle(plan.settings, plan.space, plan.objective, 0, plan.folder / "oracle.json")
        work(oracle, executor, "worker-0", on_trial=look)
    finally:
        executor.close()
    assert max(resident[5:]) < 1.1 * resident[5]
    peaks = [one.peak_memory_bytes for one in read_records(plan.folder)]
    assert peaks[-1] < 1.1 * peaks[5]
