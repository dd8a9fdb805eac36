"""Hints about the pictures and their labels, and the form that all hints have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tlkit.report.words import counted, quoted, visible

# What the findings of the audit do to a model and to its figures.
CONSEQUENCES = {
    "conflicting labels": "At most one of the labels is right: such pictures mislead the model and count as mistakes.",
    "near-duplicates across labels": "One of the labels may be wrong.",
    "leak": "The model is judged on pictures it was trained on: its figures are too good.",
    "group across parts": "The model may know the group and not the class: its figures may be too good.",
    "class missing from a part": "Nothing is known about how well the model does on it.",
}
MANY_ISSUES = 0.02  # Share of labels that look wrong; cleaned sets of photographs have less.

Hint = dict[str, str]


def warning(text: str) -> Hint:
    """Makes a hint at what makes the model or its figures worse."""
    return {"severity": "warning", "text": text}


def note(text: str) -> Hint:
    """Makes a hint at what is worth knowing."""
    return {"severity": "note", "text": text}


def about_findings(facts: dict[str, Any]) -> Iterator[Hint]:
    """What the audit found that changes the model or its figures."""
    for finding in facts["data"]["findings"]:
        consequence = CONSEQUENCES.get(finding["kind"])
        if consequence and finding["severity"] in ("error", "warning"):
            yield warning(f"{visible(finding['message'])} {consequence}")


def about_label_issues(facts: dict[str, Any]) -> Iterator[Hint]:
    """Labels that look wrong."""
    found = facts["explained"]["label_issues"]
    if not found or not found["issues"]:
        return
    many = found["issues"] > MANY_ISSUES * found["images"]
    first = found["shown"][:1]
    such = (
        f", such as {quoted(first[0]['item'])}, labelled {quoted(first[0]['label'])}, which looks like "
        f"{quoted(first[0]['suggested'])}"
        if first
        else ""
    )
    yield (warning if many else note)(
        f"{counted(found['issues'], 'label')} of {counted(found['images'], 'training and validation image')} "
        f"{'looks' if found['issues'] == 1 else 'look'} wrong{such}. Wrong labels cost accuracy and blur the figures."
    )


def about_set_aside(facts: dict[str, Any]) -> Iterator[Hint]:
    """Files that could not be used."""
    set_aside, items = len(facts["data"]["set_aside"]), facts["data"]["items"]
    if set_aside:
        yield note(
            f"{set_aside:,} of {counted(items, 'file')} could not be used and "
            f"{'was' if set_aside == 1 else 'were'} set aside; the data section names "
            f"{'it' if set_aside == 1 else 'them'}."
        )
