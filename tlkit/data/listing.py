"""The files of a folder, whatever else lies in it: litter, links, loops, pipes, folders that may not be read."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tlkit.data.findings import Finding, Severity, count, name_some

LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information"}
"""What systems leave in folders beside hidden files (those that begin with a dot), in lower case."""


def is_litter(name: str) -> bool:
    """Tells whether a file or folder of this name is nobody's image: hidden, or left behind by a system."""
    return name.startswith(".") or name.lower() in LITTER


@dataclass
class Listing:
    """What a walk over a tree found: files as paths with `/` below the root, and what was passed over."""

    files: list[str] = field(default_factory=list)
    litter: Counter[str] = field(default_factory=Counter)
    links_out: list[str] = field(default_factory=list)
    links_within: list[str] = field(default_factory=list)
    links_broken: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    undecodable: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def told(self) -> list[Finding]:
        """Returns a finding for each thing that was passed over."""
        findings = [
            _finding("link out of the folder", "error", self.links_out, "refused; copy what they point to"),
            _finding("unreadable folder", "error", self.unreadable, "may not be read; its images are missing"),
            _finding("undecodable name", "error", self.undecodable, "not valid Unicode; rename them"),
            _finding("broken link", "warning", self.links_broken, "points to nothing"),
            _finding("empty folder", "warning", self.empty, "no files in it"),
            _finding("link to a folder", "note", self.links_within, "passed over; the folder itself is listed"),
            _finding("not a file", "note", self.special, "pipes, sockets or devices, passed over"),
        ]
        if self.litter:
            kinds = ", ".join(f"{name} {number:,}" for name, number in self.litter.most_common(5))
            message = f"{count(self.litter.total(), 'hidden or system file')} passed over ({kinds})."
            findings.append(Finding("passed over", "note", message, details=dict(self.litter)))
        return [finding for finding in findings if finding]


def _finding(kind: str, severity: Severity, names: Sequence[str], remedy: str) -> Finding | None:
    if not names:
        return None
    return Finding(kind, severity, f"{kind.capitalize()}: {name_some(names)}: {remedy}.", tuple(names))


def list_files(root: str | Path) -> Listing:
    """Walks a folder, in order of names, and sorts what lies in it. Reads no file, follows no link to a folder."""
    listing = Listing()
    real_root = os.path.realpath(root)
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(os.scandir(os.path.join(root, folder)), key=lambda entry: entry.name)
        except OSError:
            listing.unreadable.append(folder or ".")
            continue
        files_before = len(listing.files)
        below = [entry for entry in entries if _sort_entry(entry, folder, real_root, listing)]
        if folder and not below and len(listing.files) == files_before:
            listing.empty.append(folder)
        pending += [folder + entry.name + "/" for entry in reversed(below)]
    return listing


def _sort_entry(entry: os.DirEntry[str], folder: str, real_root: str, listing: Listing) -> bool:
    """Puts one entry where it belongs in the listing; True for a folder to be walked."""
    path = folder + entry.name
    if is_litter(entry.name):
        listing.litter[entry.name if not entry.name.startswith("._") else "._*"] += 1
    elif not is_unicode(entry.name):
        listing.undecodable.append(ascii(path))
    elif entry.is_symlink():
        _sort_link(entry, path, real_root, listing)
    elif entry.is_dir():
        return True
    elif entry.is_file():
        listing.files.append(path)
    else:
        listing.special.append(path)
    return False


def _sort_link(entry: os.DirEntry[str], path: str, real_root: str, listing: Listing) -> None:
    target = os.path.realpath(entry.path)
    try:
        mode = os.stat(target).st_mode
    except OSError:
        listing.links_broken.append(path)
        return
    if os.path.commonpath([real_root, target]) != real_root:
        listing.links_out.append(path)
    elif stat.S_ISDIR(mode):
        listing.links_within.append(path)
    elif stat.S_ISREG(mode):
        listing.files.append(path)
    else:
        listing.special.append(path)


def is_unicode(name: str) -> bool:
    """Tells whether a name can be written down: file systems also hold bytes that are no text."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
