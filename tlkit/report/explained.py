"""What explains a run, read from the files that may lie beside it, and told as facts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlkit import run as run_folder
from tlkit.report.files import damaged, read_json, read_numbers, read_table

PHASE_NUMBERS = ("images", "accuracy", "log_loss", "gain", "low", "high")
FALLS = ("log_loss_gain", "log_loss_low", "log_loss_high")  # Older runs have not written them down.
ISSUE_COLUMNS = ("item", "split", "label", "suggested", "confidence", "label_probability")
NEEDED = {
    "heat_maps": ("method", "layer", "grid", "images"),
    "embedding": ("method", "images", "of"),
    "cross_validation": ("folds", "images", "accuracy", "standard_error"),
    "label_issues": ("images", "issues"),
}
SHOWN_ISSUES = 24


@dataclass(frozen=True)
class Explained:
    """What a run folder holds beyond its results; None or empty where a file is not there.

    Attributes:
        facts: From explanations.json: `heat_maps`, `embedding`, `cross_validation`, `label_issues`, each a dict or
            None, and `notes`.
        phases: One row a phase: text `phase` and, where the file has it, `kept`; the rest float with NaN for empty.
        label_issues: One row an image: text, but `confidence` and `label_probability` float.
        embedding: One row an image: text `item`; float `x`, `y` from 0 to 1.
    """

    facts: dict[str, Any]
    phases: pd.DataFrame | None
    label_issues: pd.DataFrame | None
    embedding: pd.DataFrame | None


def read_explained(path: Path, class_names: tuple[str, ...]) -> Explained:
    """Reads what explains a run.

    Args:
        path: The run folder.
        class_names: Of the run.

    Raises:
        InputError: A file is there and damaged.
    """
    facts = _read_facts(path / run_folder.EXPLANATIONS)
    return Explained(
        facts=facts,
        phases=_read_phases(path / run_folder.PHASES),
        label_issues=_read_issues(path / run_folder.LABEL_ISSUES, class_names) if facts["label_issues"] else None,
        embedding=_read_embedding(path / run_folder.EMBEDDING) if facts["embedding"] else None,
    )


def _read_facts(path: Path) -> dict[str, Any]:
    nothing: dict[str, Any] = {**dict.fromkeys(NEEDED), "notes": []}
    if not path.is_file():
        return nothing
    facts = nothing | read_json(path)
    for name, needed in NEEDED.items():
        part = facts[name]
        missing = [key for key in needed if part is not None and (not isinstance(part, dict) or key not in part)]
        if missing:
            raise damaged(path, f"no {missing[0]} in {name}")
    return facts


def _read_numbers(path: Path, texts: tuple[str, ...], columns: tuple[str, ...]) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    table = read_table(path, (*texts, *columns))
    return table.assign(**{name: read_numbers(table, name, path) for name in columns})


def _read_phases(path: Path) -> pd.DataFrame | None:
    table = _read_numbers(path, ("phase",), PHASE_NUMBERS)
    if table is None:
        return None
    if not set(FALLS) <= set(table):
        return table.assign(**dict.fromkeys(FALLS, np.nan))
    return table.assign(**{name: read_numbers(table, name, path) for name in FALLS})


def _read_issues(path: Path, class_names: tuple[str, ...]) -> pd.DataFrame | None:
    table = _read_numbers(path, ISSUE_COLUMNS[:4], ISSUE_COLUMNS[4:])
    for name in ("label", "suggested") if table is not None else ():
        strange = table[name][~table[name].isin(class_names)]  # type: ignore[index]
        if len(strange):
            raise damaged(path, f"the class {strange.iloc[0]!r}, which {run_folder.LABELS} has not")
    return table


def _read_embedding(path: Path) -> pd.DataFrame | None:
    table = _read_numbers(path, ("item",), ("x", "y"))
    if table is not None and not table[["x", "y"]].apply(lambda column: column.between(0, 1)).all(axis=None):
        raise damaged(path, "a place outside the map, which goes from 0 to 1")
    return table


def explained_facts(explained: Explained, digests: dict[str, str]) -> dict[str, Any]:
    """Returns what the report tells of it, ready for JSON.

    Args:
        explained: From `read_explained`.
        digests: Digest of each item.
    """
    facts = {name: explained.facts[name] for name in NEEDED}
    if facts["label_issues"] is not None:
        facts["label_issues"] = facts["label_issues"] | {"shown": _shown_issues(explained.label_issues, digests)}
    notes = [str(note) for note in explained.facts["notes"]]
    return {"phases": _phase_rows(explained.phases), **facts, "notes": notes}


def _phase_rows(phases: pd.DataFrame | None) -> list[dict[str, Any]]:
    if phases is None:
        return []
    rows = phases[["phase", *PHASE_NUMBERS, *FALLS]].astype(object).where(phases.notna(), None).to_dict("records")
    undone = phases["kept"].eq("False") if "kept" in phases else [False] * len(rows)
    left_out: list[dict[str, Any]] = [{"kept": False} if was else {} for was in undone]
    return [{str(name): value for name, value in row.items()} | more for row, more in zip(rows, left_out, strict=True)]


def _shown_issues(issues: pd.DataFrame | None, digests: dict[str, str]) -> list[dict[str, Any]]:
    if issues is None:
        return []
    return [
        {
            "item": row.item,
            "digest": digests.get(row.item, ""),
            "split": row.split,
            "label": row.label,
            "suggested": row.suggested,
            "confidence": None if np.isnan(row.confidence) else row.confidence,
            "label_probability": None if np.isnan(row.label_probability) else row.label_probability,
        }
        for row in issues.head(SHOWN_ISSUES).itertuples(index=False)
    ]
