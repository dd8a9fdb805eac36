"""Reads the files of a run folder, checked and typed; what is wrong with one is told in a line that names it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlkit import run as run_folder
from tlkit.errors import InputError


def damaged(path: Path, reason: str) -> InputError:
    """Returns the error for a file that is not as it was written."""
    return InputError(f"Expected {path} as tlkit finetune wrote it. Received: {reason}. Train again, or restore it.")


def read_text(path: Path) -> str:
    """Reads UTF-8 text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise damaged(path, "bytes that are not UTF-8 text") from None
    except OSError as error:
        raise damaged(path, f"a file that cannot be read ({error.strerror})") from None


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object."""
    try:
        value = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise damaged(path, f"text that is not JSON ({error.msg} in line {error.lineno})") from None
    if not isinstance(value, dict):
        raise damaged(path, f"JSON that is no object but {type(value).__name__}")
    return value


def read_toml(path: Path) -> dict[str, Any]:
    """Reads TOML."""
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise damaged(path, f"text that is not TOML ({error})") from None


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Reads a CSV with at least the columns named, every cell as text."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, na_filter=False, encoding="utf-8")
    except (OSError, ValueError) as error:  # pandas' own parser errors are ValueErrors, as is UnicodeDecodeError.
        raise damaged(path, f"a table that cannot be read ({' '.join(str(error).split())})") from None
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise damaged(path, f"a table without the column {missing[0]}")
    return table.map(run_folder.plain_cell)


def read_numbers(table: pd.DataFrame, column: str, path: Path) -> NDArray[np.float64]:
    """Returns a column as float64, NaN for an empty cell and for infinity, which a run that diverged may hold."""
    try:
        values = np.array([float(cell) if cell else np.nan for cell in table[column]], np.float64)
        return np.where(np.isfinite(values), values, np.nan)
    except ValueError:
        raise damaged(path, f"text that is no number in the column {column}") from None
