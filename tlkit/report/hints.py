"""Hints in words, each drawn from the figures of the run and naming them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import tlkit.report.data_hints as data_hints
from tlkit.report.data_hints import Hint, note, warning
from tlkit.report.words import (
    counted,
    listed,
    number,
    percent,
    percent_interval,
    points,
    points_interval,
    quoted,
    short_number,
)

MOST_HINTS = 10
FEW_IMAGES = 20  # Training images below which a class usually suffers.
LOW_RECALL = 0.7
WIDE_INTERVAL = 0.1
SURE = 0.99
CALIBRATION_GAP = 0.03
CALIBRATION_HARM = 0.005  # Below it, what temperature scaling costs is noise.
SPLIT_GAP = 0.05
FIT_GAP = 0.1  # Between training and validation accuracy.
IMBALANCE = 10


def make_hints(facts: dict[str, Any]) -> list[Hint]:
    """Returns the hints for a report's facts, the gravest first, each with `severity` and `text`."""
    rules: tuple[Callable[[dict[str, Any]], Iterator[Hint]], ...] = (
        data_hints.about_findings,
        _about_baseline,
        _about_missing_parts,
        _about_weak_classes,
        _about_confused_pairs,
        _about_labels,
        data_hints.about_label_issues,
        _about_phases,
        _about_folds,
        _about_fit,
        _about_path,
        _about_uncertainty,
        _about_splits,
        _about_calibration,
        _about_balance,
        data_hints.about_set_aside,
    )
    found = [hint for rule in rules for hint in rule(facts)]
    return sorted(found, key=lambda hint: ("warning", "note").index(hint["severity"]))[:MOST_HINTS]


def _judged(facts: dict[str, Any]) -> dict[str, Any]:
    return facts["results"].get(facts["judged_split"]) or {}


def _about_baseline(facts: dict[str, Any]) -> Iterator[Hint]:
    baseline = facts["baseline"]["accuracy"]
    interval = (_judged(facts).get("intervals") or {}).get("accuracy")
    if baseline is not None and interval and interval[0] <= baseline:
        yield warning(
            f"The model is not shown to beat the simplest guess: its accuracy may be as low as {percent(interval[0])}, "
            f"and naming {quoted(facts['baseline']['class_name'])} every time reaches {percent(baseline)}."
        )


def _about_missing_parts(facts: dict[str, Any]) -> Iterator[Hint]:
    if facts["judged_split"] == "validation":
        yield warning(
            "There is no test part. The figures come from the validation images, which also chose the model, so they "
            "flatter it. Keep some images for a test part to know how it does on new ones."
        )
    rows = facts["per_class"]
    without = [row["class_name"] for row in rows if row["support"] == 0]
    if without and rows:
        yield warning(
            f"{counted(len(without), 'class has', 'classes have')} no {facts['judged_split']} image, so nothing is "
            f"known about {listed(without)}."
        )
    never = [row["class_name"] for row in rows if row["predicted"] == 0 and row["support"] > 0]
    named = _named(facts)
    if len(named) == 1 and never:
        yield warning(f"The model names {listed(named)} for every image: it has learnt nothing to tell classes apart.")
    elif never:
        yield warning(f"The model never names {listed(never)}.")


def _named(facts: dict[str, Any]) -> list[str]:
    """Returns the classes that the model names for any image."""
    return [row["class_name"] for row in facts["per_class"] if row["predicted"] > 0]


def _about_weak_classes(facts: dict[str, Any]) -> Iterator[Hint]:
    weak = [row for row in facts["per_class"] if row["recall"] is not None and row["recall"] < LOW_RECALL]
    for row in sorted(weak, key=lambda row: row["recall"])[:3]:
        found = round(row["recall"] * row["support"])
        few = row["train"] is not None and row["train"] < FEW_IMAGES
        remedy = " More pictures of it are the likeliest remedy." if few else ""
        trained = f" has {counted(row['train'], 'training image')} and" if row["train"] is not None else " has"
        yield warning(
            f"Class {quoted(row['class_name'])}{trained} recall {number(row['recall'], 2)} "
            f"({found} of {row['support']} found).{remedy}"
        )


def _about_confused_pairs(facts: dict[str, Any]) -> Iterator[Hint]:
    for pair in facts["confused_pairs"][:1]:
        if pair["count"] >= 3:
            yield note(
                f"The commonest mistake: {pair['count']} of {pair['support']} images of {quoted(pair['label'])} are "
                f"taken for {quoted(pair['predicted'])} (the reverse: {pair['reverse']}). Compare their pictures."
            )


def _about_labels(facts: dict[str, Any]) -> Iterator[Hint]:
    sure = facts["sure_mistakes"]
    if sure:
        yield note(
            f"{counted(sure, 'mistake')} had a confidence above {percent(SURE)}. Look at "
            f"{'it' if sure == 1 else 'them'} first: such images are often labelled wrongly."
        )


def _about_phases(facts: dict[str, Any]) -> Iterator[Hint]:
    for row in facts["explained"]["phases"]:
        if row["gain"] is None or row["low"] is None or row["high"] is None or row["low"] > 0:
            continue
        told = f"{points(row['gain'])} points ({points_interval([row['low'], row['high']])})"
        if not row.get("kept", True):
            yield note(
                f"Phase {quoted(row['phase'])} was tried and undone, for validation shows no gain: {told} in accuracy."
            )
            continue
        if row["high"] < 0:
            yield warning(f"Phase {quoted(row['phase'])} made validation accuracy worse: {told}. Leave it out.")
        else:
            fell = [number(row[name]) for name in ("log_loss_gain", "log_loss_low", "log_loss_high")]
            lower = f"log-loss lower by {fell[0]} ({fell[1]} to {fell[2]})"
            more = "The cheaper run without it may serve as well."
            if (row["log_loss_low"] or 0) > 0:
                more = f"Its probabilities are better beyond noise: {lower}."
            elif (row["log_loss_gain"] or 0) > 0:
                more = f"Its probabilities are better, if not beyond noise: {lower}. {more}"
            yield note(f"Phase {quoted(row['phase'])} is not shown to change validation accuracy: {told}. {more}")


def _about_folds(facts: dict[str, Any]) -> Iterator[Hint]:
    folds, judged = facts["explained"]["cross_validation"], _judged(facts)
    interval = (judged.get("intervals") or {}).get("accuracy")
    if folds and interval and interval[1] < folds["accuracy"] - 2 * folds["standard_error"]:
        yield warning(
            f"A convex head on the features that training began with reaches {percent(folds['accuracy'])} in folds of "
            f"the training and validation images, more than the {percent_interval(interval)} on "
            f"{facts['judged_split']} images: those differ from the others, or training did harm."
        )


def _best_row(phase: dict[str, Any]) -> dict[str, Any] | None:
    return None if phase["best"] is None else phase["rows"][phase["best"]]


def _about_fit(facts: dict[str, Any]) -> Iterator[Hint]:
    if len(_named(facts)) == 1:  # What is told of that is graver, and would contradict this.
        return
    for phase in facts["training"]["phases"][-1:]:  # The last phase is the one that made the model.
        best = _best_row(phase)
        if best and best["accuracy"] is not None and best["val_accuracy"] is not None:
            gap = best["accuracy"] - best["val_accuracy"]
            if gap > FIT_GAP:
                yield note(
                    f"In phase {quoted(phase['name'])} training accuracy is {percent(best['accuracy'])} and "
                    f"validation accuracy {percent(best['val_accuracy'])}: the model has learnt the training images by "
                    "heart. More images, augmentation or fewer trained layers narrow the gap."
                )


def _about_path(facts: dict[str, Any]) -> Iterator[Hint]:
    for phase in facts["training"]["phases"]:
        best, last = phase["best"], len(phase["rows"]) - 1
        if best is None or last < 1:
            continue
        if phase["kind"] == "epochs" and best == last:
            yield note(f"Phase {quoted(phase['name'])} was still improving in its last epoch; more epochs may help.")
        if phase["kind"] == "penalties" and best in (0, last):
            yield note(
                f"The best penalty, {short_number(phase['rows'][best]['penalty'])}, is at the end of the path that "
                "was tried; a better one may lie beyond."
            )


def _about_uncertainty(facts: dict[str, Any]) -> Iterator[Hint]:
    judged = _judged(facts)
    interval = (judged.get("intervals") or {}).get("accuracy")
    if interval and interval[1] - interval[0] > WIDE_INTERVAL:
        yield note(
            f"With {counted(judged['num_images'], facts['judged_split'] + ' image')} the accuracy is known only to "
            f"{percent_interval(interval)}. More images would narrow it."
        )


def _about_splits(facts: dict[str, Any]) -> Iterator[Hint]:
    validation, test = (facts["results"].get(split) or {} for split in ("validation", "test"))
    if not validation or not test:
        return
    gap = validation["accuracy"] - test["accuracy"]
    interval = (test["intervals"] or {}).get("accuracy")
    if gap > SPLIT_GAP and interval and validation["accuracy"] > interval[1]:
        yield note(
            f"Validation accuracy ({percent(validation['accuracy'])}) lies above what the test part allows "
            f"({percent_interval(interval)}): trust the test figure."
        )


def _about_calibration(facts: dict[str, Any]) -> Iterator[Hint]:
    calibration = facts["calibration"]
    measured = (calibration or {}).get(facts["judged_split"])
    if not calibration or not measured:
        return
    before, after = (measured[when]["expected_calibration_error"] for when in ("before", "after"))
    if before - after > CALIBRATION_GAP:
        sure = "too sure" if calibration["temperature"] > 1 else "not sure enough"
        yield note(
            f"The model is {sure} of itself: its confidence is off by {number(before * 100, 1)} points on average. "
            f"Dividing its logits by {number(calibration['temperature'], 2)} brings that to {number(after * 100, 1)}."
        )
    elif after - before > CALIBRATION_HARM:
        yield note(
            f"Temperature scaling does not help here: on the {facts['judged_split']} images confidence is off by "
            f"{number(before * 100, 1)} points as the model stands and by {number(after * 100, 1)} after it. Use the "
            "probabilities as they are."
        )


def _about_balance(facts: dict[str, Any]) -> Iterator[Hint]:
    counts = [(row["train"], row["class_name"]) for row in facts["data"]["classes"] if row["train"]]
    if not counts:
        return
    (least, rare), (most, common) = min(counts), max(counts)
    if most >= IMBALANCE * least:
        judged = _judged(facts)
        compared = ""
        if judged.get("balanced_accuracy") is not None:
            compared = (
                f" Balanced accuracy ({percent(judged['balanced_accuracy'])}) says more here than accuracy "
                f"({percent(judged['accuracy'])})."
            )
        yield note(
            f"Classes are uneven: {counted(most, 'training image')} of {quoted(common)}, {least} of "
            f"{quoted(rare)}.{compared}"
        )
