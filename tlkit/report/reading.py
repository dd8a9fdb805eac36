"""Reads a run folder: every file checked and typed, so that what follows need not doubt it. Imports no Keras."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlkit import run as run_folder
from tlkit.errors import InputError
from tlkit.report.explained import Explained, read_explained
from tlkit.report.files import damaged, read_json, read_numbers, read_table, read_toml
from tlkit.report.gradient_charts import read_flows
from tlkit.report.varied import Varied, read_varied

NEEDED = (
    run_folder.CONFIG,
    run_folder.ENVIRONMENT,
    run_folder.MANIFEST,
    run_folder.LABELS,
    run_folder.AUDIT,
    run_folder.HISTORY,
    run_folder.METRICS,
    run_folder.PREDICTIONS,
    run_folder.PROBABILITIES,
)
MANIFEST_COLUMNS = ("item", "label", "split", "group", "digest", "status", "problem")
HISTORY_COLUMNS = ("phase", "epoch", "penalty", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy", "best")
PREDICTION_COLUMNS = ("item", "split", "label", "predicted", "confidence", "correct")
NEEDED_FIGURES = ("num_images", "class_names", "accuracy", "intervals", "interval_method", "per_class")
LATER_NUMBERS = ("val_tempered_loss",)  # Of the history; not in the folders of earlier versions.
HISTORY_NUMBERS = HISTORY_COLUMNS[1:-1] + LATER_NUMBERS
TRUE_WORDS = ("1", "true", "1.0")


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Attributes:
        path: The folder.
        status: `"complete"`, `"running"` or `"failed"`.
        config: The tables of config.toml.
        environment: Versions, machine, seconds by step.
        class_names: In the order of the model's outputs.
        manifest: One row an item, all columns text; see `MANIFEST_COLUMNS`.
        audit: What was set aside and found in the data.
        transform: How a file becomes the model's pixels; empty where the run did not record it.
        history: One row a penalty or epoch: text `phase`, bool `best`, the rest float with NaN for empty.
        metrics: From `tlkit.evaluation.evaluate_splits`.
        predictions: One row an evaluated image: text `item`, `split`; int64 `label`, `predicted` (indices into
            `class_names`); float64 `confidence`.
        probabilities: float32 of shape (rows of predictions, classes), a memory map.
        explained: What `tlkit.explaining` wrote, as far as it is there.
        varied: How training pictures were varied, and how steady the answers are, as far as it was written.
        evaluated: Of a folder that `tlkit evaluate` wrote: `run`, `data` (None for the run's own images), `train`
            (training images by class) and `notes`. None for a run.
    """

    path: Path
    status: str
    config: dict[str, Any]
    environment: dict[str, Any]
    class_names: tuple[str, ...]
    manifest: pd.DataFrame
    audit: dict[str, Any]
    transform: dict[str, Any]
    history: pd.DataFrame
    metrics: dict[str, Any]
    predictions: pd.DataFrame
    probabilities: NDArray[np.float32]
    explained: Explained
    gradients: dict[str, dict[str, Any]]
    varied: Varied
    evaluated: dict[str, Any] | None

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def judged_split(self) -> str | None:
        """The split whose figures count: test, or validation where there is no test part, or None."""
        for split in ("test", "validation"):
            if (self.metrics.get(split) or {}).get("num_images"):
                return split
        return None


def read_run(path: str | Path) -> Run:
    """Reads a run folder.

    Args:
        path: A folder that `tlkit finetune` wrote.

    Raises:
        InputError: A file is missing, damaged, of another version, or disagrees with another; the message names it.
    """
    path = Path(path)
    if (path / run_folder.STATE).is_file():
        _check_version(path)
    run_folder.require_run(path, *NEEDED)
    class_names = run_folder.read_labels(path)
    predictions = _read_predictions(path / run_folder.PREDICTIONS, class_names)
    return Run(
        path=path,
        status=str(read_json(path / run_folder.STATE).get("status", "")),
        config=read_toml(path / run_folder.CONFIG),
        environment=read_json(path / run_folder.ENVIRONMENT),
        class_names=class_names,
        manifest=read_table(path / run_folder.MANIFEST, MANIFEST_COLUMNS),
        audit=read_json(path / run_folder.AUDIT),
        transform=read_json(path / run_folder.TRANSFORM) if (path / run_folder.TRANSFORM).exists() else {},
        history=_read_history(path / run_folder.HISTORY),
        metrics=_read_metrics(path / run_folder.METRICS, class_names),
        predictions=predictions,
        probabilities=_read_probabilities(path / run_folder.PROBABILITIES, len(predictions), len(class_names)),
        explained=read_explained(path, class_names),
        gradients=read_flows(path / run_folder.GRADIENTS),
        varied=read_varied(path),
        evaluated=_read_evaluated(path / run_folder.EVALUATION, class_names),
    )


def _check_version(path: Path) -> None:
    version = read_json(path / run_folder.STATE).get("version")
    if version == run_folder.VERSION:
        return
    newer = isinstance(version, int) and version > run_folder.VERSION
    remedy = (
        "A newer tlkit wrote it: update tlkit."
        if newer
        else "An older tlkit wrote it: train again, from its config.toml."
    )
    raise InputError(
        f"Expected a run folder of version {run_folder.VERSION}. Received: version {version} in "
        f"{path / run_folder.STATE}. {remedy}"
    )


def _read_metrics(path: Path, class_names: tuple[str, ...]) -> dict[str, Any]:
    metrics = read_json(path)
    for split in ("validation", "test"):
        part = metrics.get(split)
        if not part:
            continue
        missing = [name for name in NEEDED_FIGURES if name not in part]
        if missing:
            raise damaged(path, f"no {missing[0]} in {split}")
        if list(part["class_names"]) != list(class_names):
            raise damaged(path, f"other class names in {split} than those of {run_folder.LABELS}")
    return metrics


def _read_evaluated(path: Path, class_names: tuple[str, ...]) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    facts = {"run": "", "data": None, "train": {}, "notes": []} | read_json(path)
    if not isinstance(facts["train"], dict) or set(facts["train"]) != set(class_names):
        raise damaged(path, "no number of training images for each class")
    return facts


def _read_history(path: Path) -> pd.DataFrame:
    table = read_table(path, HISTORY_COLUMNS)
    table = table.assign(**{name: "" for name in LATER_NUMBERS if name not in table})
    numbers = {name: read_numbers(table, name, path) for name in HISTORY_NUMBERS}
    best = table["best"].str.lower().isin(TRUE_WORDS)
    return table.assign(**numbers, best=best)


def _read_predictions(path: Path, class_names: tuple[str, ...]) -> pd.DataFrame:
    table = read_table(path, PREDICTION_COLUMNS)
    index = {name: position for position, name in enumerate(class_names)}
    codes = {name: table[name].map(index) for name in ("label", "predicted")}
    for name, values in codes.items():
        if values.isna().any():
            stranger = table[name][values.isna()].iloc[0]
            raise damaged(path, f"the class {stranger!r}, which {run_folder.LABELS} has not")
    whole = {name: values.astype("int64") for name, values in codes.items()}
    return table.assign(**whole, confidence=read_numbers(table, "confidence", path))


def _read_probabilities(path: Path, num_rows: int, num_classes: int) -> NDArray[np.float32]:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise damaged(path, f"a file that is no array ({error})") from None
    if values.shape != (num_rows, num_classes):
        raise damaged(path, f"shape {values.shape}, not {(num_rows, num_classes)} as {run_folder.PREDICTIONS} tells")
    return values
