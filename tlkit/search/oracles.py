"""KerasTuner's oracles, whose state survives a kill: one file, written whole, after every change."""

from __future__ import annotations

import functools
import json
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner import oracles
from keras_tuner.engine.trial import Trial
from keras_tuner.src.engine import oracle as kerastuner_oracle
from threadpoolctl import threadpool_limits

from tlkit import run
from tlkit.config import SearchConfig
from tlkit.errors import InputError
from tlkit.search.hyperparameters import hyperparameters
from tlkit.search.objectives import Objective
from tlkit.search.space import Space

NEVER = 10**9  # Failures in a row after which KerasTuner would end a search: a failed trial is a result here.
MOST_RUNS = 2  # Of one trial whose worker dies: it may be the trial that kills it.
RANDOM_SHARE = 3  # Of so many trials one is random, before the Bayesian search begins to learn,
RANDOM_EACH = 2  # but no more than so many for each hyperparameter: a search that time ends may be told of any number.


def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Lets one thread at a time into an oracle, as KerasTuner does, which however keeps the lock after an error."""
    synchronized = keras_tuner.synchronized(method)

    @functools.wraps(method)
    def alone(self: Any, *arguments: Any) -> Any:
        thread = threading.current_thread().name
        inside = kerastuner_oracle.THREADS[self] == thread
        try:
            return synchronized(self, *arguments)
        except BaseException:
            if not inside and kerastuner_oracle.THREADS[self] == thread:
                kerastuner_oracle.THREADS[self] = None
                kerastuner_oracle.LOCKS[self].release()
            raise

    return alone


class Kept:
    """What is added to an oracle: state in one file of ours, and giving up on a worker.

    KerasTuner writes files in place, which a kill can leave half written, and keeps no order of a grid at all.
    """

    path: Path | None = None
    closed = False  # Whether time is over: no further trial is given out.

    def save(self: Any, fname: str | None = None) -> None:
        """Writes everything to the file, whole or not at all."""
        if self.path is not None:
            trials = {name: trial.get_state() for name, trial in self.trials.items()}
            run.write_json(self.path, {"oracle": self.get_state(), "trials": trials})

    def _save_trial(self: Any, trial: Trial) -> None:
        """Trials lie in the same file."""

    def load(self: Any) -> None:
        """Takes up what `save` wrote; trials that were at work are given out again first."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except ValueError:
            raise InputError(
                f"Expected {self.path} as tlkit search wrote it. Received: a damaged file. Search anew."
            ) from None
        self.trials = {name: Trial.from_state(state) for name, state in found["trials"].items()}
        self.set_state(found["oracle"])
        self._retry_queue += [trial.trial_id for trial in self.ongoing_trials.values()]
        self.ongoing_trials.clear()
        self.tuner_ids.clear()

    @guarded
    def create_trial(self: Any, tuner_id: str) -> Trial:
        """Proposes a trial, or tells that there is none: any more, or as long as no other worker dies over its own."""
        if self.closed:
            self.tuner_ids.discard(tuner_id)
            return Trial(self.hyperparameters.copy(), "none", "STOPPED")
        trial: Trial = super().create_trial(tuner_id)  # type: ignore[misc]
        if trial.status == "STOPPED" and self.ongoing_trials:
            self.tuner_ids.add(tuner_id)
            trial.status = "IDLE"
        return trial

    @guarded
    def end_trial(self: Any, trial: Trial) -> None:
        """Ends a trial that is at work; others, of workers that were given up, have ended already."""
        if trial.trial_id not in {one.trial_id for one in self.ongoing_trials.values()}:
            return
        trial.hyperparameters = self.trials[trial.trial_id].hyperparameters  # A journey over the wire loses order.
        super().end_trial(trial)  # type: ignore[misc]
        self.save()

    @guarded
    def give_up(self: Any, tuner_id: str, counted: bool = True) -> Trial | None:
        """Forgets a worker that is gone; its trial is given to another, or fails where that happened before.

        Args:
            tuner_id: The worker's name.
            counted: Whether it may be the trial that killed it.

        Returns:
            The trial, or None where the worker had none.
        """
        self.tuner_ids.discard(tuner_id)
        trial = self.ongoing_trials.pop(tuner_id, None)
        if trial is None:
            return None
        self._run_times[trial.trial_id] += counted
        if self._run_times[trial.trial_id] >= MOST_RUNS:
            trial.status, trial.message = "FAILED", "its worker died"
            self.end_order.append(trial.trial_id)
        else:
            self._retry_queue.append(trial.trial_id)
        self.save()
        return trial


class RandomOracle(Kept, oracles.RandomSearchOracle):
    """Random search."""


class BayesianOracle(Kept, oracles.BayesianOptimizationOracle):
    """Bayesian optimisation on a Gaussian process."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Proposes values; that a length scale lies at its bound, as it does after few trials, is no news.

        Its many small products take a multiple of the time on several threads where other processes are at work.
        """
        from sklearn.exceptions import ConvergenceWarning

        with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().populate_space(trial_id)

    def get_state(self) -> dict[str, Any]:
        """Returns the state with that of the random numbers, which KerasTuner does not keep."""
        kind, keys, *rest = self._random_state.get_state()
        return super().get_state() | {"random_state": [kind, keys.tolist(), *rest]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes up what `get_state` gave."""
        super().set_state(state)
        self._random_state.set_state(tuple(state["random_state"]))


class HyperbandOracle(Kept, oracles.HyperbandOracle):
    """Hyperband."""

    @guarded
    def promotable(self) -> set[int]:
        """Returns the numbers of trials whose checkpoints a higher rung may want, or is at work on.

        A trial whose record is written and of which the oracle has not been told is one of them.
        """
        wanted = {trial.hyperparameters.values.get("tuner/trial_id") for trial in self.ongoing_trials.values()}
        wanted |= {trial.trial_id for trial in self.ongoing_trials.values()}
        better_first = -1 if self.objective.direction == "max" else 1
        for bracket in self._brackets:
            for place, round_ in enumerate(bracket["rounds"][:-1]):
                scored = [self.trials[one["id"]] for one in round_ if self.trials[one["id"]].score is not None]
                scored.sort(key=lambda trial: better_first * trial.score)
                wanted |= {trial.trial_id for trial in scored[: self._get_size(bracket["bracket_num"], place + 1)]}
        return {int(name) + 1 for name in wanted if name is not None}


class GridOracle(Kept, oracles.GridSearchOracle):
    """Grid search, which KerasTuner cannot take up again: its place in the grid is kept here."""

    def get_state(self) -> dict[str, Any]:
        """Returns the state with the order of the grid."""
        order = self._ordered_ids
        links = [list(link) for link in order._next_index.items()]
        kept = {"memory": order._memory, "next": links, "last": order._last_index}
        return super().get_state() | {"ordered": kept, "populate_next": self._populate_next}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes up what `get_state` gave."""
        super().set_state(state)
        order = self._ordered_ids
        order._memory, order._last_index = state["ordered"]["memory"], state["ordered"]["last"]
        order._data_to_index = {name: index for index, name in enumerate(order._memory)}
        order._next_index.update(dict(state["ordered"]["next"]))
        self._populate_next = state["populate_next"]


def make_oracle(settings: SearchConfig, space: Space, objective: Objective, seed: int, path: Path | None) -> Any:
    """Makes the oracle of a search.

    Args:
        settings: Name the algorithm and the number of trials, of which one is the default recipe.
        space: What is searched.
        objective: What is made better.
        seed: Of the proposals.
        path: File of its state; None keeps none.
    """
    shared = {
        "objective": keras_tuner.Objective(objective.name, objective.direction),
        "hyperparameters": hyperparameters(space, grid=settings.algorithm == "grid"),
        "seed": seed + 1,  # KerasTuner takes 0 for none.
        "max_consecutive_failed_trials": NEVER,
    }
    proposed = max(settings.trials - 1, 1)
    if settings.algorithm == "hyperband":
        oracle: Any = HyperbandOracle(max_epochs=settings.max_epochs, factor=3, hyperband_iterations=NEVER, **shared)
    elif settings.algorithm == "bayesian":
        first = max(min(proposed // RANDOM_SHARE, RANDOM_EACH * len(space.parameters)), 3)
        oracle = BayesianOracle(max_trials=proposed, num_initial_points=first, **shared)
    else:
        kind = RandomOracle if settings.algorithm == "random" else GridOracle
        oracle = kind(max_trials=proposed, **shared)
    oracle.max_trials = proposed  # Hyperband takes none when it is made.
    oracle.verbose = 0
    oracle.path = path
    oracle.closed = settings.trials == 1  # KerasTuner takes no number for none.
    return oracle
