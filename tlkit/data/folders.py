"""A folder with one folder a class, perhaps below `train`, `validation` and `test`, as a source of images."""

from __future__ import annotations

import os
from pathlib import Path

from tlkit.data.items import FileSource
from tlkit.data.layout import rows_from_paths
from tlkit.data.listing import list_files
from tlkit.data.manifest import MIN_IMAGES_PER_CLASS, Manifest, make_manifest
from tlkit.errors import InputError, nearest


def from_directory(path: str | Path, *, min_images: int = MIN_IMAGES_PER_CLASS) -> Manifest:
    """Makes a manifest of a folder with one folder a class; images may lie in folders below those.

    Folders named train, val (valid, validation) and test at the top, and no others, give the split. Every file is taken
    for an image until its content says otherwise, whatever its ending; hidden files and what systems leave behind are
    passed over and counted. Links to files are followed within the folder; links out of it are refused.

    Args:
        path: The folder.
        min_images: See `require_trainable`; 0 checks nothing.

    Raises:
        InputError: No such folder, no classes in it, or too few of them or of their images.

    Example:
        manifest = from_directory("images").split(seed=0)
    """
    root = Path(path)
    if not root.is_dir():
        raise InputError(f"Expected a folder of images. Received: {str(path)!r}, {what_is_there(root)}")
    listing = list_files(root)
    rows, findings = rows_from_paths(listing.files, str(path), listing.told())
    return make_manifest(rows, FileSource(str(path), str(root)), findings, min_images=min_images)


def what_is_there(path: Path) -> str:
    """Returns a few words on a path that is not what was expected, with the nearest name beside it."""
    if path.is_symlink() and not path.exists():
        return "a link to nothing."
    if path.exists():
        return "which is a folder." if path.is_dir() else "which is not a folder."
    try:
        beside = [entry.name for entry in os.scandir(path.parent)]
    except OSError:
        beside = []
    guess = nearest(path.name, beside)
    return "which does not exist." + (f" Did you mean {str(path.parent / guess)!r}?" if guess else "")
