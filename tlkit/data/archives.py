"""Zip and tar archives of folders as a source, read in place; nothing is unpacked under a name from the archive."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from tlkit.data.folders import what_is_there
from tlkit.data.items import Source
from tlkit.data.layout import SPLIT_FOLDERS, rows_from_paths
from tlkit.data.manifest import MIN_IMAGES_PER_CLASS, Manifest, make_manifest
from tlkit.data.members import Members
from tlkit.data.tars import open_tar
from tlkit.data.zips import open_zip
from tlkit.errors import InputError


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
    shared = sorted(folders, key=len)[0] if folders else []
    while any(parts[: len(shared)] != shared for parts in folders):
        shared = shared[:-1]
    while shared and (shared[-1].lower() in SPLIT_FOLDERS or not all(len(parts) > len(shared) for parts in folders)):
        shared = shared[:-1]
    return "".join(part + "/" for part in shared)
