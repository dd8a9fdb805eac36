"""Makes the page of an audit: what `tlkit check DATA --html FILE` writes, with the look of a run's report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

import tlkit.report.words as words
from tlkit import run as run_folder
from tlkit.errors import InputError
from tlkit.report.facts import finding_facts
from tlkit.report.figures import share_bar
from tlkit.report.templating import NO_PICTURES, render

SEVERITIES = (("error", "Errors"), ("warning", "Warnings"), ("note", "Notes"))
MOST_ROWS = 1000  # Of files set aside; a longer list is for the JSON.
COLUMNS = {"train": "Train", "validation": "Validation", "test": "Test", "unassigned": "In no part"}


def write_audit_page(audit: dict[str, Any], counts: pd.DataFrame, source: str, path: Path) -> None:
    """Writes the page of an audit: one file, no network, everything escaped.

    Args:
        audit: What `Audit.to_dict()` gives and audit.json holds.
        counts: Usable images, one row a class, one column a part of the split, as `Manifest.counts()` gives them.
        source: What was checked, as the user named it.
        path: The HTML file to write.

    Raises:
        InputError: The file cannot be written.
    """
    page = render_audit_page(audit, counts, source)
    try:
        run_folder.write_text(path, page)
    except OSError as error:
        raise InputError(
            f"Expected a file that can be written, in a folder that exists. Received: {path} ({error.strerror})."
        ) from None


def render_audit_page(audit: dict[str, Any], counts: pd.DataFrame, source: str) -> str:
    """Returns the page; see `write_audit_page`."""
    findings = [finding_facts(finding) for finding in audit.get("findings", [])]
    by_severity = {name: [one for one in findings if _severity(one) == name] for name, _ in SEVERITIES}
    return render(
        "audit.html.j2",
        data=NO_PICTURES,
        sections=[("findings", "Findings"), *_set_aside_section(audit), ("classes", "Classes")],
        source=source,
        verdict=tell_audit(audit, by_severity, len(counts)),
        findings=[(title, by_severity[name]) for name, title in SEVERITIES if by_severity[name]],
        set_aside=audit.get("set_aside", []),
        most_rows=MOST_ROWS,
        columns=_columns(counts),
        classes=_classes(counts),
        totals=[int(total) for total in counts.sum()],
    )


def _severity(finding: dict[str, Any]) -> str:
    return finding["severity"] if finding["severity"] in ("error", "warning") else "note"


def _set_aside_section(audit: dict[str, Any]) -> list[tuple[str, str]]:
    return [("set-aside", "Set aside")] if audit.get("set_aside") else []


def tell_audit(audit: dict[str, Any], by_severity: dict[str, list[dict[str, Any]]], num_classes: int) -> str:
    """Returns in two sentences how much data there is and how much was found in it."""
    kinds = [words.counted(len(by_severity[name]), name) for name in ("error", "warning", "note") if by_severity[name]]
    found = f"Found: {', '.join(kinds)}." if kinds else "Nothing was found amiss."
    return (
        f"{words.counted(audit['items'], 'file')}, {audit['usable']:,} of them usable, in "
        f"{words.counted(num_classes, 'class', 'classes')}. {found}"
    )


def _columns(counts: pd.DataFrame) -> list[str]:
    if list(counts.columns) == ["unassigned"]:
        return ["Images"]
    return [COLUMNS.get(str(name), str(name)) for name in counts.columns]


def _classes(counts: pd.DataFrame) -> list[dict[str, Any]]:
    totals = counts.sum(axis=1).to_numpy()
    largest = max(int(totals.max(initial=0)), 1)
    return [
        {"class_name": str(name), "counts": row, "total": int(total), "bar": share_bar(int(total) / largest)}
        for name, row, total in zip(counts.index, counts.to_numpy().tolist(), totals, strict=True)
    ]
