"""Running one trial: its recipe written, its result had from where it costs least, its record left behind."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlkit import run
from tlkit.cache.locks import wait_for_lock
from tlkit.config import Config
from tlkit.config_files import config_to_toml
from tlkit.errors import InputError
from tlkit.report.files import read_json
from tlkit.search.folder import (
    CHECKPOINT,
    COMPLETED,
    ENDED,
    FAILED,
    FEATURES,
    HEAD_LOG,
    PROBABILITIES,
    SERVER_LOG,
    TASK_RESULT,
    TRUTH,
    Record,
    clear_trial,
    read_records,
    trial_folder,
    write_record,
)
from tlkit.search.head_worker import HeadWorker
from tlkit.search.processes import Stopped
from tlkit.search.recipes import TUNER, features_recipe, identity, needs_head_alone, recipe_of_trial
from tlkit.search.space import Space
from tlkit.search.tasks import TaskRunner

SHARED = ("labels", "groups", "pictures")  # Of what a task tells, that is the same in all trials.


@dataclass(frozen=True)
class Trial:
    """What is to be run.

    Attributes:
        number: Of its folder; 0 is the default recipe.
        recipe: The configuration.
        values: Of the hyperparameters, for the record.
        stop_after: Epochs after which it stops, on a rung of hyperband; None runs it to its end.
        continues: Number of the trial that it goes on from, or None.
        done: Epochs of that trial.
        seed: Where it repeats a recipe under a new seed; else None.
    """

    number: int
    recipe: Config
    values: Mapping[str, Any]
    stop_after: int | None = None
    continues: int | None = None
    done: int = 0
    seed: int | None = None


class Executor:
    """Runs trials of one search, one at a time.

    Args:
        folder: Of the search.
        base: Options that no trial changes.
        space: What is searched.
        default: Recipe of trial 0.
        max_epochs: Of hyperband's highest rung; None for other algorithms.
        worker: Tells this executor's log from those of others.
    """

    def __init__(
        self,
        folder: Path,
        base: Config,
        space: Space,
        default: Config,
        *,
        max_epochs: int | None = None,
        worker: str = "worker-0",
    ) -> None:
        self.folder, self.base, self.space, self.max_epochs = folder, base, space, max_epochs
        self.default_recipe = default
        self.heads = HeadWorker(folder / HEAD_LOG.format(worker))
        self.tasks = TaskRunner(folder / SERVER_LOG.format(worker))
        self.failed_features: dict[str, dict[str, Any]] = {}

    def begin(self) -> None:
        """Starts the process that others are forked from, which takes seconds, without waiting for it."""
        self.tasks.begin()

    def close(self) -> None:
        """Ends the processes that fit heads and that others are forked from."""
        self.heads.close()
        self.tasks.close()

    def default(self) -> Trial:
        """Returns trial 0."""
        return Trial(0, self.default_recipe, {})

    def proposed(self, number: int, values: Mapping[str, Any]) -> Trial:
        """Returns the trial that values of hyperparameters stand for, those that hyperband adds among them."""
        recipe = recipe_of_trial(self.base, self.space, values)
        own = {one.name: values[one.name] for one in self.space.parameters if one.name in values}
        epochs = values.get(TUNER + "epochs")
        if self.max_epochs is None or epochs is None or recipe.training.strategy == "frozen":
            return Trial(number, recipe, own)
        recipe = replace(recipe, training=replace(recipe.training, epochs=self.max_epochs))
        below = values.get(TUNER + "trial_id")
        done = int(values.get(TUNER + "initial_epoch", 0))
        return Trial(number, recipe, own, int(epochs), None if below is None else int(below) + 1, done)

    def run(self, trial: Trial, deadline: float = math.inf) -> Record:
        """Runs a trial and returns its record, which lies in its folder then.

        A trial whose recipe another one had gets that one's result.

        Raises:
            Stopped: The deadline has passed; nothing is left of the trial.
            InputError: The pictures are gone, or the default recipe cannot use what it was given; likewise.
        """
        name = identity(trial.recipe, trial.stop_after)
        head = needs_head_alone(trial.recipe)
        record = Record(trial.number, dict(trial.values), name, kind="head" if head else "body", seed=trial.seed)
        record = replace(record, epochs=trial.stop_after)
        known = [one for one in read_records(self.folder) if one.identity == name and one.status in ENDED]
        if own := next((one for one in known if one.number == trial.number), None):
            return own  # A search was killed before the oracle was told.
        folder = clear_trial(self.folder, trial.number)
        run.write_text(folder / run.CONFIG, config_to_toml(trial.recipe))
        if same := next(iter(known), None):
            told = replace(same, number=trial.number, copied_from=same.original, seconds={}, seed=trial.seed)
            return write_record(self.folder, replace(told, values=dict(trial.values)))
        write_record(self.folder, record)
        try:
            ended = self._fit_head(record, trial, deadline) if head else self._train(record, trial, deadline)
            if ended.reason == "input":
                self._require_data()
                if trial.number == 0:  # What the default recipe cannot use is no fault of a hyperparameter.
                    raise InputError(ended.message)
        except BaseException:
            if not any(one.number == trial.number and one.status in ENDED for one in read_records(self.folder)):
                shutil.rmtree(folder, ignore_errors=True)  # It is run again, from its beginning.
            raise
        return write_record(self.folder, ended)

    def _require_data(self) -> None:
        """Ends the search where its pictures are gone: that is no fault of a trial, and the next would fail alike."""
        from tlkit import data

        try:
            data.from_spec(self.base.data.data)
        except InputError as error:
            raise InputError(
                f"{error} No trial can run without its images. What has ended is kept; once they are back: tlkit "
                f"search --resume --output {self.folder}"
            ) from None

    def _train(self, record: Record, trial: Trial, deadline: float) -> Record:
        task: dict[str, Any] = {"work": "train", "stop_after": trial.stop_after, "done": trial.done}
        below = None if trial.continues is None else trial_folder(self.folder, trial.continues)
        # Without a checkpoint it had run out of patience: what it did comes out the same again.
        if below is not None and (below / run.MODEL).exists() and (below / CHECKPOINT).exists():
            task["continues"] = str(below)
            record = replace(record, continues=trial.continues)
        began = time.monotonic()
        found = self.tasks.run(trial_folder(self.folder, trial.number), task, deadline)
        return self._ended(record, found, {"training": round(time.monotonic() - began, 3)})

    def _fit_head(self, record: Record, trial: Trial, deadline: float) -> Record:
        began = time.monotonic()
        features = self._features(trial.recipe, deadline)
        had = time.monotonic()
        seconds = {"extraction": round(had - began, 3)}
        if "reason" in features:
            return self._ended(record, features, seconds)
        training, model = trial.recipe.training, trial.recipe.model
        folder = trial_folder(self.folder, trial.number)
        task = {"features": features["folder"], "classes": features["classes"], "pooling": model.pooling or "avg"}
        task |= {"head": training.head, "penalty": training.penalty, "balance": training.balance}
        found = self.heads.fit(task | {"probabilities": str(folder / PROBABILITIES)}, deadline)
        if "path" in found:
            _write_path(folder, found["path"])
        return self._ended(record, found, seconds | {"head": round(time.monotonic() - had, 3)})

    def _features(self, recipe: Config, deadline: float) -> dict[str, Any]:
        """Has the features of a recipe's pictures, from an earlier trial where there was one."""
        wanted = features_recipe(recipe)
        name = identity(wanted)
        if name in self.failed_features:
            return self.failed_features[name]
        folder = self.folder / FEATURES / name
        folder.mkdir(parents=True, exist_ok=True)

        def check_time() -> None:
            if time.monotonic() >= deadline:
                raise Stopped

        lock = wait_for_lock(folder.with_suffix(".lock"), check_time)
        try:
            if not (folder / TASK_RESULT).exists():
                run.write_text(folder / run.CONFIG, config_to_toml(wanted))
                found = self.tasks.run(folder, {"work": "features"}, deadline)
                if "reason" in found:
                    if found["reason"] == "input":  # It would fail again; a process that was killed need not.
                        self.failed_features[name] = found
                    (folder / TASK_RESULT).unlink(missing_ok=True)
                    return found
                try:
                    self._write_truth(found)
                except InputError:
                    (folder / TASK_RESULT).unlink(missing_ok=True)
                    raise
        finally:
            lock.release(remove=True)
        return read_json(folder / TASK_RESULT) | {"folder": str(folder)}

    def _ended(self, record: Record, found: dict[str, Any], seconds: dict[str, float]) -> Record:
        told = replace(record, seconds=seconds, peak_memory_bytes=found.get("peak_memory_bytes"))
        if "reason" in found:
            return replace(told, status=FAILED, reason=found["reason"], message=found["message"])
        if not all(math.isfinite(value) for value in found["metrics"].values()):
            return replace(told, status=FAILED, reason="not finite", message="A figure of it is not a finite number.")
        self._write_truth(found)
        return replace(told, status=COMPLETED, metrics=found["metrics"])

    def _write_truth(self, found: dict[str, Any]) -> None:
        """Keeps the labels of the validation images, which all trials share, and what names the pictures."""
        if "labels" not in found:
            return
        if not (self.folder / TRUTH).exists():
            run.write_json(self.folder / TRUTH, {name: found[name] for name in SHARED if name in found})
        else:
            require_same_truth(read_json(self.folder / TRUTH), found)


def require_same_truth(kept: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raises InputError where what a task found of the shared facts is not what was kept."""
    if any(kept[name] != found[name] for name in SHARED if name in kept and name in found):
        raise InputError(
            "Expected the same images in every trial. Received: others, so the data have changed since the search "
            "began. Put them back and go on with --resume, or search anew into another --output."
        )


def _write_path(folder: Path, path: list[dict[str, float]]) -> None:
    """Writes history.csv of a head: a row for each penalty tried."""
    columns = ("penalty", "loss", "accuracy", "val_loss", "val_accuracy")
    lines = [",".join(("phase", "epoch", *columns))]
    lines += [
        ",".join(["probe", str(index), *(str(point[name]) for name in columns)]) for index, point in enumerate(path)
    ]
    run.write_text(folder / run.HISTORY, "\n".join(lines) + "\n")
