"""Names for the pictures of a search: two sets with the same names are the same, for every trial."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlkit.data.manifest import Manifest

COLUMNS = ("item", "label", "split", "group")


def marks_of_data(manifest: Manifest) -> dict[str, str]:
    """Returns `listing`, which names what lies where under which class, and `files`, which a file's change changes."""
    from tlkit.data.packing import marks_of

    table = "\0".join("\0".join(manifest.items[name]) for name in COLUMNS)
    return {"listing": _hash(table.encode("utf-8", "surrogateescape")), "files": _hash(marks_of(manifest).tobytes())}


def mark_of_contents(items: Iterable[str], digests: Iterable[str]) -> str:
    """Names what the pictures show, which decides their division too.

    Args:
        items: Their names.
        digests: From `digest_of`; empty where one cannot be read.
    """
    rows = sorted(f"{item}\0{digest}" for item, digest in zip(items, digests, strict=True))
    return _hash("\n".join(rows).encode("utf-8", "surrogateescape"))


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
