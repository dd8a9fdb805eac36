"""The verb `evaluate`: judges the model of a run once more, on its own test part or on other images."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit import data as data_sources
from tlkit import environment, results, run
from tlkit.calibration import apply_temperature, measure_calibration
from tlkit.console import OnProgress
from tlkit.data.findings import count, name_some
from tlkit.data.loader import ImageDataset
from tlkit.data.manifest import Manifest
from tlkit.data.store import Store
from tlkit.errors import InputError
from tlkit.evaluation import evaluate_probabilities, majority_baseline, ready_for_json
from tlkit.features import predict_in_order
from tlkit.prediction.averaging import count_looks, predict_averaged, told_gain
from tlkit.prediction.loading import Classifier, load_run
from tlkit.report.reading import Run, read_run
from tlkit.screening import evaluate_threshold, threshold_for_sensitivity

Step = Callable[[str, str], AbstractContextManager[OnProgress | None]]

COPIED = (run.CONFIG, run.LABELS, run.TRANSFORM, run.HISTORY)


@dataclass(frozen=True)
class _Judged:
    """The images to judge.

    Attributes:
        manifest: With the run's class names; `split` is `test` for what is judged and empty for the rest.
        store: Its images.
        audit: What was found in them, as audit.json holds it.
        notes: What the user should know, one line each.
    """

    manifest: Manifest
    store: Store
    audit: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def evaluate_run(
    folder: str | Path,
    data: str | None = None,
    *,
    sensitivity: float | None = None,
    output: str | Path | None = None,
    leave_out_unknown: bool = False,
    averaged: bool = False,
    step: Step = lambda text, unit: nullcontext(None),
) -> dict[str, Any]:
    """Judges the model of a run on its own test part, or on other images, and writes a report of that.

    Other images go through the run's transform; classes are matched by name. Images that the run was trained on, or
    that chose its model, are left out and told. Calibration is measured with the run's own temperature, a wanted
    sensitivity with the threshold that reaches it on the run's validation images.

    Args:
        folder: The run.
        data: What `finetune --data` takes; the run's own test part (validation where there is none) when None.
        sensitivity: For two classes: wanted share of the images of the second that is found; the run's own when None.
        output: Folder to write; `evaluation-NAME` in the run when None. Nothing else in the run is touched.
        leave_out_unknown: Whether images of classes that the model has not are left out, instead of refused.
        averaged: Whether probabilities are means over several looks at a picture, test-time augmentation; what that
            gains, and the time it takes, is then measured and told in the notes.
        step: Opens a named step of the work and gives what to call with (done, total).

    Returns:
        The content of the new metrics.json, and `folder` and `notes`.

    Raises:
        InputError: No such run or data, unknown classes, no image left to judge, or images that changed since.
    """
    seconds: dict[str, float] = {}
    timed = _timed(step, seconds)
    read = read_run(folder)
    screening = _screening(read, sensitivity)
    if output is not None:
        run.require_free(Path(output))
    with timed("Loading the model", ""):
        classifier = load_run(folder)
    if averaged:
        count_looks(classifier.transform.store_size, classifier.transform.image_size, classifier.mirrored)
    judged = (
        _own_images(read, classifier, timed)
        if data is None
        else _other_images(data, read, classifier, leave_out_unknown, timed)
    )
    probabilities = _predict(judged, classifier, averaged, timed)
    with timed("Computing metrics and intervals", ""):
        metrics = _measure(read, classifier, judged.manifest, probabilities, screening)
    target = _open_folder(read, data, output)
    _write(target, read, data, judged, probabilities, metrics)
    _write_environment(target, _command(read, data, sensitivity, averaged), seconds)
    run.write_state(target, "complete")
    from tlkit.report import write_report

    write_report(target)
    return {**metrics, "folder": str(target), "notes": judged.notes}


def _timed(step: Step, seconds: dict[str, float]) -> Step:
    @contextmanager
    def timed(text: str, unit: str) -> Iterator[OnProgress | None]:
        start = time.monotonic()
        with step(text, unit) as on_progress:
            yield on_progress
        seconds[text] = round(time.monotonic() - start, 3)

    return timed


# --- The images ---


def _own_images(read: Run, classifier: Classifier, timed: Step) -> _Judged:
    """Opens the test part of the run again, and makes sure that its images are the same."""
    if read.judged_split is None:
        raise InputError(
            f"Expected a run with a test or validation part. Received: {read.path}. Name others with --data."
        )
    listed = data_sources.from_spec(str(read.config["data"]["data"]), min_images=0)
    kept = Manifest.read_csv(read.path / run.MANIFEST, listed.source, classifier.class_names)
    rows = kept.indices(read.judged_split)
    part = replace(kept, items=kept.items.iloc[rows].reset_index(drop=True).assign(split="test"))
    with timed("Decoding the images", "images") as on_progress:
        store = data_sources.open_store(part, classifier.transform, on_progress)
    changed = part.items["item"][(store.facts["digest"].to_numpy() != part.items["digest"].to_numpy()) | ~store.ok]
    if len(changed):
        raise InputError(
            f"Expected the {read.judged_split} images of {read.path} as they were. Received: "
            f"{count(len(changed), 'image')} changed or gone: {name_some(changed)}. Judge other images with --data."
        )
    notes = [] if read.judged_split == "test" else ["There is no test part: these images also chose the model."]
    return _Judged(part, store, {"items": len(part), "usable": len(part), "set_aside": [], "findings": []}, notes)


def _other_images(data: str, read: Run, classifier: Classifier, leave_out_unknown: bool, timed: Step) -> _Judged:
    listed = data_sources.from_spec(data, min_images=0)
    unknown = sorted(set(listed.class_names) - set(classifier.class_names))
    if unknown and not (leave_out_unknown and len(unknown) < listed.num_classes):
        raise _unknown_classes(data, unknown, listed, classifier)
    known = ~listed.items["label"].isin(unknown)
    items = listed.items[known].reset_index(drop=True)
    with timed("Decoding the images", "images") as on_progress:
        listed = replace(listed, items=items, class_names=classifier.class_names)
        store = data_sources.open_store(listed, classifier.transform, on_progress)
    audit = data_sources.audit(listed, store.facts)
    chosen, notes = _choose(audit.manifest, read)
    if unknown:
        strange = count(int((~known).sum()), "image")
        notes.insert(0, f"Left out: {strange} of classes that the model has not ({name_some(unknown)}).")
    if not chosen.any():
        raise InputError(f"Expected images in {data} that the run has not seen. Received: none. {' '.join(notes)}")
    items = audit.manifest.items.assign(split=np.where(chosen, "test", "")).astype("str")
    return _Judged(replace(audit.manifest, items=items), store, audit.to_dict(), notes)


def _unknown_classes(data: str, unknown: list[str], listed: Manifest, classifier: Classifier) -> InputError:
    known = len(unknown) < listed.num_classes
    remedy = "Rename or remove them, or leave them out with --leave-out-unknown." if known else "Rename them."
    return InputError(
        f"Expected classes that the model knows ({name_some(classifier.class_names)}) in {data}. "
        f"Received: {name_some(unknown)}, which it does not. {remedy}"
    )


def _choose(manifest: Manifest, read: Run) -> tuple[np.ndarray, list[str]]:
    """Returns which rows are judged, and what was left out and why."""
    items, notes = manifest.items, []
    chosen = manifest.usable.copy()
    aside = len(manifest) - int(chosen.sum())
    if aside:
        notes.append(f"Set aside: {count(aside, 'image')} that cannot be used; audit.json names them.")
    reasons = []
    if (items["split"] == "test").any():
        reasons.append((items["split"].to_numpy() != "test", "outside the test part that the data came with"))
    seen = set(read.manifest["digest"][read.manifest["split"].isin(("train", "validation"))]) - {""}
    reasons.append((items["digest"].isin(seen).to_numpy(), "that the run was trained on or chosen by"))
    for left_out, reason in reasons:
        number = int((chosen & left_out).sum())
        if number:
            notes.append(f"Left out: {count(number, 'image')} {reason}.")
        chosen &= ~left_out
    return chosen, notes


# --- The figures ---


def _predict(judged: _Judged, classifier: Classifier, averaged: bool, timed: Step) -> np.ndarray:
    indices, labels = judged.manifest.indices("test"), judged.manifest.labels("test")
    dataset = ImageDataset(judged.store, indices, labels)
    if averaged:
        classifier.model.predict_on_batch(dataset[0][0])  # Compiled before the clock starts.
    start = time.perf_counter()
    with timed("Predicting the images", "batches") as on_progress:
        alone = predict_in_order(classifier.model, dataset, on_progress=on_progress)[0]
    if not averaged:
        return alone
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    with timed("Predicting several looks at them", "batches") as on_progress:
        together = predict_averaged(classifier, dataset, on_progress)
    judged.notes.append(told_gain(labels, alone, together, (time.perf_counter() - start) / seconds))
    return together


def _measure(
    read: Run,
    classifier: Classifier,
    manifest: Manifest,
    probabilities: np.ndarray,
    screening: tuple[float, float] | None,
) -> dict[str, Any]:
    labels, names = manifest.labels("test"), classifier.class_names
    groups = manifest.items["group"].to_numpy()[manifest.indices("test")].tolist()
    metrics: dict[str, Any] = {
        "validation": None,
        "test": evaluate_probabilities(labels, probabilities, names, groups=groups),
        "baseline": majority_baseline(_train_labels(read), labels, names),
        "calibration": None,
        "screening": None,
    }
    if classifier.temperature is not None:
        scaled = apply_temperature(probabilities, classifier.temperature)
        parts = {"before": measure_calibration(labels, probabilities), "after": measure_calibration(labels, scaled)}
        metrics["calibration"] = {"temperature": classifier.temperature, "test": parts}
    if screening is not None:
        wanted, threshold = screening
        judged = evaluate_threshold(labels, probabilities[:, 1], threshold)
        metrics["screening"] = {"wanted_sensitivity": wanted, "test": judged}
    return ready_for_json(metrics)


def _train_labels(read: Run) -> np.ndarray:
    index = {name: position for position, name in enumerate(read.class_names)}
    rows = read.manifest[(read.manifest["split"] == "train") & (read.manifest["status"] == "ok")]
    return rows["label"].map(index).to_numpy(np.int64)


def _screening(read: Run, sensitivity: float | None) -> tuple[float, float] | None:
    """Returns the wanted sensitivity, where one is wanted, and the threshold that reaches it on validation images."""
    wanted = sensitivity if sensitivity is not None else (read.metrics.get("screening") or {}).get("wanted_sensitivity")
    if wanted is None:
        return None
    rows = (read.predictions["split"] == "validation").to_numpy()
    if len(read.class_names) != 2 or not rows.any():
        raise InputError(
            "Expected a run of two classes with a validation part to reach a wanted sensitivity. "
            f"Received: {len(read.class_names)} classes, {count(int(rows.sum()), 'validation image')}."
        )
    labels = read.predictions["label"].to_numpy()[rows]
    return wanted, threshold_for_sensitivity(labels, read.probabilities[rows, 1], wanted)


# --- The folder ---


def _open_folder(read: Run, data: str | None, output: str | Path | None) -> Path:
    if output is not None:
        target = Path(output)
        run.require_free(target)
    else:
        named = "" if data is None else re.sub(r"[^\w.-]+", "-", Path(data).name or data).strip("-.")[:60]
        base = read.path / f"evaluation-{named or read.judged_split}"
        taken = (base.with_name(f"{base.name}-{number}") for number in range(2, 1000))
        target = base if not base.exists() else next(path for path in taken if not path.exists())
    target.mkdir(parents=True, exist_ok=True)
    run.write_state(target, "running")
    return target


def _write(
    target: Path, read: Run, data: str | None, judged: _Judged, probabilities: np.ndarray, metrics: dict[str, Any]
) -> None:
    """Writes a folder that reads as a run without a model, so that it has a report and can be compared."""
    for name in COPIED:
        shutil.copyfile(read.path / name, target / name)
    judged.manifest.write_csv(target / run.MANIFEST)
    run.write_json(target / run.AUDIT, judged.audit)
    run.write_json(target / run.METRICS, metrics)
    parts = {"test": probabilities}
    table = results.prediction_table(judged.manifest, parts)
    results.write_predictions(target, table, parts)
    results.write_thumbnails(target, table, judged.manifest, judged.store)
    counts = np.bincount(_train_labels(read), minlength=len(read.class_names)).tolist()
    facts = {"run": read.name, "data": data, "train": dict(zip(read.class_names, counts, strict=True))}
    run.write_json(target / run.EVALUATION, facts | {"notes": judged.notes})


def _command(read: Run, data: str | None, sensitivity: float | None, averaged: bool) -> str:
    words = ["tlkit", "evaluate", str(read.path)]
    words += ["--data", os.path.abspath(data) if os.path.exists(data) else data] if data is not None else []
    words += ["--sensitivity", f"{sensitivity:g}"] if sensitivity is not None else []
    words += ["--tta"] if averaged else []
    return shlex.join(words)


def _write_environment(target: Path, command: str, seconds: dict[str, float]) -> None:
    facts = environment.describe() | {
        "backend": keras.backend.backend(),
        "devices": keras.distribution.list_devices(),
        "command": command,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": seconds,
    }
    run.write_json(target / run.ENVIRONMENT, facts)
