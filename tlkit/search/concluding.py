"""The end of a search: the winner run again under new seeds, held against the default, retrained, and written down."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tlkit import console, environment, run
from tlkit.config import Config
from tlkit.config_files import config_to_toml, load_config
from tlkit.errors import InputError
from tlkit.intervals import number_groups
from tlkit.report.files import read_json, read_table
from tlkit.report.search_page import write_search_page
from tlkit.report.words import counted
from tlkit.search import clock
from tlkit.search.executing import Executor, Trial, require_same_truth
from tlkit.search.folder import (
    COMPLETED,
    DEFAULT,
    ENDED,
    PROBABILITIES,
    REPEATS_FROM,
    RESULT,
    TESTED,
    TRUTH,
    WINNER,
    Record,
    prune,
    read_records,
    trial_folder,
)
from tlkit.search.importance import importance
from tlkit.search.objectives import paired_gain
from tlkit.search.plan import Plan
from tlkit.search.ranking import kept_numbers, ranked
from tlkit.search.recipes import changed_options, needs_head_alone

TOLD = {WINNER: "winner", DEFAULT: "default recipe"}
CURVES = 5  # Of the best trials, beside that of the default recipe.


def conclude(plan: Plan, records: list[Record]) -> Path:
    """Runs what the claim needs, writes search.json, search.html and config.toml, and tells the result.

    Args:
        plan: The search.
        records: Of its trials.

    Returns:
        The path of search.html.
    """
    with clock.counting(plan.folder, clock.END) as seconds:
        return _conclude(plan, records, seconds)


def _conclude(plan: Plan, records: list[Record], seconds: Callable[[], float]) -> Path:
    best = ranked(plan, records)[0]
    default = next((one for one in records if one.number == 0 and one.status == COMPLETED), None)
    recipe = _final_recipe(plan, best)
    recipes = {WINNER: recipe}
    gains: dict[str, Any] = {"validation": None, "test": None}
    compared = default is not None and best.identity != default.identity
    with closing(plan.executor("repeats")) as executor:
        if compared and default is not None:
            recipes[DEFAULT] = _final_recipe(plan, default)
            gains["validation"] = _validation_gain(plan, executor, {WINNER: best, DEFAULT: default}, recipes)
        for name, wanted in recipes.items():
            _retrain(plan, executor, name, wanted)
    if compared:
        gains["test"] = _test_gain(plan) | {"winners": _winners_tested(plan, best)}
    run.write_text(plan.folder / run.CONFIG, config_to_toml(recipe))
    result = result_of(plan, read_records(plan.folder), best, recipe, gains, seconds())
    run.write_json(plan.folder / RESULT, result)
    page = write_search_page(plan.folder)
    prune(plan.folder, kept_numbers(plan, records))
    for line in (*result["verdict"], "", f"Winner: {plan.folder / WINNER}", f"Report: {page}"):
        console.say(line)
    return page


def _final_recipe(plan: Plan, best: Record) -> Config:
    return load_config(trial_folder(plan.folder, best.number) / run.CONFIG)


def _validation_gain(
    plan: Plan, executor: Executor, sides: dict[str, Record], recipes: dict[str, Config]
) -> dict[str, Any]:
    """Runs both recipes again under new seeds and compares them: the score that made the winner win is left out.

    A convex head comes out the same under every seed: it is not run again, and `selected` tells so, as it does where
    no run was to be repeated.
    """
    probabilities, selected = {}, []
    for place, (name, record) in enumerate(sides.items()):
        found = _repeats(plan, executor, name, recipes[name], REPEATS_FROM + place * 1000)
        if not found:
            selected.append(name)
            found = [trial_folder(plan.folder, record.original)]
        probabilities[name] = [np.load(path / PROBABILITIES) for path in found]
    truth = read_json(plan.folder / TRUTH)
    labels = np.asarray(truth["labels"], np.int64)
    units = number_groups(truth["groups"])
    both = (probabilities[WINNER], probabilities[DEFAULT])
    return dict(paired_gain(plan.objective, labels, *both, units=units, seed=0)) | {"selected": selected}


def _repeats(plan: Plan, executor: Executor, name: str, recipe: Config, number: int) -> list[Path]:
    if needs_head_alone(recipe):
        return []
    folders = []
    for repeat in range(1, plan.settings.repeats + 1):
        seed = recipe.training.seed + repeat
        again = replace(recipe, training=replace(recipe.training, seed=seed))
        with console.step(f"Running the {TOLD[name]} again under seed {seed}"):
            own = trial_folder(plan.folder, number + repeat)
            if not (own / PROBABILITIES).exists():  # Without them its record is of no use.
                shutil.rmtree(own, ignore_errors=True)
            record = executor.run(Trial(number + repeat, again, {}, seed=seed))
        if record.status == COMPLETED:
            folders.append(trial_folder(plan.folder, record.original))
    return folders


def _retrain(plan: Plan, executor: Executor, name: str, recipe: Config) -> None:
    """Makes a normal run of a recipe, test images included, unless it is there already."""
    folder = plan.folder / name
    wanted = config_to_toml(recipe)
    note = plan.folder / f"{name}.toml"
    if (folder / run.METRICS).exists() and note.exists() and note.read_text(encoding="utf-8") == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    work = plan.folder / f"{name}-log"
    work.mkdir(exist_ok=True)
    run.write_text(work / run.CONFIG, wanted)
    with console.step(f"Training the {TOLD[name]} as a run of its own, {folder}"):
        found = executor.tasks.run(work, {"work": "finetune", "output": str(folder)}, float("inf"))
    if "reason" in found:
        raise InputError(
            f"Expected the {TOLD[name]} to train again. Received: {found['reason']} ({found['message']}). Go on with: "
            f"tlkit search --resume --output {plan.folder}"
        )
    require_same_truth(read_json(plan.folder / TRUTH), found)
    run.write_text(note, wanted)
    shutil.rmtree(work, ignore_errors=True)


def _test_gain(plan: Plan) -> dict[str, Any]:
    """Compares the two runs on the test images, which no trial has seen."""
    found, labels, units = [], np.zeros(0, np.int64), None
    for name in (WINNER, DEFAULT):
        folder = plan.folder / name
        rows = read_table(folder / run.PREDICTIONS, ("split", "label"))
        tested = (rows["split"] == "test").to_numpy()
        names = run.read_labels(folder)
        labels = np.array([names.index(label) for label in rows["label"][tested]], np.int64)
        found.append(np.load(folder / run.PROBABILITIES)[tested])
        manifest = read_table(folder / run.MANIFEST, ("item", "group"))
        groups = dict(zip(manifest["item"], manifest["group"], strict=True))
        units = number_groups([groups[item] for item in rows["item"][tested]])
    if not len(labels):
        return {"images": 0, "gain": None, "interval": None}
    return dict(paired_gain(plan.objective, labels, [found[0]], [found[1]], units=units, seed=0))


def _winners_tested(plan: Plan, best: Record) -> int:
    """Returns how many winners have been held against the test images: after resuming it may be another one."""
    path = plan.folder / TESTED
    tested = read_json(path)["trials"] if path.exists() else []
    if best.number not in tested:
        tested.append(best.number)
        run.write_json(path, {"trials": tested})
    return len(tested)


def result_of(
    plan: Plan, records: list[Record], best: Record, recipe: Config, gains: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Returns the content of search.json.

    Args:
        plan: The search.
        records: Of its trials and repeats.
        best: The best trial.
        recipe: The winner's.
        gains: Of the winner over the default recipe, `validation` and `test`, None where there is none.
        seconds: That the end of the search took, in all its sessions.
    """
    tried = [one for one in records if one.number < REPEATS_FROM and one.status in ENDED]
    succeeded = [one for one in tried if one.status == COMPLETED and one.number]
    own = trial_folder(plan.folder, 0) / run.CONFIG  # As it ran: the time for trials may have been changed since.
    default = load_config(own) if own.exists() else plan.default_recipe()
    result = {
        "version": 1,
        "space": plan.space.to_dict(),
        "settings": vars(plan.settings) | {"folder": str(plan.folder)},
        "data": plan.base.data.data,
        "direction": plan.objective.direction,
        "trials": [vars(one) for one in tried],
        "repeats": [vars(one) for one in records if one.number >= REPEATS_FROM and one.status in ENDED],
        "best": best.number,
        "changes": changed_options(recipe, default),
        "gains": gains,
        "importance": importance(plan.space, succeeded, plan.objective),
        "curves": _curves(plan, tried, best),
        "seconds": _where_time_went(plan, tried, seconds),
        "environment": environment.describe(),
    }
    return result | {"verdict": tell_result(result)}


def _curves(plan: Plan, tried: list[Record], best: Record) -> list[dict[str, Any]]:
    chosen = ranked(plan, tried)[:CURVES]
    if not any(one.number == 0 for one in chosen):
        chosen += [one for one in tried if one.number == 0 and one.status == COMPLETED]
    curves = []
    for one in chosen:
        path = trial_folder(plan.folder, one.original) / run.HISTORY
        if path.exists():
            rows = read_table(path, ("phase", "epoch", "val_loss", "val_accuracy"))
            points = [
                {name: float(row[name]) for name in ("val_loss", "val_accuracy")}
                for _, row in rows.iterrows()
                if row["phase"] != "probe" and row["val_loss"] and row["val_accuracy"]
            ]
            curves.append({"trial": one.number, "points": points})
    return [curve for curve in curves if curve["points"]]


def _where_time_went(plan: Plan, tried: list[Record], concluding: float) -> dict[str, float]:
    """Seconds by what they went to; those of several workers add up."""
    spent: dict[str, float] = {}
    for one in tried:
        for name, value in one.seconds.items():
            spent[name] = spent.get(name, 0.0) + value
    searching = plan.seconds_used()
    rest = max(searching * plan.settings.workers - sum(spent.values()), 0.0)
    parts = spent | {"proposals and waiting": rest, "winner and default again": concluding}
    return {name: round(value, 3) for name, value in parts.items()} | {"wall": round(searching + concluding, 3)}


def tell_result(result: dict[str, Any]) -> list[str]:
    """Returns what was found, in sentences."""
    trials = result["trials"]
    failed = [one for one in trials if one["status"] != COMPLETED]
    name = result["settings"]["objective"]
    lines = [f"{counted(len(trials), 'trial')}, {len(failed)} failed; the best is trial {result['best']}."]
    validation, test = result["gains"]["validation"], result["gains"]["test"]
    if validation is None:
        lines.append(
            "No trial was better than the default recipe on validation."
            if result["best"] == 0
            else "The default recipe failed: there is nothing to hold the winner against."
        )
        return lines
    for part, gain in (("validation", validation), ("test", test)):
        if gain and gain["interval"]:
            low, high = gain["interval"]
            shown = "more than chance" if low > 0 else "less than the default" if high < 0 else "no more than chance"
            lines.append(
                f"On {gain['images']:,} {part} images the winner's {name} is {gain['winner']:.4f}, the default's "
                f"{gain['default']:.4f}: a gain of {gain['gain']:+.4f} (95 % interval {low:+.4f} to {high:+.4f}), "
                f"{shown}."
            )
            if WINNER in gain.get("selected", ()):
                lines[-1] += " It is the score that the winner was chosen by, which flatters it."
            if gain.get("winners", 1) > 1:
                lines[-1] += f" It is the {gain['winners']}. winner that these images have been shown."
    return lines
