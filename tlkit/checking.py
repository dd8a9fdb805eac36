"""The check of a data set before training: everything looked at, told as a table, and kept as JSON or a page."""

from __future__ import annotations

from pathlib import Path

from tlkit import console, run
from tlkit.data import Audit
from tlkit.data import check as audit_data


def check_data(spec: str, json_file: Path | None, html_file: Path | None, max_pixels: int | None) -> bool:
    """Audits a data set, prints what was found and writes it to the files named.

    Args:
        spec: What `--data` takes.
        json_file: Where to write the audit as JSON, or None.
        html_file: Where to write it as a page, or None.
        max_pixels: Pictures of more pixels are refused; the default limit when None.

    Returns:
        Whether anything was found that a person should look at: an item set aside, a warning or an error.

    Raises:
        InputError: There is no such data set.
    """
    limits = {} if max_pixels is None else {"max_pixels": max_pixels}
    with console.step("Looking at the images", "images") as on_progress:
        _, audit = audit_data(spec, on_progress, **limits)
    _tell(audit)
    if json_file is not None:
        run.write_json(json_file, audit.to_dict())
        console.say(f"Written: {json_file}")
    if html_file is not None:
        from tlkit.report.audit_page import write_audit_page

        write_audit_page(audit.to_dict(), audit.manifest.counts(), spec, html_file)
        console.say(f"Written: {html_file}")
    return audit.worst() in ("error", "warning")


def _tell(audit: Audit) -> None:
    manifest = audit.manifest
    console.say(f"{len(manifest):,} items, {int(manifest.usable.sum()):,} usable, {manifest.num_classes} classes")
    counts = manifest.counts()
    rows = [[name, *row] for name, row in zip(counts.index, counts.to_numpy().tolist(), strict=True)]
    console.table("", ["Class", *counts.columns], rows, right=list(counts.columns))
    if not audit.findings and not audit.set_aside:
        console.say("Nothing was found.")
        return
    found = [[finding.severity, finding.kind, finding.message] for finding in audit.findings]
    console.table("\nFindings", ["Severity", "Kind", "What was found"], found)
