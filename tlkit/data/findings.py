"""What is worth telling about a data set, as data: findings, which the audit gathers and the report shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]

SHOWN_NAMES = 5  # More names in one line bury the message; the finding itself holds all of them.


@dataclass(frozen=True)
class Finding:
    """One thing found in a data set.

    Attributes:
        kind: What it is, in a few fixed words, such as `"near-duplicates"`.
        severity: `"error"` where results would be wrong, `"warning"` where they would suffer, `"note"` otherwise.
        message: One line for people, with the count and the remedy.
        items: The items, folders, rows or classes concerned.
        details: Further facts, JSON-able, that belong to this kind.
    """

    kind: str
    severity: Severity
    message: str
    items: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """Returns the finding as it stands in `audit.json`."""
        row: dict[str, Any] = {"kind": self.kind, "severity": self.severity, "message": self.message}
        row["items"] = list(self.items)
        if self.details:
            row["details"] = self.details
        return row


def name_some(names: Iterable[str], shown: int = SHOWN_NAMES) -> str:
    """Returns the first names, quoted and separated by commas, and how many more there are."""
    names = list(names)
    text = ", ".join(repr(name) for name in names[:shown])
    return text if len(names) <= shown else f"{text} and {len(names) - shown:,} more"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Returns `"1 image"` or `"2 images"`: the number with the noun that fits."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
