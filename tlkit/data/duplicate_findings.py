"""Findings about pictures that are there more than once, under two labels, or in two parts of the split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tlkit.data.findings import Finding, Severity, count, name_some
from tlkit.data.image_findings import BLANK_CONTRAST
from tlkit.data.near_duplicates import HASH_DISTANCE, clusters_of, near_pairs
from tlkit.data.splits import PARTS, crossing

MAX_CLUSTER_SHARE = 0.01
MIN_LARGE_CLUSTER = 20  # In a small set a burst of a camera is over 1 % and yet what grouping is for.
MAX_ACROSS_LABELS = 0.2  # Wrong labels are rarer; pairs that merely look alike lie across labels more often than not.
MIN_ACROSS_LABELS = 10


def find_clusters(items: pd.DataFrame, facts: pd.DataFrame) -> tuple[np.ndarray, list[Finding]]:
    """Gives near-duplicates a common name, unless in this data set looking alike does not mean being the same.

    Grouping is switched off where a cluster holds more than 1 % of the pictures (and more than 20), where more than a
    fifth of the pairs (and at least 10) lie across labels, or where there are too many pairs to look at. Pictures with
    equal thumbnails stay together all the same.

    Args:
        items: The manifest's rows, with digests.
        facts: What was seen of them.

    Returns:
        The name of each row's cluster, "" where it is alone (object array), and findings on grouping.
    """
    pictures = _distinct(items, facts)
    digests = items["digest"].to_numpy(object)[pictures]
    thumbnails = facts["thumbnail"].to_numpy(object)[pictures]
    found = near_pairs(facts["perceptual_hash"].to_numpy(np.uint64)[pictures], thumbnails)
    labels = items["label"].to_numpy(object)[pictures]
    across = int((labels[found.pairs[:, 0]] != labels[found.pairs[:, 1]]).sum())
    centres = clusters_of(len(pictures), found.pairs, digests)
    reason = _reason_against(centres, len(found.pairs), across, found.distance)
    findings = []
    if reason:
        centres = _same_thumbnail(thumbnails)
        message = (
            f"Near-duplicates are not kept together: {reason}. Here pictures look alike without being the same. "
            "If some do belong together (frames of one film, photographs of one object), name them in a group column."
        )
        details = {"pairs": len(found.pairs), "across": across}
        findings.append(Finding("grouping off", "warning", message, details=details))
    elif found.distance < HASH_DISTANCE:
        message = f"Very many pictures look alike: near-duplicates sought up to {found.distance} differing bits only."
        findings.append(Finding("near-duplicates limited", "note", message))
    names = np.array([digests[centre][:16] if centre >= 0 else "" for centre in centres], object)
    by_digest = dict(zip(digests, names, strict=True))
    return np.array([by_digest.get(digest, "") for digest in items["digest"]], object), findings


def _distinct(items: pd.DataFrame, facts: pd.DataFrame) -> np.ndarray:
    """Returns one row for each distinct file that shows something, in the order of digests."""
    usable = (items["status"] == "ok").to_numpy(bool) & (facts["contrast"].to_numpy(float) >= BLANK_CONTRAST)
    first = items[usable].drop_duplicates("digest").sort_values("digest")
    return first.index.to_numpy(np.int64)


def _reason_against(centres: np.ndarray, pairs: int, across: int, distance: int) -> str:
    if distance < 0:
        return "most perceptual hashes are equal"
    if not pairs:
        return ""
    largest = int(np.bincount(centres[centres >= 0]).max())
    if largest > max(MAX_CLUSTER_SHARE * len(centres), MIN_LARGE_CLUSTER):
        return f"one cluster would hold {largest:,} of {len(centres):,} pictures"
    if across >= MIN_ACROSS_LABELS and across > MAX_ACROSS_LABELS * pairs:
        return f"{across:,} of {pairs:,} pairs lie across labels"
    return ""


def _same_thumbnail(thumbnails: Sequence[bytes]) -> np.ndarray:
    groups: dict[bytes, list[int]] = {}
    for row, thumbnail in enumerate(thumbnails):
        groups.setdefault(thumbnail, []).append(row)
    centres = np.full(len(thumbnails), -1, np.int64)
    for rows in groups.values():
        if len(rows) > 1:
            centres[rows] = rows[0]
    return centres


def duplicate_findings(items: pd.DataFrame, facts: pd.DataFrame) -> list[Finding]:
    """Tells of copies, of the same picture in other files, of near-duplicates, and where labels contradict."""
    usable = items[items["status"] == "ok"]
    findings = []
    copies = _groups(usable, usable["digest"])
    findings += _repeated(
        "duplicate files", ("is an exact copy of another", "are exact copies of others"), copies, usable
    )
    distinct = usable.drop_duplicates("digest")
    shown = distinct[facts["contrast"][distinct.index] >= BLANK_CONTRAST]
    pictures = _groups(shown, facts["thumbnail"][shown.index])
    findings += _repeated(
        "duplicate pictures",
        ("shows the same picture as another file", "show the same picture as other files"),
        pictures,
        usable,
    )
    near = [group for group in _groups(distinct, distinct["cluster"]) if group not in pictures]
    findings += _repeated(
        "near-duplicates",
        (
            "is another, saved again, resized or slightly cropped",
            "are others, saved again, resized or slightly cropped",
        ),
        near,
        usable,
    )
    findings += _conflicting("conflicting labels", "error", "the very same file", copies, items)
    findings += _conflicting("conflicting labels", "error", "the same picture", pictures, items)
    findings += _conflicting("near-duplicates across labels", "warning", "nearly the same picture", near, items)
    return findings


def _groups(rows: pd.DataFrame, keys: pd.Series) -> list[tuple[int, ...]]:
    """Returns the row numbers of each key that several rows have, in the order of rows; empty keys are none."""
    grouped: dict[object, list[int]] = {}
    for row, key in zip(rows.index, keys, strict=True):
        if key:
            grouped.setdefault(key, []).append(int(row))
    return [tuple(group) for group in grouped.values() if len(group) > 1]


def _repeated(
    kind: str, texts: tuple[str, str], groups: Sequence[tuple[int, ...]], items: pd.DataFrame
) -> list[Finding]:
    if not groups:
        return []
    more = sum(len(group) - 1 for group in groups)
    names = [[items["item"][row] for row in group] for group in groups]
    text = texts[0] if more == 1 else texts[1]
    message = f"{count(more, 'image')} {text} ({count(len(groups), 'group')}), such as {name_some(names[0])}."
    return [Finding(kind, "warning", message, tuple(name for group in names for name in group), {"groups": names})]


def _conflicting(
    kind: str, severity: Severity, what: str, groups: Sequence[tuple[int, ...]], items: pd.DataFrame
) -> list[Finding]:
    found = [group for group in groups if len({items["label"][row] for row in group}) > 1]
    if not found:
        return []
    told = [[f"{items['item'][row]} ({items['label'][row]})" for row in group] for group in found]
    message = f"{count(len(found), 'picture')} under two labels, {what}, such as {name_some(told[0])}."
    names = tuple(items["item"][row] for group in found for row in group)
    return [Finding(kind, severity, message, names, {"groups": told})]


def leak_findings(items: pd.DataFrame) -> list[Finding]:
    """Tells what lies in two parts of a split that the data came with."""
    usable = items[(items["status"] == "ok") & items["split"].isin(PARTS)]
    findings = []
    for column, kind, what in (
        ("digest", "leak", "the very same file"),
        ("cluster", "leak", "nearly the same picture"),
        ("group", "group across parts", "images of one group"),
    ):
        values = [value for _, value in crossing(usable, (column,))]
        if values:
            rows = usable[usable[column].isin(values)]
            told = [f"{item} ({split})" for item, split in zip(rows["item"], rows["split"], strict=True)]
            message = f"{count(len(values), 'time')} {what} in two parts of the given split: {name_some(told)}."
            findings.append(Finding(kind, "error", message, tuple(rows["item"])))
    return findings
