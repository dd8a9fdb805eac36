"""What may be read from an archive: names that stay inside it, plain files, and no more bytes than make sense."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from tlkit.data.findings import Finding, Severity, count, name_some
from tlkit.data.listing import is_litter, is_unicode
from tlkit.errors import InputError

MAX_MEMBER_BYTES = 1 << 30
"""A file in an archive may unpack to 1 GiB; a larger one is set aside unread."""
MAX_RATIO = 200
"""An archive may unpack to 200 times its size (pictures hardly shrink; blank bitmaps do), beyond the first 256 MiB."""
FREE_BYTES = 256 << 20


@dataclass
class Members:
    """What an archive holds: the files to read, and what is refused, by reason."""

    files: list[str] = field(default_factory=list)
    litter: Counter[str] = field(default_factory=Counter)
    refused: dict[str, list[str]] = field(default_factory=dict)

    def refuse(self, reason: str, name: str) -> None:
        """Notes a member that is not read."""
        self.refused.setdefault(reason, []).append(name)

    def accepts(self, name: str, size: int) -> bool:
        """Tells whether a regular file may be read, noting it where not."""
        if not is_unicode(name):
            self.refuse("undecodable name", ascii(name))
        elif not is_safe_name(name):
            self.refuse("unsafe name", name)
        elif any(is_litter(part) for part in name.split("/") if part != "."):
            self.litter[name.rsplit("/", 1)[-1]] += 1
        elif size > MAX_MEMBER_BYTES:
            self.refuse("too large", name)
        else:
            return True
        return False

    def told(self) -> list[Finding]:
        """Returns a finding for each reason why members were refused or passed over."""
        findings = [
            Finding(reason, severity, f"Refused in the archive ({text}): {name_some(names)}.", tuple(names))
            for reason, names in sorted(self.refused.items())
            for severity, text in [REASONS[reason]]
        ]
        if self.litter:
            message = f"{count(self.litter.total(), 'hidden or system file')} passed over."
            findings.append(Finding("passed over", "note", message, details=dict(self.litter)))
        return findings


REASONS: dict[str, tuple[Severity, str]] = {
    "unsafe name": ("error", "an absolute path or one that leads out of the archive"),
    "undecodable name": ("error", "a name that is not valid Unicode"),
    "link in the archive": ("error", "a link"),
    "device in the archive": ("error", "a device or pipe"),
    "encrypted": ("error", "it wants a password"),
    "too large": ("error", f"it would unpack to more than {MAX_MEMBER_BYTES >> 20} MiB"),
    "repeated name": ("warning", "a name that comes twice; the last is read"),
}


def is_safe_name(name: str) -> bool:
    """Tells whether a path stays below where it starts, on any system."""
    parts = re.split(r"[/\\]", name)
    return not (name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) or ".." in parts or "\0" in name)


def check_total(total: int, size: int, name: str) -> None:
    """Refuses an archive that would unpack to far more than it is.

    Raises:
        InputError: `total` bytes are over the limits for an archive of `size` bytes.
    """
    limit = FREE_BYTES + MAX_RATIO * size
    if total > limit:
        raise InputError(
            f"Expected {name} to unpack to at most {limit:,} bytes ({MAX_RATIO} times its size). Received: over that, "
            "as decompression bombs do. Unpack it yourself if it is sound."
        )
