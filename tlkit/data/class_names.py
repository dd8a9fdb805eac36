"""Class names as users write them: brought to one form, refused where nothing could hold them, clashes named."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from tlkit.data.findings import Finding
from tlkit.errors import InputError

# Control characters, line and paragraph separators, and halves of undecodable bytes: no line of text can hold them.
REFUSED_CATEGORIES = ("Cc", "Zl", "Zp", "Cs")


def normalise(name: str, what: str = "class name") -> str:
    """Returns the name in Unicode's composed form (NFC), in which two ways of typing an accent are one.

    Raises:
        InputError: The name is empty or holds a control character.
    """
    if not name.strip():
        raise InputError(f"Expected a {what} with at least one visible character. Received: {name!r}.")
    for character in name:
        if unicodedata.category(character) in REFUSED_CATEGORIES:
            raise InputError(f"Expected a {what} without control characters. Received: {name!r}. Rename it.")
    return unicodedata.normalize("NFC", name)


def clashes(names: Iterable[str]) -> list[Finding]:
    """Returns findings about names, as written, that look alike: the same after NFC, or but for case or space."""
    same: dict[str, set[str]] = defaultdict(set)
    alike: dict[str, set[str]] = defaultdict(set)
    for name in names:
        normal = unicodedata.normalize("NFC", name)
        same[normal].add(name)
        alike[" ".join(normal.casefold().split())].add(normal)
    findings = []
    for normal, written in sorted(same.items()):
        if len(written) > 1:
            forms = " and ".join(ascii(name) for name in sorted(written))
            message = f"{forms} are the same name in Unicode; they are taken as one class, {normal!r}."
            findings.append(Finding("class names merged", "warning", message, tuple(sorted(written))))
    for group in alike.values():
        if len(group) > 1:
            forms = " and ".join(repr(name) for name in sorted(group))
            message = f"Classes {forms} differ only by case or space; if they are one class, give them one name."
            findings.append(Finding("class names alike", "warning", message, tuple(sorted(group))))
    return findings
