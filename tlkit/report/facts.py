"""The facts of a report as one dict, drawn from the run folder alone; page, Markdown and report.json all show these."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from tlkit import run as run_folder
from tlkit.report.confusion import Confusion, confused_pairs, count_cells
from tlkit.report.explained import explained_facts
from tlkit.report.hints import SURE, make_hints
from tlkit.report.pictures import (
    NUM_MISTAKES,
    NUM_UNSURE,
    judged_images,
    least_sure_hits,
    picture_rows,
    worst_mistakes,
)
from tlkit.report.reading import HISTORY_NUMBERS, Run
from tlkit.report.telling import give_verdict

VERSION = 1
SPLITS = ("train", "validation", "test")
MOST_PAIRS = 50
MOST_ITEMS = 100
MOST_GROUPS = 50
MOST_OF_GROUP = 8
HEADLINE = (
    "num_images",
    "num_groups",
    "accuracy",
    "balanced_accuracy",
    "top_2_accuracy",
    "top_3_accuracy",
    "top_5_accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "weighted_f1",
    "cohen_kappa",
    "matthews_correlation",
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier_score",
    "expected_calibration_error",
    "intervals",
    "interval_method",
)


def gather_facts(run: Run) -> dict[str, Any]:
    """Returns everything a report tells, ready for JSON, the same for the same folder wherever it lies.

    Args:
        run: From `read_run`.
    """
    images = judged_images(run)
    confusion = count_cells(images["label"].to_numpy(), images["predicted"].to_numpy(), len(run.class_names))
    judged = (run.metrics.get(run.judged_split) or {}) if run.judged_split else {}
    mistakes = worst_mistakes(images)
    facts: dict[str, Any] = {
        "version": VERSION,
        "run": run.name,
        "status": run.status,
        "class_names": list(run.class_names),
        "judged_split": run.judged_split,
        "evaluated": run.evaluated,
        "asked": {"command": run.environment.get("command"), "config": run.config},
        "data": _data_facts(run),
        "training": {"phases": [_phase(name, rows, run) for name, rows in run.history.groupby("phase", sort=False)]},
        "results": {split: _headline(run.metrics.get(split)) for split in ("validation", "test")},
        "baseline": {"class_name": None, "accuracy": None} | (run.metrics.get("baseline") or {}),
        "per_class": _per_class(run, judged),
        "confused_pairs": _pairs(confusion, run.class_names),
        "num_mistakes": len(mistakes),
        "sure_mistakes": int((mistakes["confidence"] > SURE).sum()),
        "mistakes": picture_rows(mistakes.head(NUM_MISTAKES), run.class_names),
        "unsure_hits": picture_rows(least_sure_hits(images).head(NUM_UNSURE), run.class_names),
        "calibration": run.metrics.get("calibration"),
        "two_classes": _two_classes(run, judged),
        "explained": explained_facts(
            run.explained, dict(zip(run.manifest["item"], run.manifest["digest"], strict=True))
        ),
        "augmentation": run.varied.facts,
        "symmetry": list(run.varied.symmetry),
        "cost": _cost(run),
        "environment": _environment(run),
    }
    facts["verdict"] = give_verdict(facts)
    facts["hints"] = make_hints(facts)
    return facts


def _data_facts(run: Run) -> dict[str, Any]:
    usable = run.manifest["status"] == "ok"
    counts = _class_counts(run.manifest[usable], run.class_names)
    set_aside = run.manifest[~usable]
    return {
        "source": (run.evaluated or {}).get("data") or run.config.get("data", {}).get("data"),
        "items": len(run.manifest),
        "usable": int(usable.sum()),
        "num_groups": int(run.manifest.loc[usable & (run.manifest["group"] != ""), "group"].nunique()),
        "set_aside": [
            {"item": row.item, "label": row.label, "problem": row.problem} for row in set_aside.itertuples(index=False)
        ],
        "findings": [finding_facts(finding) for finding in run.audit.get("findings", [])],
        "transform": run.transform,
        "classes": counts,
        "totals": {split: sum(row[split] for row in counts) for split in (*SPLITS, "unassigned")},
    }


def finding_facts(finding: dict[str, Any]) -> dict[str, Any]:
    """Returns a finding of the audit with the first of its items, and of its groups where items belong together.

    Args:
        finding: As it stands in audit.json, which has all of them.
    """
    items = [str(item) for item in finding.get("items", [])]
    groups = (finding.get("details") or {}).get("groups") or []
    told = {name: str(finding.get(name, "")) for name in ("kind", "severity", "message")}
    return told | {
        "num_items": len(items),
        "items": items[:MOST_ITEMS],
        "num_groups": len(groups),
        "groups": [
            {"size": len(group), "shown": [str(item) for item in group[:MOST_OF_GROUP]]}
            for group in groups[:MOST_GROUPS]
        ],
    }


def _class_counts(items: pd.DataFrame, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    pairs = Counter(zip(items["label"], items["split"], strict=True))
    rows = []
    for name in class_names:
        row = {split: pairs[name, split] for split in SPLITS}
        rows.append({"class_name": name, **row, "unassigned": pairs[name, ""]})
    return rows


def _phase(name: Any, rows: pd.DataFrame, run: Run) -> dict[str, Any]:
    """One phase: its rows with None for empty cells, which of them is the best, and its gradients where recorded."""
    chosen = np.flatnonzero(rows["best"].to_numpy())
    numbers = rows[list(HISTORY_NUMBERS)].astype(object).where(rows[list(HISTORY_NUMBERS)].notna(), None)
    listed = numbers.to_dict("records")
    for row in listed:
        row["epoch"] = None if row["epoch"] is None else int(row["epoch"])
    return {
        "name": str(name),
        "kind": "penalties" if rows["penalty"].notna().any() else "epochs",
        "best": int(chosen[-1]) if len(chosen) else None,
        "rows": listed,
        "gradients": run.gradients.get(str(name)),
    }


def _headline(metrics: dict[str, Any] | None) -> dict[str, Any] | None:
    if not metrics or not metrics.get("num_images"):
        return None
    return {name: metrics[name] for name in HEADLINE if name in metrics}


def _per_class(run: Run, judged: dict[str, Any]) -> list[dict[str, Any]]:
    usable = run.manifest[(run.manifest["status"] == "ok") & (run.manifest["split"] == "train")]
    train = Counter(usable["label"]) if run.evaluated is None else run.evaluated["train"]
    return [{"train": train[row["class_name"]], **row} for row in judged.get("per_class", [])]


def _pairs(confusion: Confusion, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    pairs = confused_pairs(confusion)
    counts = {(true, predicted): count for true, predicted, count in pairs}
    support = confusion.support
    return [
        {
            "label": class_names[true],
            "predicted": class_names[predicted],
            "count": count,
            "support": int(support[true]),
            "reverse": counts.get((predicted, true), 0),
        }
        for true, predicted, count in pairs[:MOST_PAIRS]
    ]


def _two_classes(run: Run, judged: dict[str, Any]) -> dict[str, Any] | None:
    """Sensitivity and specificity at the threshold that was asked for, else at one half; None for more classes."""
    screening = run.metrics.get("screening") or {}
    if run.judged_split in screening:
        return {"wanted_sensitivity": screening["wanted_sensitivity"], **screening[run.judged_split]}
    found = judged.get("two_classes")
    return {"wanted_sensitivity": None, **found} if found else None


def _cost(run: Run) -> dict[str, Any]:
    """Seconds by step; memory by step and parameters where the run recorded them; size of the model file."""
    seconds = run.environment.get("seconds") or {}
    model = run.path / run_folder.MODEL
    return {
        "seconds": seconds,
        "total_seconds": round(sum(seconds.values()), 3),
        "peak_memory_bytes": run.environment.get("peak_memory_bytes") or {},
        "parameters": run.environment.get("parameters") or {},
        "model_bytes": model.stat().st_size if model.is_file() else None,
    }


def _environment(run: Run) -> dict[str, Any]:
    left_out = ("command", "seconds", "peak_memory_bytes", "parameters")
    return {name: value for name, value in run.environment.items() if name not in left_out}
