"""Figures as people read them: percentages that never round to a false 100, intervals, durations, sizes."""

from __future__ import annotations

import re
import unicodedata

from tlkit.durations import tell_duration

NARROW_SPACE = "\u202f"  # Between number and unit; it does not break.
UNDEFINED = "–"
MARKED = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2066-\u2069\ufeff]")


def visible(text: str) -> str:
    """Replaces characters that hide or reorder text (controls, direction overrides) by their code, such as ⟨U+202E⟩."""
    return MARKED.sub(lambda match: f"⟨U+{ord(match.group()):04X}⟩", text)


def quoted(name: str) -> str:
    """Returns a name from the data in quotes, its direction kept to itself where it is written from right to left."""
    shown = visible(name)
    if any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in shown):
        shown = f"\u2068{shown}\u2069"
    return f"“{shown}”"


def percent(share: float | None) -> str:
    """Returns a share from 0 to 1 as a percentage; only exactly 0 and 1 read as 0 and 100."""
    if share is None:
        return UNDEFINED
    number = f"{share * 100:.1f}"
    if number == "100.0":
        number = "100" if share == 1 else ">99.9"
    elif number == "0.0":
        number = "0" if share == 0 else "<0.1"
    return f"{number}{NARROW_SPACE}%"


def percent_interval(interval: list[float] | None) -> str:
    """Returns an interval of shares, such as 91.1–96.3 %."""
    if not interval:
        return UNDEFINED
    low, high = (f"{bound * 100:.1f}" for bound in interval)
    return f"{low}–{high}{NARROW_SPACE}%"


def number(value: float | None, digits: int = 3) -> str:
    """Returns a number with a fixed count of decimals."""
    return UNDEFINED if value is None else f"{value:.{digits}f}"


def signed(value: float, digits: int = 3) -> str:
    """Returns a number with its sign, a true minus where it is negative and none where it rounds to zero."""
    written = f"{value:+.{digits}f}"
    return (written[1:] if float(written) == 0 else written).replace("-", "−")


def points(share: float | None) -> str:
    """Returns a difference of shares in percentage points, with its sign."""
    return UNDEFINED if share is None else signed(share * 100, 1)


def points_interval(interval: list[float | None]) -> str:
    """Returns an interval of such differences, such as −0.4 to +2.1."""
    low, high = interval
    return UNDEFINED if low is None or high is None else f"{points(low)} to {points(high)}"


def number_interval(interval: list[float] | None, digits: int = 3) -> str:
    """Returns an interval of numbers, such as 0.142–0.310."""
    return f"{number(interval[0], digits)}–{number(interval[1], digits)}" if interval else UNDEFINED


def short_number(value: float | None) -> str:
    """Returns a number of any size in three significant digits, such as 0.000215 or 1e-06."""
    return UNDEFINED if value is None else f"{value:.3g}"


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """Returns a count with its noun, such as 1 image, 1,200 images."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def duration(seconds: float | None) -> str:
    """Returns a duration, such as 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    return UNDEFINED if seconds is None else tell_duration(seconds, NARROW_SPACE)


def size(count: float | None) -> str:
    """Returns a number of bytes in decimal units, such as 23.4 MB."""
    if count is None:
        return UNDEFINED
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f}{NARROW_SPACE}{unit}" if unit == "bytes" else f"{count:.1f}{NARROW_SPACE}{unit}"
        count /= 1000
    return f"{count:.1f}{NARROW_SPACE}GB"


def listed(names: list[str], most: int = 5) -> str:
    """Returns names as a sentence has them: a, b and c; a long list ends with how many more there are."""
    shown = [quoted(name) for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most:,} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
