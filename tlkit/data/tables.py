"""A table that names images and their classes as a source: CSV, TSV, Parquet, or a pandas DataFrame."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from tlkit.data.findings import Finding, count, name_some
from tlkit.data.folders import what_is_there
from tlkit.data.items import FileSource
from tlkit.data.layout import SPLIT_FOLDERS
from tlkit.data.manifest import MIN_IMAGES_PER_CLASS, Manifest, make_manifest
from tlkit.errors import InputError

COLUMN_NAMES = {
    "item": ("item", "path", "image", "image_path", "img_path", "img", "file", "file_name", "filename", "filepath"),
    "label": ("label", "class", "class_name", "category", "target", "species", "diagnosis"),
    "split": ("split", "subset", "partition", "set"),
    "group": ("group", "group_id"),
}
"""Names by which columns are recognised, whatever their case; the first found is taken."""

TABLE_ENDINGS = (".csv", ".tsv", ".tab", ".txt", ".parquet", ".pq")
SEPARATORS = (",", ";", "\t", "|")


def from_table(
    path: str | Path,
    *,
    root: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    min_images: int = MIN_IMAGES_PER_CLASS,
) -> Manifest:
    """Makes a manifest of a CSV, TSV or Parquet file with a column of paths and one of labels.

    Args:
        path: The table. Text is UTF-8 (or UTF-16 with a mark); the separator is found out.
        root: The folder that relative paths start from; by default the table's own.
        columns: Which column holds `item` (the path), `label`, `split` and `group`, where the names do not tell; see
            `COLUMN_NAMES`. `split` and `group` may be missing.
        min_images: See `require_trainable`; 0 checks nothing.

    Raises:
        InputError: The table cannot be read, lacks a column, or names no file that exists.

    Example:
        manifest = from_table("birds.csv", columns={"label": "bird", "group": "camera"})
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"Expected a table. Received: {str(path)!r}, {what_is_there(path)}")
    frame = _read_parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _read_text(path)
    root = path.parent if root is None else root
    return from_dataframe(frame, root=root, columns=columns, name=str(path), min_images=min_images)


def from_dataframe(
    frame: pd.DataFrame,
    *,
    root: str | Path = ".",
    columns: Mapping[str, str] | None = None,
    name: str = "DataFrame",
    min_images: int = MIN_IMAGES_PER_CLASS,
) -> Manifest:
    """Makes a manifest of a pandas DataFrame; see `from_table`."""
    found = _find_columns([str(column) for column in frame.columns], columns or {}, name)
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    texts = pd.DataFrame({role: _as_text(frame[column], column) for role, column in found.items()})
    if texts.empty:
        raise InputError(f"Expected rows in {name}. Received: a table without any.")
    texts["item"] = [_with_slashes(item, root) for item in texts["item"]]
    texts, findings = _clean(texts)
    _check_files(texts["item"].tolist(), root, name)
    if "split" in texts:
        texts["split"] = _parts(texts["split"], found["split"], name)
    rows = [{str(key): str(value) for key, value in row.items()} for row in texts.to_dict("records")]
    return make_manifest(rows, FileSource(name, str(root)), findings, min_images=min_images)


def _read_text(path: Path) -> pd.DataFrame:
    data = path.read_bytes()
    if not data.strip(b"\xef\xbb\xbf \r\n\t"):
        raise InputError(f"Expected a table in {str(path)!r}. Received: an empty file.")
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"Expected a table in UTF-8: {str(path)!r}. Received: {error}. Save it as UTF-8.") from error
    if "\0" in text:
        raise InputError(f"Expected a table of text: {str(path)!r}. Received: binary data.")
    separator = max(SEPARATORS, key=text.lstrip().splitlines()[0].count)
    try:
        header, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row]
    except csv.Error as error:
        raise InputError(f"Expected a table in {str(path)!r}. Received: {error}.") from error
    long = next((number for number, row in enumerate(rows, start=2) if len(row) > len(header)), None)
    if long is not None:
        raise InputError(
            f"Expected {len(header)} cells a row, as the header has, in {str(path)!r}. "
            f"Received: {len(rows[long - 2])} in row {long}. Quote cells that hold {separator!r}."
        )
    if len(set(header)) < len(header):
        raise InputError(f"Expected columns of different names in {str(path)!r}. Received: {', '.join(header)}.")
    return pd.DataFrame([row + [""] * (len(header) - len(row)) for row in rows], columns=header, dtype="str")


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except ImportError as error:
        raise InputError("Expected pyarrow for reading Parquet. Remedy: pip install pyarrow") from error
    except (OSError, ValueError) as error:  # pyarrow's errors are kinds of these.
        told = " ".join(str(error).split())[:200]
        raise InputError(f"Expected a Parquet file: {str(path)!r}. Received: {told}") from error


def _find_columns(names: Sequence[str], given: Mapping[str, str], table: str) -> dict[str, str]:
    unknown = set(given) - set(COLUMN_NAMES)
    if unknown:
        raise InputError(f"Expected columns for {', '.join(COLUMN_NAMES)}. Received: {', '.join(sorted(unknown))}.")
    by_lower = {name.strip().lower(): name for name in reversed(names)}
    found = dict(given)
    for role, candidates in COLUMN_NAMES.items():
        match = next((by_lower[candidate] for candidate in candidates if candidate in by_lower), None)
        if role not in found and match is not None and match not in found.values():
            found[role] = match
    missing = [role for role in ("item", "label") if role not in found]
    missing += [column for column in given.values() if column not in names]
    if missing:
        raise InputError(
            f"Expected a column of paths (such as path, file or image) and one of labels (such as label or class) in "
            f"{table}. Received: {', '.join(names)}; missing: {', '.join(missing)}."
        )
    return found


def _as_text(values: pd.Series, column: str) -> list[str]:
    texts = []
    for value in values.tolist():
        if isinstance(value, bytes | bytearray | dict | list):
            raise InputError(
                f"Expected text in column {column!r}. Received: {type(value).__name__}. Name files instead."
            )
        if value is None or value is pd.NA or value != value:  # NaN alone differs from itself.
            texts.append("")
        elif isinstance(value, float) and value.is_integer():
            texts.append(str(int(value)))
        else:
            texts.append(str(value))
    return texts


def _with_slashes(item: str, root: str | Path) -> str:
    """A table written on Windows has backslashes, which elsewhere are letters of a name."""
    if "\\" in item and not os.path.exists(os.path.join(root, item)):
        return item.replace("\\", "/")
    return item


def _clean(texts: pd.DataFrame) -> tuple[pd.DataFrame, list[Finding]]:
    """Drops rows that name no file or no class, repeats, and files under two labels; tells of each."""
    findings = []
    for role, what in (("item", "path"), ("label", "label")):
        empty = texts[role].str.strip() == ""
        if empty.any():
            rows = tuple(f"row {row + 2}" for row in texts.index[empty])
            message = f"{count(len(rows), 'row')} without a {what} passed over: {name_some(rows)}."
            findings.append(Finding(f"no {what}", "warning", message, rows))
            texts = texts[~empty]
    labels = texts.groupby("item")["label"].nunique()
    torn = texts["item"].isin(set(labels.index[labels > 1]))
    if torn.any():
        names = tuple(sorted(set(texts["item"][torn])))
        message = f"{count(len(names), 'file')} left out, for the table gives it two labels: {name_some(names)}."
        findings.append(Finding("conflicting labels", "error", message, names))
        texts = texts[~torn]
    repeated = texts.duplicated("item")
    if repeated.any():
        names = tuple(texts["item"][repeated])
        message = f"{count(len(names), 'row')} repeated in the table, taken once: {name_some(names)}."
        findings.append(Finding("repeated row", "note", message, names))
        texts = texts[~repeated]
    return texts.reset_index(drop=True), findings


def _check_files(items: Sequence[str], root: str | Path, name: str) -> None:
    missing = [item for item in items if not os.path.exists(os.path.join(root, item))]
    if not items or len(missing) < len(items):
        return  # A few that are missing become rows of the audit.
    if re.match(r"[a-z]+://", missing[0]):
        raise InputError(
            f"Expected paths of files in {name}. Received: addresses such as {missing[0]!r}. Fetch them first."
        )
    raise InputError(
        f"Expected paths below {str(root)!r} in {name}. Received: {count(len(missing), 'path')}, none of which exists, "
        f"such as {missing[0]!r}."
    )


def _parts(values: pd.Series, column: str, name: str) -> list[str]:
    cells = [value.strip().lower() for value in values]
    unknown = sorted({cell for cell in cells if cell and cell not in SPLIT_FOLDERS})
    if unknown:
        raise InputError(
            f"Expected train, validation or test in column {column!r} of {name}. Received: {name_some(unknown)}."
        )
    return [SPLIT_FOLDERS.get(cell, "") for cell in cells]
