"""From what `--data` takes to a manifest: a folder, a table, an archive, arrays, or the name of a set."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tlkit.data.archives import archive_kind, from_archive
from tlkit.data.arrays import builtin
from tlkit.data.folders import from_directory, what_is_there
from tlkit.data.idx import from_idx
from tlkit.data.manifest import MIN_IMAGES_PER_CLASS, Manifest
from tlkit.data.npz import from_npz
from tlkit.data.tables import TABLE_ENDINGS, from_table
from tlkit.data.tfds import from_tfds
from tlkit.errors import InputError, unknown_name

NAMED: dict[str, Callable[..., Manifest]] = {"builtin": builtin, "idx": from_idx, "tfds": from_tfds}
"""What may stand before a colon."""


def from_spec(spec: str, *, min_images: int = MIN_IMAGES_PER_CLASS) -> Manifest:
    """Makes a manifest of whatever the user named.

    Args:
        spec: A folder, a table (`.csv`, `.tsv`, `.parquet`), an `.npz` file, a zip or tar archive, `builtin:digits`,
            `idx:FOLDER` or `tfds:NAME[:SPLIT]`.
        min_images: Fewest usable images a class, see `require_trainable`; 0 checks nothing, as for an audit.

    Raises:
        InputError: There is no such thing, or it is no data set.
    """
    path = Path(spec)
    scheme, colon, rest = spec.partition(":")
    if colon and re.fullmatch(r"[a-z][a-z0-9_]+", scheme) and not path.exists():
        if scheme not in NAMED:
            raise unknown_name("kind of data", scheme + ":", [name + ":" for name in NAMED])
        return NAMED[scheme](rest, min_images=min_images)
    if path.is_dir():
        return from_directory(spec, min_images=min_images)
    if path.is_file():
        return _from_file(path, min_images)
    expected = "a folder, a table, an archive or a named set such as builtin:digits"
    raise InputError(f"Expected {expected}. Received: {spec!r}, {what_is_there(path)}")


def _from_file(path: Path, min_images: int) -> Manifest:
    ending = path.suffix.lower()
    if ending == ".npz":
        return from_npz(path, min_images=min_images)
    if ending in TABLE_ENDINGS:
        return from_table(path, min_images=min_images)
    if archive_kind(path):
        return from_archive(path, min_images=min_images)
    raise InputError(
        "Expected a folder of images, a table (.csv, .tsv, .parquet), .npz, or a zip or tar archive. "
        f"Received: {str(path)!r}, which is none of these, or is damaged."
    )
