"""Lengths of time as people type them, 90s, 10m, 1h30m, and as they read them, 3 min 05 s."""

from __future__ import annotations

import re

from tlkit.errors import InputError

SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}
PATTERN = re.compile(r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?")


def parse_duration(text: str) -> float:
    """Returns the seconds that a text such as `90s`, `10m`, `1h30m` or `2h` stands for.

    Raises:
        InputError: The text is no such duration, or is no time at all.
    """
    found = PATTERN.fullmatch(text.strip().lower().replace(" ", ""))
    parts = {unit: float(number) for unit, number in (found.groupdict() if found else {}).items() if number}
    seconds = sum(SECONDS[unit] * number for unit, number in parts.items())
    if seconds <= 0:
        bare = " Add its unit: s, m or h." if re.fullmatch(r"\d+(\.\d+)?", text.strip()) else ""
        raise InputError(f"Expected a time such as 90s, 10m or 1h30m. Received: {text!r}.{bare}")
    return seconds


def tell_duration(seconds: float, space: str = " ") -> str:
    """Returns a duration for people: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min; `space` stands before a lone unit."""
    if seconds < 9.95:
        return f"{seconds:.1f}{space}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{space}s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
