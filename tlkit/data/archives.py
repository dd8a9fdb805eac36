"""Zip and tar archives of folders as a source, read in place; nothing is ever unpacked under a name from the archive."""

from __future__ import annotations

import os
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tlkit.data.findings import Finding, Severity, count, name_some
from tlkit.data.folders import what_is_there
from tlkit.data.layout import SPLIT_FOLDERS, rows_from_paths
from tlkit.data.listing import is_litter, is_unicode
from tlkit.data.manifest import MIN_IMAGES_PER_CLASS, Manifest, Source, make_manifest
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
        if any(is_litter(part) for part in name.split("/")):
            self.litter[name.rsplit("/", 1)[-1]] += 1
        elif not is_unicode(name):
            self.refuse("undecodable name", ascii(name))
        elif not is_safe_name(name):
            self.refuse("unsafe name", name)
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


def from_archive(path: str | Path, *, min_images: int = MIN_IMAGES_PER_CLASS) -> Manifest:
    """Makes a manifest of a zip or tar archive (plain, gzip, bzip2 or xz) that holds one folder a class.

    Read in place; only a compressed tar, which has no random access, is unpacked once, into an unnamed temporary file.
    Links, devices, names that lead out of the archive and members over 1 GiB are refused and named; so is the whole
    archive where it would unpack to over 200 times its size.

    Args:
        path: The archive.
        min_images: See `require_trainable`; 0 checks nothing.

    Raises:
        InputError: No archive, a damaged one, a bomb, or no classes in it.
    """
    from tlkit.data.tars import open_tar
    from tlkit.data.zips import open_zip

    path = Path(path)
    if not path.is_file():
        raise InputError(f"Expected an archive. Received: {str(path)!r}, {what_is_there(path)}")
    kind = archive_kind(path)
    if not kind:
        raise InputError(f"Expected a zip or tar archive. Received: {str(path)!r}, which is neither, or is damaged.")
    source, members = open_zip(path) if kind == "zip" else open_tar(path)
    return _manifest(source, members, str(path), min_images)


def archive_kind(path: Path) -> str:
    """Returns `"zip"`, `"tar"` or an empty text, by content."""
    if zipfile.is_zipfile(path):
        return "zip"
    try:
        return "tar" if tarfile.is_tarfile(path) else ""
    except (OSError, EOFError, ValueError):
        return ""


def _manifest(source: Source, members: Members, name: str, min_images: int) -> Manifest:
    wrapper = _wrapper(members.files)
    inside = [path.removeprefix(wrapper) for path in members.files]
    rows, findings = rows_from_paths(inside, name, members.told())
    for row in rows:
        row["item"] = wrapper + row["item"]
    return make_manifest(rows, source, findings, min_images=min_images)


def _wrapper(files: Iterable[str]) -> str:
    """Returns the folders that all files lie in and that are no class, such as `flowers/`."""
    folders = [file.split("/")[:-1] for file in files]
    shared = os.path.commonprefix(folders) if folders else []
    while shared and (shared[-1].lower() in SPLIT_FOLDERS or not all(len(parts) > len(shared) for parts in folders)):
        shared = shared[:-1]
    return "".join(part + "/" for part in shared)
