"""Reads a run folder: every file checked and typed, so that what follows need not doubt it. Imports no Keras."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlkit import run as run_folder
from tlkit.errors import InputError

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
HISTORY_NUMBERS = HISTORY_COLUMNS[1:-1]
TRUE_WORDS = ("1", "true", "1.0")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "'")


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
        status=str(_read_json(path / run_folder.STATE).get("status", "")),
        config=_read_toml(path / run_folder.CONFIG),
        environment=_read_json(path / run_folder.ENVIRONMENT),
        class_names=class_names,
        manifest=_read_table(path / run_folder.MANIFEST, MANIFEST_COLUMNS),
        audit=_read_json(path / run_folder.AUDIT),
        transform=_read_json(path / run_folder.TRANSFORM) if (path / run_folder.TRANSFORM).exists() else {},
        history=_read_history(path / run_folder.HISTORY),
        metrics=_read_metrics(path / run_folder.METRICS, class_names),
        predictions=predictions,
        probabilities=_read_probabilities(path / run_folder.PROBABILITIES, len(predictions), len(class_names)),
    )


def _check_version(path: Path) -> None:
    version = _read_json(path / run_folder.STATE).get("version")
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


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"Expected {path} as tlkit finetune wrote it. Received: {reason}. Train again, or restore it.")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise _damaged(path, "bytes that are not UTF-8 text") from None
    except OSError as error:
        raise _damaged(path, f"a file that cannot be read ({error.strerror})") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise _damaged(path, f"text that is not JSON ({error.msg} in line {error.lineno})") from None
    if not isinstance(value, dict):
        raise _damaged(path, f"JSON that is no object but {type(value).__name__}")
    return value


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise _damaged(path, f"text that is not TOML ({error})") from None


def _read_metrics(path: Path, class_names: tuple[str, ...]) -> dict[str, Any]:
    metrics = _read_json(path)
    for split in ("validation", "test"):
        part = metrics.get(split)
        if not part:
            continue
        missing = [name for name in NEEDED_FIGURES if name not in part]
        if missing:
            raise _damaged(path, f"no {missing[0]} in {split}")
        if list(part["class_names"]) != list(class_names):
            raise _damaged(path, f"other class names in {split} than those of {run_folder.LABELS}")
    return metrics


def read_cell(text: str) -> str:
    """Returns a CSV cell as it was meant: without the quote that keeps a spreadsheet from running it as a formula."""
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA_STARTS) else text


def _read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Reads a CSV with at least the columns named, every cell as text."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, na_filter=False, encoding="utf-8")
    except (OSError, ValueError) as error:  # pandas' own parser errors are ValueErrors, as is UnicodeDecodeError.
        raise _damaged(path, f"a table that cannot be read ({' '.join(str(error).split())})") from None
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise _damaged(path, f"a table without the column {missing[0]}")
    return table.map(read_cell)


def _numbers(table: pd.DataFrame, column: str, path: Path) -> NDArray[np.float64]:
    """Returns a column as float64, NaN for an empty cell and for infinity, which a run that diverged may hold."""
    try:
        values = np.array([float(cell) if cell else np.nan for cell in table[column]], np.float64)
        return np.where(np.isfinite(values), values, np.nan)
    except ValueError:
        raise _damaged(path, f"text that is no number in the column {column}") from None


def _read_history(path: Path) -> pd.DataFrame:
    table = _read_table(path, HISTORY_COLUMNS)
    numbers = {name: _numbers(table, name, path) for name in HISTORY_NUMBERS}
    best = table["best"].str.lower().isin(TRUE_WORDS)
    return table.assign(**numbers, best=best)


def _read_predictions(path: Path, class_names: tuple[str, ...]) -> pd.DataFrame:
    table = _read_table(path, PREDICTION_COLUMNS)
    index = {name: position for position, name in enumerate(class_names)}
    codes = {name: table[name].map(index) for name in ("label", "predicted")}
    for name, values in codes.items():
        if values.isna().any():
            stranger = table[name][values.isna()].iloc[0]
            raise _damaged(path, f"the class {stranger!r}, which {run_folder.LABELS} has not")
    whole = {name: values.astype("int64") for name, values in codes.items()}
    return table.assign(**whole, confidence=_numbers(table, "confidence", path))


def _read_probabilities(path: Path, num_rows: int, num_classes: int) -> NDArray[np.float32]:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, f"a file that is no array ({error})") from None
    if values.shape != (num_rows, num_classes):
        raise _damaged(path, f"shape {values.shape}, not {(num_rows, num_classes)} as {run_folder.PREDICTIONS} tells")
    return values
