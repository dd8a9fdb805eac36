"""The folder of an evaluation: it reads as a run without a model, so that it has a report and can be compared."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tlkit import results, run
from tlkit.data.manifest import Manifest
from tlkit.data.store import Store
from tlkit.report.reading import Run

COPIED = (run.CONFIG, run.LABELS, run.TRANSFORM, run.HISTORY)


@dataclass(frozen=True)
class Judged:
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


def open_folder(read: Run, data: str | None, output: str | Path | None) -> Path:
    """Makes the folder of an evaluation: the one named, or a new one in the run."""
    if output is not None:
        target = Path(output)
        run.require_free(target)
    else:
        named = "" if data is None else re.sub(r"[^\w.-]+", "-", Path(data).name or data).strip("-.")[:60]
        base = read.path / f"evaluation-{named or read.judged_split}"
        taken = (base.with_name(f"{base.name}-{number}") for number in range(2, 1000))
        target = base if not base.exists() else next(path for path in taken if not path.exists())
    target.mkdir(parents=True, exist_ok=True)
    run.write_state(target, "evaluating")
    return target


def write_evaluation(
    target: Path, read: Run, data: str | None, judged: Judged, probabilities: np.ndarray, metrics: dict[str, Any]
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
    counts = np.bincount(train_labels(read), minlength=len(read.class_names)).tolist()
    facts = {"run": read.name, "data": data, "train": dict(zip(read.class_names, counts, strict=True))}
    run.write_json(target / run.EVALUATION, facts | {"notes": judged.notes})


def command_of(read: Run, data: str | None, sensitivity: float | None, averaged: bool) -> str:
    """Returns the command that makes this evaluation again."""
    words = ["tlkit", "evaluate", str(read.path)]
    words += ["--data", os.path.abspath(data) if os.path.exists(data) else data] if data is not None else []
    words += ["--sensitivity", f"{sensitivity:g}"] if sensitivity is not None else []
    words += ["--tta"] if averaged else []
    return shlex.join(words)


def train_labels(read: Run) -> np.ndarray:
    """Returns the classes of the images that the run was trained on, int64 (images,)."""
    index = {name: position for position, name in enumerate(read.class_names)}
    rows = read.manifest[(read.manifest["split"] == "train") & (read.manifest["status"] == "ok")]
    return rows["label"].map(index).to_numpy(np.int64)
