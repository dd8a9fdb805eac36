"""The audit: what is wrong with a data set, as findings that the split and the report honour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tlkit.config import MAX_PIXELS
from tlkit.data.class_findings import class_findings
from tlkit.data.duplicate_findings import duplicate_findings, find_clusters, leak_findings
from tlkit.data.findings import Finding
from tlkit.data.image_findings import image_findings, unreadable_findings
from tlkit.data.manifest import Manifest
from tlkit.data.scanning import scan
from tlkit.data.sources import from_spec


@dataclass(frozen=True)
class SetAside:
    """An item that is not used: which, one of `formats.PROBLEM_KINDS`, and why in one line."""

    item: str
    kind: str
    problem: str


@dataclass(frozen=True)
class Audit:
    """What the audit found.

    Attributes:
        manifest: The manifest with digests, items set aside, clusters, and all findings.
        set_aside: The items that cannot be used.
    """

    manifest: Manifest
    set_aside: tuple[SetAside, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, those from listing the source first."""
        return self.manifest.findings

    @property
    def clusters(self) -> np.ndarray:
        """The number of each row's cluster of near-duplicates, -1 where it is alone; int64 (n,)."""
        names = self.manifest.items["cluster"]
        return pd.factorize(names.where(names != ""))[0].astype(np.int64)

    def worst(self) -> str:
        """Returns the highest severity found: `"error"`, `"warning"`, `"note"`, or an empty text."""
        present = {finding.severity for finding in self.findings} | ({"warning"} if self.set_aside else set())
        return next((severity for severity in ("error", "warning", "note") if severity in present), "")

    def to_dict(self) -> dict[str, Any]:
        """Returns what stands in `audit.json`."""
        return {
            "items": len(self.manifest),
            "usable": int(self.manifest.usable.sum()),
            "set_aside": [{"item": row.item, "kind": row.kind, "problem": row.problem} for row in self.set_aside],
            "findings": [finding.to_dict() for finding in self.findings],
        }


def audit(manifest: Manifest, facts: pd.DataFrame | Mapping[str, Any]) -> Audit:
    """Judges a data set by what was seen of its items.

    Nothing is deleted or moved: items that give no image are set aside in the manifest, near-duplicates get one cluster
    so that a split keeps them together, the rest is told.

    Args:
        manifest: The items.
        facts: One row an item in the same order, columns as the fields of `examine.Facts`.

    Example:
        audit(manifest, scan(manifest)).findings
    """
    table = pd.DataFrame(facts).reset_index(drop=True)
    examined = _apply(manifest, table)
    clusters, grouping = find_clusters(examined.items, table)
    examined = replace(examined, items=examined.items.assign(cluster=clusters))
    findings = (
        *manifest.findings,
        *unreadable_findings(examined.items, table),
        *image_findings(examined.items, table),
        *duplicate_findings(examined.items, table),
        *grouping,
        *leak_findings(examined.items),
        *class_findings(examined),
    )
    bad = table[table["status"] != "ok"]
    rows = zip(examined.items["item"][bad.index], bad["status"], bad["problem"], strict=True)
    return Audit(replace(examined, findings=findings), tuple(SetAside(*row) for row in rows))


def check(
    spec: str,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    max_pixels: int | None = MAX_PIXELS,
) -> tuple[Manifest, Audit]:
    """Looks at every image of a data set and says what is wrong with it, also where it is not fit for training.

    Args:
        spec: What `from_spec` takes.
        on_progress: Called with (items done, items in all).
        max_pixels: Larger images are refused before decoding; None is no limit.

    Returns:
        The manifest that the audit made, ready for `split`, and the audit.

    Raises:
        InputError: There is no such data set, or nothing in it that could be looked at.
    """
    manifest = from_spec(spec, min_images=0)
    result = audit(manifest, scan(manifest, on_progress, max_pixels=max_pixels))
    return result.manifest, result


def _apply(manifest: Manifest, facts: pd.DataFrame) -> Manifest:
    bad = (facts["status"] != "ok").to_numpy(bool)
    items = manifest.items.assign(
        digest=facts["digest"].astype("str").to_numpy(),
        status=np.where(bad, "set aside", manifest.items["status"]),
        problem=np.where(bad, facts["problem"].astype("str"), manifest.items["problem"]),
    )
    return replace(manifest, items=items.astype("str"))
