"""The process of one trial that trains the body, or of one extraction of features: the workflow, less what follows it.

It is told what to do by task.json in its folder and leaves result.json there; `tasks.TaskRunner` starts it.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit import run
from tlkit.config import Config
from tlkit.config_files import load_config
from tlkit.environment import peak_memory_bytes
from tlkit.errors import InputError, NotFiniteError
from tlkit.preflight import changed, preflight
from tlkit.report.files import read_table
from tlkit.search.data_marks import mark_of_contents
from tlkit.search.folder import CHECKPOINT, PROBABILITIES, TASK, TASK_RESULT
from tlkit.search.objectives import measure
from tlkit.search.processes import end_with_parent
from tlkit.timing import Timer

if TYPE_CHECKING:
    import keras

    from tlkit.data.manifest import Manifest
    from tlkit.data.store import Store


def main() -> None:
    """Does the task of the folder named on the command line."""
    end_with_parent()
    do_task(Path(sys.argv[1]))


def do_task(folder: Path) -> None:
    """Does the task of a folder and leaves its result there."""
    began = time.monotonic()
    task = json.loads((folder / TASK).read_text(encoding="utf-8"))
    try:
        work = {"features": extract_features, "train": train_trial, "finetune": retrain}[task["work"]]
        result = work(folder, task)
    except Exception as error:
        traceback.print_exc()
        result = {"reason": reason_of(error), "message": " ".join(str(error).split()) or type(error).__name__}
    memory = {"peak_memory_bytes": peak_memory_bytes()}
    run.write_json(folder / TASK_RESULT, result | memory | {"seconds": round(time.monotonic() - began, 3)})


def reason_of(error: BaseException) -> str:
    """Sorts a failure: `"not finite"`, `"out of memory"`, `"input"` or `"crash"`."""
    from tlkit.training.memory import is_out_of_memory

    if isinstance(error, NotFiniteError):
        return "not finite"
    if isinstance(error, MemoryError) or is_out_of_memory(error):
        return "out of memory"
    return "input" if isinstance(error, InputError) else "crash"


def _prepare(folder: Path) -> tuple[Config, keras.Model, Manifest, Store, Timer]:
    from tlkit.preparing import classifier_of, prepare_backbone_of, prepare_data

    timer = Timer()
    config = load_config(folder / run.CONFIG, {"output": str(folder / "run")})
    config, manifest = preflight(config)
    prepared = prepare_backbone_of(config, timer)
    config = changed(config, "model", image_size=prepared.model.input_shape[1])
    store, audit = prepare_data(config, manifest, timer)
    return config, classifier_of(config, prepared, audit.manifest, store), audit.manifest, store, timer


def extract_features(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Writes the features and labels of training and validation images, and what else head trials need to know."""
    from tlkit.preparing import pooled_features_of

    config, model, manifest, store, timer = _prepare(folder)
    features = pooled_features_of(config, model, manifest, store, timer)
    if features is None:
        raise InputError("Expected trained weights for a head on frozen features. Received: random ones.")
    for part in ("train", "validation"):
        rows = np.isin(features.rows, manifest.indices(part))
        np.save(folder / f"{part}.npy", features.values[rows], allow_pickle=False)
        np.save(folder / f"{part}-labels.npy", manifest.labels()[features.rows[rows]], allow_pickle=False)
    return {"classes": manifest.num_classes, **_validation_facts(manifest)}


def train_trial(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Trains one recipe and measures it on the validation images; the test images are not looked at."""
    from tlkit.preparing import pooled_features_of
    from tlkit.training import fine_tune
    from tlkit.training.outcome import GIVEN_UP
    from tlkit.training.recipe import recipe_of
    from tlkit.training_run import dataset, tell_phase, wanted_phases
    from tlkit.varying import vary

    config, model, manifest, store, timer = _prepare(folder)
    phases = wanted_phases(config, model)
    callbacks: list[keras.callbacks.Callback] = []
    if task.get("stop_after"):
        phases, callbacks = _on_rung(folder, task, model, phases)
    tried = config.augmentation.augment == "auto"  # Only then is it tried whether mirror images keep their class.
    features = pooled_features_of(config, model, manifest, store, timer) if tried else None
    history = fine_tune(
        model,
        vary(config, model, dataset(config, manifest, store, "train"), features, folder, timer),
        validation_data=dataset(config, manifest, store, "validation"),
        strategy=phases,
        recipe=replace(recipe_of(config.training), extraction=config.extraction),
        seed=config.training.seed,
        callbacks=callbacks,
        step=timer,
        on_phase=tell_phase,
    )
    for note in (note for outcome in history.outcomes for note in outcome.notes):
        if note.startswith(GIVEN_UP):
            raise NotFiniteError(note)
    last = next(outcome for outcome in reversed(history.outcomes) if outcome.kept)
    assert last.probabilities is not None
    if not np.isfinite(last.probabilities).all():
        raise NotFiniteError("Expected finite probabilities. Received: NaN for validation images.")
    np.save(folder / PROBABILITIES, last.probabilities.astype("float32"), allow_pickle=False)
    model.save(folder / run.MODEL)
    _write_history(folder, history.history, task)
    return {"metrics": measure(last.labels, last.probabilities), **_validation_facts(manifest)}


def retrain(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Makes a normal run folder of a recipe, with everything that `tlkit finetune` does."""
    from tlkit.workflow import finetune

    finetune(load_config(folder / run.CONFIG, {"output": task["output"]}))
    rows = read_table(Path(task["output"]) / run.MANIFEST, ("item", "digest"))
    return {"pictures": mark_of_contents(rows["item"], rows["digest"])}


def _on_rung(folder: Path, task: dict[str, Any], model: keras.Model, phases: tuple) -> tuple[tuple, list]:
    """Returns the phases and the callback of a trial of hyperband, the model set to where the rung below left it."""
    import keras

    from tlkit.search.rungs import Rung

    below, done, start = task.get("continues"), 0, None
    if below is not None:
        model.set_weights(keras.models.load_model(Path(below) / run.MODEL, compile=False).get_weights())
        phases = tuple(phase for phase in phases if phase.epochs)  # Its head has been fitted.
        done, start = task["done"], Path(below) / CHECKPOINT
    return phases, [Rung(task["stop_after"], done, start, folder / CHECKPOINT)]


def _write_history(folder: Path, columns: dict[str, list], task: dict[str, Any]) -> None:
    import pandas as pd

    from tlkit.training_run import write_history

    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if task.get("continues"):
        before = pd.read_csv(Path(task["continues"]) / run.HISTORY).replace({np.nan: None})
        rows = [row | {"epoch": row["epoch"] + task["done"]} for row in rows]
        rows = [*before.to_dict("records"), *rows]
    write_history(folder, rows)


def _validation_facts(manifest: Manifest) -> dict[str, Any]:
    """Labels and groups of the validation images, for intervals, and what names all pictures."""
    rows = manifest.indices("validation")
    pictures = mark_of_contents(manifest.items["item"], manifest.items["digest"])
    groups = manifest.items["group"].to_numpy()[rows].tolist()
    known = {"labels": manifest.labels("validation").tolist(), "groups": groups if any(groups) else None}
    return known | {"pictures": pictures}
