"""A search, read from top to bottom: a plan, trials by one process or many, the winner, the page."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit import console, interruption, run
from tlkit.backbones.registry import get_backbone
from tlkit.backend import start_keras
from tlkit.config import Config, SearchConfig, options
from tlkit.config_files import ConfigError
from tlkit.errors import InputError
from tlkit.preflight import changed, preflight
from tlkit.preparing import split_seed
from tlkit.report.words import counted
from tlkit.rules import told_by
from tlkit.search import clock
from tlkit.search import folder as search_folder
from tlkit.search.data_marks import marks_of_data
from tlkit.search.folder import COMPLETED, ENDED, FAILED, REPEATS_FROM, Record
from tlkit.search.plan import FREE, Plan, folder_to_resume, read_plan, resumed, wait_for_plan
from tlkit.search.presets import SEARCHABLE
from tlkit.search.ranking import best_record, kept_numbers
from tlkit.search.recipes import changed_options, default_recipe
from tlkit.search.roles import chief_address, require_port, role
from tlkit.search.same_data import require_same_data
from tlkit.search.space import Space, describe_space, read_space

if TYPE_CHECKING:
    from tlkit.search.executing import Executor

PATIENCE_SECONDS = 300.0  # That a worker waits for its chief to begin.


def search(
    config: Config, settings: SearchConfig, given: Mapping[str, Any] | None = None, own: Mapping[str, Any] | None = None
) -> Path:
    """Searches hyperparameters and returns the folder of the search.

    Args:
        config: Options that no trial changes; those that the space varies are what the default recipe has. Where a
            search is taken up again: as `plan.asked_again` gives them.
        settings: How to search; likewise.
        given: Options of a run that the user gave by name: the space does not vary them.
        own: Options of a search that the user gave by name, for comparing where a search is taken up again.

    Raises:
        InputError: Something cannot be used, or no trial succeeded.
    """
    # --- What is asked for, checked before anything slow starts ------------------------------------------------------
    plan = make_plan(config, settings, given or {}, own or {})
    if role() == "chief":
        require_port()
    with search_folder.owned(plan.folder):
        if settings.resume:
            plan = replace(plan, data_marks=require_same_data(plan))
        if role() is None:  # Workers on other machines may be writing already.
            run.remove_unfinished(plan.folder)
        plan.write()
        tell_plan(plan)

        try:
            with interruption.watched(_nothing):
                # --- Trials, until there are enough of them or time is over ------------------------------------------
                with closing(plan.executor()) as executor:
                    if not _is_served(plan):
                        executor.begin()  # Its process imports Keras while this one imports KerasTuner.
                    oracle = _start_oracle(plan)
                    _run_trials(plan, oracle, executor)

                # --- What came of them -------------------------------------------------------------------------------
                return _conclude(plan)
        except KeyboardInterrupt:
            console.say(f"  Go on with: tlkit search --resume --output {plan.folder}")
            raise


def _nothing() -> None:
    """Is called where a signal waits for a good moment, which here is at once."""


def _start_oracle(plan: Plan) -> Any:
    """Imports KerasTuner, in this process alone, which computes nothing with it, and takes up what it had proposed."""
    with console.step("Starting KerasTuner, which takes a few seconds"):
        start_keras(compute=False)
        from tlkit.search.oracles import make_oracle
    path = plan.folder / search_folder.ORACLE
    oracle = make_oracle(plan.settings, plan.space, plan.objective, plan.base.training.seed, path)
    if path.exists():
        oracle.load()
    return oracle


def _conclude(plan: Plan) -> Path:
    from tlkit.search.concluding import conclude

    records = search_folder.read_records(plan.folder)
    require_success(plan.folder, records)
    console.heading("Winner")
    conclude(plan, records)
    return plan.folder


def make_plan(config: Config, settings: SearchConfig, given: Mapping[str, Any], own: Mapping[str, Any]) -> Plan:
    """Returns what is to be done: a new search, or the rest of one that is taken up again."""
    if settings.resume:
        old = read_plan(folder_to_resume(settings.output))
        if config == old.base and own.keys() <= set(FREE):
            return resumed(old, replace(old, settings=settings), own)
        space = None if "space" in own else old.space
        return resumed(old, _new_plan(config, settings, given, old.folder, space=space), own)
    folder = Path(settings.output) if settings.output else search_folder.default_folder(settings.space)
    return _new_plan(config, settings, given, folder)


def _new_plan(
    config: Config,
    settings: SearchConfig,
    given: Mapping[str, Any],
    folder: Path,
    space: Space | None = None,
) -> Plan:
    """Returns a plan as options given now make it, or raises ConfigError with all that is wrong."""
    problems = [] if settings.resume else told_by(search_folder.require_free, folder)
    try:
        space = space or read_space(settings.space, config, given=given, algorithm=settings.algorithm)
    except InputError as error:
        problems += str(error).splitlines()
    try:
        recipe = config if space is None else default_recipe(config, space)
        checked, manifest = preflight(recipe, new=False)
    except InputError as error:
        problems += str(error).splitlines()
    if problems or space is None:
        raise ConfigError(list(dict.fromkeys(problems)))
    if Path(checked.data.data).exists():
        checked = changed(checked, "data", data=str(Path(checked.data.data).resolve()))
    if not settings.resume:  # Otherwise it is first compared with what there is.
        _require_trained(checked, space)
    base = changed(checked, "data", split_seed=split_seed(checked))
    # What the space holds fixed is its own, and each backbone has a default size of its own.
    base = _with_values_of(config, base, {*space.fixed, "image_size"})
    return Plan(folder, replace(base, run=type(base.run)()), space, settings, marks_of_data(manifest))


def _with_values_of(other: Config, config: Config, names: set[str]) -> Config:
    """Returns a configuration with some options as another one has them."""
    for option in options():
        if option.name in names:
            value = getattr(getattr(other, option.section), option.name)
            config = changed(config, option.section, **{option.name: value})
    return config


def _require_trained(base: Config, space: Space) -> None:
    """Raises InputError where every trial would fit a head to what random weights make of the pictures."""
    recipe = default_recipe(base, space)
    tried = {one.option: one.values for one in space.parameters if one.values}
    names = tried.get("backbone", (recipe.model.backbone,))
    scratch = [name for name in names if not name.lower().endswith(".keras") and get_backbone(name).from_scratch]
    if set(tried.get("strategy", (recipe.training.strategy,))) == {"frozen"} and (
        recipe.model.weights == "none" or len(scratch) == len(names)
    ):
        raise InputError(
            "Expected trained weights where only heads are searched. Received: random weights of "
            f"{' and '.join(names)}. Name a backbone that has weights, or search how all of it trains: --space scratch."
        )


def tell_plan(plan: Plan) -> None:
    """Prints what is searched."""
    rows = describe_space(plan.space)
    console.table(f"Space {plan.space.name}", ("Hyperparameter", "Values", "Where"), rows)
    searched = {one.option for one in plan.space.parameters}
    held = {name: value for name, value in changed_options(plan.base, Config()).items() if name in SEARCHABLE}
    told = [f"{name} {value}" for name, value in (held | plan.space.fixed).items() if name not in searched]
    if told:
        console.say(f"  Held fixed: {', '.join(told)}")
    budget = f" or {plan.settings.time_budget}" if plan.settings.time_budget else ""
    console.say(
        f"  {counted(plan.settings.trials, 'trial')}{budget}, {plan.settings.algorithm}, for validation "
        f"{plan.settings.objective}, in {plan.folder}"
    )
    ended = sum(one.status in ENDED and one.number < REPEATS_FROM for one in search_folder.read_records(plan.folder))
    if ended:
        left = "" if ended < plan.settings.trials else "; no new one is begun"
        console.say(f"  {counted(ended, 'trial')} ended before{left}")


def _is_served(plan: Plan) -> bool:
    """Tells whether workers run the trials, and this process leads them."""
    return role() is not None or plan.settings.workers > 1


def _run_trials(plan: Plan, oracle: Any, executor: Executor) -> None:
    console.heading("Trials")
    with clock.counting(plan.folder, clock.TRIALS):
        if _is_served(plan):
            from tlkit.search.chief import lead

            lead(plan, oracle, Teller(plan, oracle), served=role() == "chief")
            return
        from tlkit.search.working import work

        if not work(oracle, executor, "worker-0", deadline=plan.deadline(), on_trial=Teller(plan, oracle)):
            console.say("  The time for trials is over.")


class Teller:
    """Prints a line for each trial that ends, and removes what losers left on disk."""

    def __init__(self, plan: Plan, oracle: Any) -> None:
        self.plan, self.oracle = plan, oracle

    def __call__(self, record: Record) -> None:
        records = search_folder.read_records(self.plan.folder)
        best = best_record(self.plan, records)
        console.say(f"  {self._line(record, best)}")
        promotable: set[int] = getattr(self.oracle, "promotable", set)()
        search_folder.prune(self.plan.folder, kept_numbers(self.plan, records) | promotable)

    def _line(self, record: Record, best: Record | None) -> str:
        name = self.plan.settings.objective
        values = ", ".join(f"{key} {_short(value)}" for key, value in record.values.items()) or "the default recipe"
        if record.status == FAILED:
            return f"{record.number:4d}  failed: {record.reason}. {record.message} ({values})"
        told = f"as trial {record.copied_from}" if record.copied_from is not None else f"{record.total_seconds:.1f} s"
        mark = "  best" if best is not None and best.number == record.number else ""
        rung = f", {counted(record.epochs, 'epoch')}" if record.epochs else ""
        if self.plan.settings.algorithm == "hyperband" and record.kind == "body" and not record.epochs:
            rung = ", to its end"  # The default recipe does not stop on a rung.
        return f"{record.number:4d}  {name} {record.metrics[name]:.4f}  {told}{rung}  {values}{mark}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def require_success(folder: Path, records: list[Record]) -> None:
    """Raises InputError, with the reasons, where no trial succeeded."""
    if any(one.status == COMPLETED for one in records):
        return
    reasons: dict[str, list[Record]] = {}
    for one in records:
        if one.status == FAILED:
            reasons.setdefault(one.reason, []).append(one)
    if not reasons:
        raise InputError(
            f"Expected time for one trial at least. Received: none ended. Go on with more: tlkit search --resume "
            f"--output {folder} --time-budget 1h"
        )
    told = "; ".join(f"{len(failed)} by {reason} ({failed[0].message})" for reason, failed in reasons.items())
    raise InputError(
        f"Expected one trial at least to succeed. Received: {told}. What each printed lies in "
        f"{os.path.join(folder, search_folder.TRIALS)}."
    )


def join_search(settings: SearchConfig) -> None:
    """Runs trials for the chief that KerasTuner's environment variables name, until it has no more.

    Raises:
        InputError: There is no folder that the chief shares with this machine, or no chief.
    """
    if settings.output is None:
        raise InputError("Expected the folder of the search, which chief and workers share. Name it: --output FOLDER")
    console.say(f"  A worker waits up to {PATIENCE_SECONDS / 60:.0f} minutes for its chief.")
    with console.step(f"Waiting for the chief to begin {settings.output}"):
        wait_for_plan(Path(settings.output), PATIENCE_SECONDS)
    start_keras(compute=False)
    from tlkit.search.service import join, wait_for_chief

    try:
        with console.step("Waiting for the chief at {}:{}".format(*chief_address())):
            wait_for_chief(PATIENCE_SECONDS)
    except InputError:
        if not (Path(settings.output) / search_folder.RESULT).exists():
            raise
        console.say(f"  The search in {settings.output} has ended.")
        return
    with console.step(f"Running trials of {settings.output}"):
        join(Path(settings.output))
