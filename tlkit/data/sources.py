"""From what `--data` takes to a manifest: a folder, a table, an archive, arrays, or the name of a set."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tlkit.data.arrays import builtin
from tlkit.data.folders import from_directory, what_is_there
from tlkit.data.manifest import MIN_IMAGES_PER_CLASS, Manifest
from tlkit.errors import InputError, unknown_name

NAMED: dict[str, Callable[..., Manifest]] = {"builtin": builtin}
"""What may stand before a colon."""


def from_spec(spec: str, *, min_images: int = MIN_IMAGES_PER_CLASS) -> Manifest:
    """Makes a manifest of whatever the user named.

    Args:
        spec: `./folder`, `builtin:digits`.
        min_images: See `require_trainable`; 0 checks nothing.

    Raises:
        InputError: There is no such thing, or it is no data set.
    """
    path = Path(spec)
    scheme, colon, rest = spec.partition(":")
    if colon and not path.exists() and re.fullmatch(r"[a-z][a-z0-9_]+", scheme):
        if scheme not in NAMED:
            raise unknown_name("kind of data", scheme + ":", [name + ":" for name in NAMED])
        return NAMED[scheme](rest, min_images=min_images)
    if path.is_dir():
        return from_directory(spec, min_images=min_images)
    expected = "a folder, a table, an archive or a named set such as builtin:digits"
    raise InputError(f"Expected {expected}. Received: {spec!r}, {what_is_there(path)}")
