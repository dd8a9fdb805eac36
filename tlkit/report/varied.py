"""How a run varied its training pictures and how steady its answers are, read from the files that may lie there."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit import run as run_folder
from tlkit.report.files import damaged, read_json, read_numbers, read_table

NEEDED = ("preset", "flip", "layers", "reasons")
SYMMETRY_NUMBERS = ("images", "agreement", "change")
WHEN = ("before", "after")
LARGEST_SHEET = 700_000  # Bytes of base64: six rows of eight pictures have some 250 kB.
JPEG_START = b"\xff\xd8\xff"


@dataclass(frozen=True)
class Varied:
    """What a run folder holds of its augmentation; None or empty where a file is not there.

    Attributes:
        facts: From augmentation.json.
        symmetry: One dict a transformation: `transformation`, `images`, and for `before` and `after` training a dict
            of `agreement` and `change`, or None.
        sheet: Data URI of the pictures before and after augmentation.
    """

    facts: dict[str, Any] | None = None
    symmetry: tuple[dict[str, Any], ...] = ()
    sheet: str = ""


def read_varied(path: Path) -> Varied:
    """Reads what a run folder tells of its augmentation.

    Raises:
        InputError: A file is there and damaged.
    """
    return Varied(
        _read_facts(path / run_folder.AUGMENTATION),
        _read_symmetry(path / run_folder.SYMMETRY),
        _read_sheet(path / run_folder.PREVIEW),
    )


def _read_facts(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    facts = read_json(path)
    missing = [name for name in NEEDED if name not in facts]
    if missing:
        raise damaged(path, f"no {missing[0]}")
    for name in ("layers", "reasons"):
        if not isinstance(facts[name], list):
            raise damaged(path, f"no list of {name}")
    return facts


def _read_symmetry(path: Path) -> tuple[dict[str, Any], ...]:
    if not path.is_file():
        return ()
    table = read_table(path, ("transformation", "when", *SYMMETRY_NUMBERS))
    numbers = {name: read_numbers(table, name, path) for name in SYMMETRY_NUMBERS}
    if not table["when"].isin(WHEN).all():
        raise damaged(path, "a time that is neither before nor after")
    rows: dict[str, dict[str, Any]] = {}
    for place, (moved, when) in enumerate(zip(table["transformation"], table["when"], strict=True)):
        row = rows.setdefault(moved, {"transformation": moved, "images": 0, **dict.fromkeys(WHEN)})
        row["images"] = int(numbers["images"][place])
        row[when] = {name: float(numbers[name][place]) for name in SYMMETRY_NUMBERS[1:]}
    return tuple(rows.values())


def _read_sheet(path: Path) -> str:
    if not path.is_file() or path.stat().st_size * 4 // 3 > LARGEST_SHEET:
        return ""
    data = path.read_bytes()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii") if data.startswith(JPEG_START) else ""


def told_augmentation(facts: dict[str, Any]) -> list[str]:
    """Returns in sentences how training pictures were varied."""
    told = [str(reason) for reason in facts["reasons"]]
    if facts.get("told"):
        told.append(str(facts["told"]))
    if not facts.get("trained_on", True):
        told.append("So nothing was trained on augmented pictures: all figures are on plain ones.")
    elif facts.get("mixes"):
        told.append(
            "Training pictures and labels are mixed, so training accuracy tells how often the larger part of a mixture "
            "was named; it is lower than on plain pictures. Validation figures are on plain pictures with hard labels."
        )
    elif facts["layers"]:
        told.append("Training figures are on augmented pictures, validation figures on plain ones.")
    return told
