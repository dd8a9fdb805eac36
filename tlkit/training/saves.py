"""The states of a training: what is saved after each phase and each epoch, and found again by a later process.

Between phases a state holds the model and what the phases so far have brought; within a phase also how its gradient
training stands. What is not in it is a function of the model, the data and the settings, and is made anew.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.checkpoints import Checkpoint, Saved
from tlkit.errors import InputError
from tlkit.phase_gains import Gain
from tlkit.phases import Phase
from tlkit.training.outcome import FineTuneHistory, PhaseOutcome

if TYPE_CHECKING:
    from tlkit.training.job import Job

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Saving:
    """Where and how often the state of a training is saved.

    Attributes:
        folder: A folder of its own; where it holds the state of a training, that is taken up.
        every_steps: Save also within epochs, after so many steps.
        every_minutes: Save also within epochs, after so many minutes.
    """

    folder: str | Path
    every_steps: int | None = None
    every_minutes: float | None = None

    def __post_init__(self) -> None:
        for name in ("every_steps", "every_minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"Expected {name} greater than 0. Received: {value:g}.")


@dataclass(frozen=True)
class FitState:
    """A phase's gradient training after an epoch, or within one.

    Attributes:
        facts: JSON-able: `epoch` and `step` to go on with, both from 0, and what the callbacks know.
        weights: Of the part that trains.
        rest: Its seeds and the optimizer's variables.
        metrics: Of the metrics; empty between epochs.
        best: The weights of the best epoch so far.
        start: The weights that the gradient training began with.
        good: The last state between epochs, for one within an epoch.
    """

    facts: dict[str, Any]
    weights: Arrays
    rest: Arrays
    metrics: Arrays
    best: Arrays
    start: Arrays
    good: FitState | None = None


@dataclass
class Saves:
    """Where a training saves its states, if anywhere, and what it found there.

    Attributes:
        saving: Where and how often; None saves nothing.
        resumed: How the gradient training of the current phase stood, where a saved one is taken up.
        notes: What the phase so far has to tell the user.
        seconds_before: What other processes have spent on the phase.
        deadline: When the phase must have ended, as `time.monotonic()` tells time.
    """

    saving: Saving | None = None
    resumed: FitState | None = None
    notes: tuple[str, ...] = ()
    seconds_before: float = 0.0
    deadline: float = math.inf
    _checkpoint: Checkpoint | None = None
    _phase: dict[str, Any] = field(default_factory=dict)
    _model: str = ""
    _known: list[tuple[Arrays, str]] = field(default_factory=list)
    _began: float = 0.0

    def __post_init__(self) -> None:
        if self.saving is not None:
            self._checkpoint = Checkpoint(self.saving.folder)

    def find(self, setting: dict[str, Any]) -> Found | None:
        """Reads the last state of a training; None where there is none.

        Raises:
            InputError: It is that of a training with other settings.
        """
        saved = self._checkpoint.load() if self._checkpoint is not None else None
        if saved is None:
            return None
        _require_same(setting, saved.facts["setting"], self._checkpoint.folder)  # type: ignore[union-attr]
        return Found(saved)

    @property
    def found_wrong(self) -> tuple[str, ...]:
        """What of the saved states was damaged."""
        return tuple(self._checkpoint.notes) if self._checkpoint is not None else ()

    def begin_phase(self, job: Job, setting: dict[str, Any], index: int, found: Found | None = None) -> None:
        """Saves the state before a phase, or after the last one.

        Args:
            job: Its model and history are what they are before the phase.
            setting: From `setting_of`.
            index: Number of the phase.
            found: Where the training is taken up in this phase: the state to go on with.
        """
        self.resumed = found.fit() if found is not None else None
        self.notes = tuple(found.facts["notes"]) if found is not None and self.resumed else ()
        self.seconds_before = found.facts["seconds"] if found is not None and self.resumed else 0.0
        self._began, self._known = time.monotonic(), []
        self._phase = {"setting": setting, "phase": index}
        if self._checkpoint is None:
            return
        self._model = self._checkpoint.put(job.model.get_weights())
        if self.resumed is None:
            self._save(job, {}, {}, {})

    def save_fit(self, job: Job, state: FitState) -> None:
        """Saves how the gradient training of the phase stands."""
        if self._checkpoint is None:
            return
        shared = {"weights": state.weights, "best": state.best, "start": state.start}
        facts = {"fit": state.facts}
        if state.good is not None:
            facts["good"] = state.good.facts
            shared |= {f"good_{name}": getattr(state.good, name) for name in ("weights", "rest", "best")}
        self._save(job, facts, {"rest": state.rest, "metrics": state.metrics}, self._names(shared))

    def told(self) -> dict[str, Any] | None:
        """Returns what saving has cost, JSON-able; None where nothing was saved."""
        if self._checkpoint is None:
            return None
        saves, seconds = self._checkpoint.saves, round(self._checkpoint.seconds, 3)
        return {"states": saves, "seconds": seconds, "peak_bytes": self._checkpoint.peak_bytes}

    def _save(self, job: Job, facts: dict[str, Any], own: dict[str, Arrays], shared: dict[str, str]) -> None:
        assert self._checkpoint is not None
        now = time.monotonic()
        outcomes, arrays = _outcomes_to_facts(job.history.outcomes)
        common = {
            "notes": self.notes,
            "seconds": self.seconds_before + now - self._began,
            "seconds_left": job.deadline - now,
            "phase_seconds_left": self.deadline - now,
            "history": job.history.history,
            "extractions": job.history.extractions,
            "outcomes": outcomes,
        }
        shared = {**shared, "model": self._model}
        self._checkpoint.save(self._phase | common | facts, {**own, "outcomes": arrays}, shared)

    def _names(self, shared: dict[str, Arrays]) -> dict[str, str]:
        """Writes lists of arrays, each once: those that others here or the last state had as well are there."""
        assert self._checkpoint is not None
        known, names = self._known, {}
        for name, arrays in shared.items():
            found = next((file for before, file in known if before is arrays), None)
            names[name] = found or self._checkpoint.put(arrays)
            known = [*known, (arrays, names[name])]
        self._known = [(arrays, names[name]) for name, arrays in shared.items()]
        return names


@dataclass(frozen=True)
class Found:
    """A state of a training that was found."""

    saved: Saved

    @property
    def facts(self) -> dict[str, Any]:
        return self.saved.facts

    @property
    def phase(self) -> int:
        """Number of the phase to go on with, from 0; the number of phases where all is done."""
        return int(self.facts["phase"])

    @property
    def place(self) -> str:
        """What it goes on with, for people."""
        phases = [phase["name"] for phase in self.facts["setting"]["phases"]]
        if self.phase == len(phases):
            return "training was done"
        told = f"phase {phases[self.phase]!r} ({self.phase + 1} of {len(phases)})"
        if "fit" not in self.facts:
            return told
        fit = self.facts["fit"]
        return f"{told}, epoch {fit['epoch'] + 1}" + (f", step {fit['step'] + 1}" if fit["step"] else "")

    def restore(self, job: Job) -> None:
        """Gives model and history what they had when the state was saved."""
        job.model.set_weights(self.saved.arrays["model"])
        job.history.outcomes.extend(_outcomes_from_facts(self.facts["outcomes"], self.saved.arrays["outcomes"]))
        job.history.extractions.extend(self.facts["extractions"])
        restore_rows(job.history, self.facts["history"])

    def fit(self) -> FitState | None:
        """Returns how the gradient training of the phase stood; None where it had not begun."""
        if "fit" not in self.facts:
            return None
        arrays = self.saved.arrays
        good = None
        if "good" in self.facts:
            weights, rest, best = (arrays[f"good_{name}"] for name in ("weights", "rest", "best"))
            good = FitState(self.facts["good"], weights, rest, [], best, arrays["start"])
        weights, rest, metrics = (arrays[name] for name in ("weights", "rest", "metrics"))
        return FitState(self.facts["fit"], weights, rest, metrics, arrays["best"], arrays["start"], good)


def restore_rows(history: FineTuneHistory, columns: dict[str, list[Any]]) -> None:
    """Gives a history the rows of another."""
    for row in zip(*columns.values(), strict=True):
        history.on_epoch_end(len(history.epoch), dict(zip(columns, row, strict=True)))


def _outcomes_to_facts(outcomes: Sequence[PhaseOutcome]) -> tuple[list[dict[str, Any]], Arrays]:
    facts, arrays = [], []
    for outcome in outcomes:
        plain = {item.name: getattr(outcome, item.name) for item in dataclasses.fields(outcome)}
        arrays += [np.asarray(outcome.labels)]
        arrays += [] if outcome.probabilities is None else [np.asarray(outcome.probabilities)]
        gain = None if outcome.gain is None else dataclasses.asdict(outcome.gain)
        changed = {"phase": outcome.phase.to_dict(), "gain": gain, "tried": outcome.probabilities is not None}
        facts.append(
            {name: value for name, value in plain.items() if name not in ("labels", "probabilities")} | changed
        )
    return facts, arrays


def _outcomes_from_facts(facts: Sequence[dict[str, Any]], arrays: Arrays) -> list[PhaseOutcome]:
    left = iter(arrays)
    outcomes = []
    for found in facts:
        plain = {name: value for name, value in found.items() if name != "tried"}
        labels, probabilities = next(left), next(left) if found["tried"] else None
        changed = {"phase": Phase.from_dict(found["phase"]), "notes": tuple(found["notes"])}
        outcomes.append(
            PhaseOutcome(**plain | changed | {"labels": labels, "probabilities": probabilities, "gain": _gain(found)})
        )
    return outcomes


def _gain(found: dict[str, Any]) -> Gain | None:
    gain = found["gain"]
    if gain is None:
        return None
    intervals = {name: tuple(gain[name]) for name in ("accuracy_interval", "log_loss_interval")}
    return Gain(**gain | intervals)


def _require_same(setting: dict[str, Any], saved: dict[str, Any], folder: Path) -> None:
    """Raises InputError where a training has other settings than the one that was saved."""
    now, then = dict(_flat(setting)), dict(_flat(saved))
    differing = [name for name in sorted({*now, *then}) if now.get(name) != then.get(name)]
    if differing:
        told = "; ".join(f"{name} was {then.get(name)!r} and is {now.get(name)!r}" for name in differing[:5])
        raise InputError(
            f"Expected the settings that the training saved in {folder} began with. Received: {told}. Give the same, "
            "or another folder."
        )


def _flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """Returns the leaves of nested dicts and lists with their paths, such as `phases.1.epochs`."""
    if isinstance(value, dict | list | tuple):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for key, part in parts for leaf in _flat(part, f"{name}.{key}".lstrip("."))]
    return [(name, value)]
