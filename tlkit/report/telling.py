"""What a run amounts to, in sentences and cells that the page and the Markdown share."""

from __future__ import annotations

import json
from typing import Any

from tlkit.report.words import (
    UNDEFINED,
    counted,
    number,
    number_interval,
    percent,
    percent_interval,
    quoted,
    short_number,
    size,
)

FIGURES = (
    ("Images", "num_images", "count"),
    ("Groups", "num_groups", "count"),
    ("Accuracy", "accuracy", "share"),
    ("Balanced accuracy (mean recall of the classes)", "balanced_accuracy", "share"),
    ("Truth among the first 2", "top_2_accuracy", "share"),
    ("Truth among the first 3", "top_3_accuracy", "share"),
    ("Truth among the first 5", "top_5_accuracy", "share"),
    ("Macro precision", "macro_precision", "number"),
    ("Macro F1", "macro_f1", "number"),
    ("Weighted F1", "weighted_f1", "number"),
    ("Cohen's kappa", "cohen_kappa", "number"),
    ("Matthews correlation", "matthews_correlation", "number"),
    ("ROC-AUC, mean over classes", "roc_auc", "number"),
    ("Average precision, mean over classes", "average_precision", "number"),
    ("Log-loss", "log_loss", "number"),
    ("Brier score", "brier_score", "number"),
    ("Expected calibration error", "expected_calibration_error", "number"),
)


def give_verdict(facts: dict[str, Any]) -> str:
    """Returns the run's result in one or two sentences: share right, interval, and what a plain guess would reach."""
    split = facts["judged_split"]
    if split is None:
        return "No image was kept for validation or test, so nothing can be said about how well the model does."
    judged = facts["results"][split]
    told = (
        f"The model names {percent(judged['accuracy'])} of {counted(judged['num_images'], f'{split} image')} right"
        f"{_interval(judged)}; {_baseline(facts)}"
    )
    if split == "validation":
        told += " There is no test part: these images also chose the model, so new images will do worse."
    return told


def _interval(judged: dict[str, Any]) -> str:
    interval = (judged.get("intervals") or {}).get("accuracy")
    return f" (95 % interval {percent(interval[0])} to {percent(interval[1])})" if interval else ""


def _baseline(facts: dict[str, Any]) -> str:
    baseline = facts["baseline"]
    if baseline["accuracy"] is None:
        return "no baseline was recorded."
    named = quoted(baseline["class_name"])
    return f"always naming {named}, the commonest class, would reach {percent(baseline['accuracy'])}."


def figure_cells(results: dict[str, Any], name: str, kind: str) -> tuple[str, str]:
    """Returns a figure and its interval as text; `kind` is `share`, `number` or `count`."""
    value, interval = results.get(name), results["intervals"].get(name)
    if kind == "count":
        return (UNDEFINED if value is None else f"{value:,}"), ""
    if kind == "share":
        return percent(value), percent_interval(interval) if interval else ""
    return number(value), number_interval(interval) if interval else ""


def told_best(phase: dict[str, Any]) -> str:
    """Returns in words which penalty or epoch of a phase was chosen."""
    if phase["best"] is None:
        return "The model has the weights of none of them."
    best = phase["rows"][phase["best"]]
    place = f"penalty {short_number(best['penalty'])}" if phase["kind"] == "penalties" else f"epoch {best['epoch'] + 1}"
    told = (
        f"Chosen by the validation images: {place}, with validation loss {number(best['val_loss'])} and "
        f"accuracy {percent(best['val_accuracy'])}."
    )
    if best["val_tempered_loss"] is None:
        return told
    tempered = number(best["val_tempered_loss"])
    return f"{told} After the best temperature its validation loss is {tempered}; no later epoch is as good."


def told_cross_validation(found: dict[str, Any]) -> str:
    """Returns in a sentence what the convex head reaches in k folds."""
    return (
        f"On the features that training began with, a convex head names {percent(found['accuracy'])} of "
        f"{counted(found['images'], 'training and validation image')} right in {found['folds']} folds (standard error "
        f"{number(found['standard_error'] * 100, 1)} points)."
    )


def told_label_issues(found: dict[str, Any]) -> str:
    """Returns in a sentence or three how many labels look wrong, to whom, and what to do."""
    images = counted(found["images"], "training and validation image")
    if not found["issues"]:
        return f"No label of {images} looks wrong to heads that were fitted without the image."
    told = (
        f"{counted(found['issues'], 'label')} of {images} {'looks' if found['issues'] == 1 else 'look'} wrong to heads "
        "that were fitted without the image (confident learning). Not every one is: look before you change it."
    )
    shown = len(found["shown"])
    return told + (f" The first {shown} follow; label_issues.csv has all." if found["issues"] > shown > 0 else "")


def environment_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns the environment flat, as (name, text)."""
    rows = []
    for name, value in facts["environment"].items():
        if isinstance(value, dict):
            rows += [(str(inner), str(one)) for inner, one in value.items()]
        elif name.endswith("_bytes"):
            rows.append((name.removesuffix("_bytes"), size(value)))
        else:
            rows.append((name.replace("_", " "), value if isinstance(value, str) else json.dumps(value)))
    return rows
