"""The verb `evaluate`: judges the model of a run once more, on its own test part or on other images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tlkit import data as data_sources
from tlkit import environment, run
from tlkit.calibration import apply_temperature, measure_calibration
from tlkit.console import OnProgress
from tlkit.data.findings import count, name_some
from tlkit.data.loader import ImageDataset
from tlkit.data.manifest import Manifest
from tlkit.errors import InputError
from tlkit.evaluation import evaluate_probabilities, majority_baseline, ready_for_json
from tlkit.evaluation_folder import Judged, command_of, open_folder, train_labels, write_evaluation
from tlkit.features import predict_in_order
from tlkit.prediction.averaging import count_looks, predict_averaged, told_gain
from tlkit.prediction.loading import Classifier, load_run
from tlkit.report.reading import Run, read_run
from tlkit.results import write_environment
from tlkit.screening import evaluate_threshold, threshold_for_sensitivity

Step = Callable[[str, str], AbstractContextManager[OnProgress | None]]


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
    target = open_folder(read, data, output)
    write_evaluation(target, read, data, judged, probabilities, metrics)
    command = command_of(read, data, sensitivity, averaged)
    write_environment(target, command, environment.timestamp(), {"seconds": seconds})
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


def _own_images(read: Run, classifier: Classifier, timed: Step) -> Judged:
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
    return Judged(part, store, {"items": len(part), "usable": len(part), "set_aside": [], "findings": []}, notes)


def _other_images(data: str, read: Run, classifier: Classifier, leave_out_unknown: bool, timed: Step) -> Judged:
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
    return Judged(replace(audit.manifest, items=items), store, audit.to_dict(), notes)


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


def _predict(judged: Judged, classifier: Classifier, averaged: bool, timed: Step) -> np.ndarray:
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
        "baseline": majority_baseline(train_labels(read), labels, names),
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
