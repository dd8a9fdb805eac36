"""Reading classes and parts of a split from paths: `class/picture.jpg` or `train/class/picture.jpg`."""

from __future__ import annotations

from collections.abc import Sequence

from tlkit.data.findings import Finding, count, name_some
from tlkit.errors import InputError

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Names of folders, in lower case, and of values of a split column, with the part they stand for."""


def rows_from_paths(
    paths: Sequence[str], name: str, findings: Sequence[Finding] = ()
) -> tuple[list[dict[str, str]], list[Finding]]:
    """Reads the class, and the part where folders give it, of each file from its path.

    Args:
        paths: Files below the root, with `/`.
        name: What the user gave, for messages.
        findings: What listing the files found; told in the error where no class is left.

    Returns:
        A row (`item`, `label`, `split`) for each file in a class, and all findings.

    Raises:
        InputError: No file lies in a class folder.
    """
    tops = {path.split("/", 1)[0] for path in paths if "/" in path}
    given = bool(tops) and all(top.lower() in SPLIT_FOLDERS for top in tops) and _holds_training(tops)
    depth = 2 if given else 1
    rows, outside = [], []
    for path in paths:
        folders = path.split("/")[:-1]
        if len(folders) < depth:
            outside.append(path)
            continue
        part = SPLIT_FOLDERS[folders[0].lower()] if given else ""
        rows.append({"item": path, "label": folders[depth - 1], "split": part})
    if not rows:
        raise _no_classes(name, outside, findings)
    _check_level(rows, name, depth)
    told = [*findings]
    if outside:
        message = f"{count(len(outside), 'file')} outside the class folders passed over: {name_some(outside)}."
        told.append(Finding("outside the classes", "note", message, tuple(outside)))
    return rows, told


def _holds_training(tops: set[str]) -> bool:
    return any(SPLIT_FOLDERS[top.lower()] == "train" for top in tops)


def _no_classes(name: str, outside: Sequence[str], findings: Sequence[Finding]) -> InputError:
    received = (f"{count(len(outside), 'file')} and " if outside else "") + "no class folder with files"
    problems = " ".join(finding.message for finding in findings if finding.severity != "note")
    return InputError(f"Expected one folder a class in {name!r}. Received: {received}. {problems}".strip())


def _check_level(rows: Sequence[dict[str, str]], name: str, depth: int) -> None:
    """Names the folder one level below where that is what was meant: a single class holding nothing but folders."""
    only = {row["label"] for row in rows}
    below = {folders[depth] for row in rows if len(folders := row["item"].split("/")[:-1]) > depth}
    direct = any(len(row["item"].split("/")) == depth + 1 for row in rows)
    if len(only) == 1 and len(below) > 1 and not direct:
        folder = "/".join(rows[0]["item"].split("/")[:depth])
        raise InputError(
            f"Expected at least 2 classes in {name!r}. Received: one folder, {folder!r}, with {len(below)} folders "
            f"in it. Did you mean {name.rstrip('/') + '/' + folder!r}?"
        )
