"""What a search is to do: written to its folder, read by its workers, compared when it is taken up again."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit import run
from tlkit.config import AUTO, AUTO_SECONDS, Config, SearchConfig
from tlkit.config_files import ConfigError, config_from_dict, options_of_file, section_from
from tlkit.durations import parse_duration
from tlkit.errors import InputError
from tlkit.rules import told_by
from tlkit.search import clock
from tlkit.search.folder import SETTINGS, VERSION, read_settings
from tlkit.search.objectives import Objective, get_objective
from tlkit.search.recipes import changed_options, default_recipe, with_values
from tlkit.search.roles import TUNER_ID
from tlkit.search.space import Space

if TYPE_CHECKING:
    from tlkit.search.executing import Executor

WAIT_SECONDS = 0.5
DEFAULT_SHARE = 0.2  # Of the time for all trials, that the default recipe may train where its strategy is auto.
MOST_TOLD = 5  # Differences of a space.
FREE = ("trials", "time_budget", "workers", "keep", "repeats", "resume", "output")  # May change on resuming.


@dataclass(frozen=True)
class Plan:
    """A search.

    Attributes:
        folder: Where it is written.
        base: Options that no trial changes; its split has a seed of its own.
        space: What is searched.
        settings: How.
        data_marks: Of its pictures, from `data_marks.marks_of_data`; None where they were not looked at.
    """

    folder: Path
    base: Config
    space: Space
    settings: SearchConfig
    data_marks: dict[str, str] | None = None

    @property
    def objective(self) -> Objective:
        """What is made better."""
        return get_objective(self.settings.objective)

    def default_recipe(self) -> Config:
        """Returns trial 0: what `tlkit finetune` would do, in a share of the time for all trials where that is less."""
        recipe = default_recipe(self.base, self.space)
        if recipe.training.strategy != AUTO or recipe.training.time_budget or not self.settings.time_budget:
            return recipe
        seconds = parse_duration(self.settings.time_budget) * DEFAULT_SHARE
        if seconds >= AUTO_SECONDS:
            return recipe
        return replace(recipe, training=replace(recipe.training, time_budget=f"{max(seconds, 1):.0f}s"))

    def executor(self, worker: str = "worker-0") -> Executor:
        """Returns what runs its trials."""
        from tlkit.search.executing import Executor

        max_epochs = self.settings.max_epochs if self.settings.algorithm == "hyperband" else None
        return Executor(self.folder, self.base, self.space, self.default_recipe(), max_epochs=max_epochs, worker=worker)

    def deadline(self) -> float:
        """Returns when trials must have ended, as `time.monotonic()` tells time."""
        if self.settings.time_budget is None:
            return math.inf
        return time.monotonic() + parse_duration(self.settings.time_budget) - self.seconds_used()

    def seconds_used(self) -> float:
        """Returns the seconds that trials have taken so far."""
        return clock.seconds_of(self.folder, clock.TRIALS)

    def write(self) -> None:
        """Writes settings.json."""
        tables = {
            "version": VERSION,
            "settings": dataclasses.asdict(self.settings),
            "space": self.space.to_dict(),
            "base": dataclasses.asdict(self.base),
            "data_marks": self.data_marks,
        }
        run.write_json(self.folder / SETTINGS, tables)


def read_plan(folder: Path) -> Plan:
    """Reads the plan of a search.

    Raises:
        InputError: There is none, or it is damaged.
    """
    found = read_settings(folder)
    return Plan(
        folder,
        config_from_dict(found["base"]),
        Space.from_dict(found["space"]),
        SearchConfig(**found["settings"]),
        found.get("data_marks"),
    )


def folder_to_resume(output: str | None) -> Path:
    """Returns the folder of the search to go on with, or raises InputError where none was named."""
    if output is None:
        raise InputError("Expected the folder of the search to go on with. Name it: --resume --output FOLDER")
    return Path(output)


def asked_again(file: Path | None, given: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[Config, SearchConfig]:
    """Returns the options of a search that is taken up again: as it began, but for those that are given now.

    Args:
        file: TOML file with options of a run, or None.
        given: Options of a run, by name.
        own: Options of a search, by name.

    Raises:
        InputError: There is no such search, or an option is not one.
    """
    old = read_plan(folder_to_resume(own.get("output")))
    options = (options_of_file(file) if file is not None else {}) | dict(given)
    settings = dataclasses.asdict(old.settings) | dict(own)
    if wrong := told_by(lambda values: section_from(SearchConfig, values), settings):
        wrong += told_by(lambda values: with_values(old.base, values), options)
        raise ConfigError("\n".join(wrong).splitlines())
    return with_values(old.base, options), section_from(SearchConfig, settings)


def resumed(old: Plan, wanted: Plan, given: Mapping[str, Any]) -> Plan:
    """Returns the plan to go on with.

    Args:
        old: As the search began.
        wanted: As it would begin now.
        given: Options of a search that were given now, by name.

    Raises:
        InputError: What is searched is another; the message says what differs.
    """
    searched = old.space.differences(wanted.space)
    told = {line.partition(":")[0].partition("@")[0] for line in searched}
    differing = [
        f"{name}: {getattr(old.settings, name)}; now {getattr(wanted.settings, name)}"
        for name in given
        if name not in (*FREE, "space") and getattr(old.settings, name) != getattr(wanted.settings, name)
    ]
    bases = (old.base, wanted.base)
    mine, theirs = (changed_options(base, Config()) for base in bases)
    differing += [
        f"{name}: {mine.get(name, 'its default')}; now {theirs.get(name, 'its default')}"
        for name in sorted({*mine, *theirs} - told)
        if mine.get(name) != theirs.get(name)
    ]
    if len(searched) > MOST_TOLD:
        searched = [*searched[:MOST_TOLD], f"{len(searched) - MOST_TOLD} more of the space"]
    if old.settings.space != wanted.settings.space and searched:
        searched = [f"space: {old.settings.space}; now {wanted.settings.space}", *searched]
    if differing := searched + differing:
        raise InputError(
            f"Expected the search that {old.folder} holds. Received another: {'; '.join(differing)}. Give --resume and "
            "--output alone, or search anew into another --output."
        )
    changes = {name: getattr(wanted.settings, name) for name in given if name in FREE}
    return replace(old, settings=replace(old.settings, **changes))


def wait_for_plan(folder: Path, seconds: float) -> Plan:
    """Reads the plan that a chief, perhaps on another machine, writes; waits for it where it is not there yet.

    Raises:
        InputError: There is none in the end.
    """
    until = time.monotonic() + seconds
    while not (folder / SETTINGS).exists() and time.monotonic() < until:
        time.sleep(WAIT_SECONDS)
    if not (folder / SETTINGS).exists():
        raise InputError(
            f"Expected a chief that begins a search in {folder}. Received: none within {seconds:.0f} s. Start it with "
            f"{TUNER_ID}=chief, and see that both have the same folder."
        )
    return read_plan(folder)
