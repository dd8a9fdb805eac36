"""Findings about single images: no image at all, another format than the name says, odd sizes, nothing on it."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
from PIL import Image

from tlkit.data.findings import Finding, Severity, count, name_some
from tlkit.data.formats import PROBLEM_KINDS

MIN_SIDE = 32
"""Pixels; below, a network trained at 96 to 300 sees little but interpolation."""
HUGE_PIXELS = 50_000_000
"""Pixels; above, decoding takes seconds and a photograph is usually a scan or a panorama."""
MAX_ASPECT = 4.0
"""Longer over shorter side; above, the default central crop shows less than a quarter of the picture."""
BLANK_CONTRAST = 2.0
"""Standard deviation of grey levels, 0 to 127.5; below, a picture is one colour to the eye."""

_SAME_FORMAT = {"MPO": "JPEG", "DIB": "BMP", "HEIF": "HEIF"}
_ENDING_ALIASES = {".jfif": "JPEG", ".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF", ".mpo": "JPEG", ".dib": "BMP"}

_MEANS = {
    "empty": "0 bytes",
    "not an image": "something else",
    "truncated": "broken off",
    "unreadable": "cannot be decoded or read",
    "too large": "over the limit on pixels",
    "no decoder": "a format that nothing installed reads",
}


def unreadable_findings(items: pd.DataFrame, facts: pd.DataFrame) -> list[Finding]:
    """Tells what was set aside, one finding for each kind of problem."""
    findings = []
    for kind in PROBLEM_KINDS:
        bad = (facts["status"] == kind).to_numpy(bool)
        if bad.any():
            names = tuple(items["item"][bad])
            first = facts["problem"][bad].iloc[0]
            message = f"{count(len(names), 'item')} set aside ({_MEANS[kind]}): {name_some(names)}. First: {first}"
            findings.append(Finding(kind, "warning", message, names))
    return findings


def image_findings(items: pd.DataFrame, facts: pd.DataFrame) -> list[Finding]:
    """Tells of images that can be used but may not be what was meant."""
    ok = (facts["status"] == "ok").to_numpy(bool)
    width, height = facts["width"].to_numpy(np.int64), facts["height"].to_numpy(np.int64)
    short, long = np.minimum(width, height), np.maximum(width, height)
    wrong = np.array([_is_wrong(item, name) for item, name in zip(items["item"], facts["format"], strict=True)], bool)
    frames, contrast = facts["frames"].to_numpy(np.int64), facts["contrast"].to_numpy(float)
    # What is said of one image, and what of several.
    checks: list[tuple[str, Severity, np.ndarray, tuple[str, str], str]] = [
        (
            "wrong ending",
            "note",
            wrong,
            ("holds", "hold"),
            "a format that the name does not say; the content is believed",
        ),
        ("tiny", "note", short < MIN_SIDE, ("has", "have"), f"a side below {MIN_SIDE} pixels"),
        (
            "huge",
            "note",
            width * height > HUGE_PIXELS,
            ("has", "have"),
            f"more than {HUGE_PIXELS // 10**6} million pixels",
        ),
        (
            "extreme aspect",
            "warning",
            long > MAX_ASPECT * short,
            ("is", "are"),
            f"more than {MAX_ASPECT:g} times as long as wide: a central crop shows little of that, pad shows all",
        ),
        ("blank", "warning", contrast < BLANK_CONTRAST, ("shows", "show"), "one colour only"),
        ("animation", "note", frames > 1, ("has", "have"), "several frames; the first is used"),
    ]
    findings = []
    for kind, severity, mask, verbs, text in checks:
        found = mask & ok
        if found.any():
            names = tuple(items["item"][found])
            message = f"{_number(found, ok)} {verbs[len(names) > 1]} {text}: {name_some(names)}."
            findings.append(Finding(kind, severity, message, names))
    return findings


def _number(found: np.ndarray, ok: np.ndarray) -> str:
    return f"All {int(ok.sum()):,} images" if found.sum() == ok.sum() > 1 else count(int(found.sum()), "image")


def _is_wrong(item: str, name: str) -> bool:
    ending = os.path.splitext(item)[1].lower()
    if not ending or name in ("", "array"):
        return False
    expected = _ENDING_ALIASES.get(ending) or Image.registered_extensions().get(ending, "")
    return _SAME_FORMAT.get(expected, expected) != _SAME_FORMAT.get(name, name)
