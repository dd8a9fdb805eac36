"""Whether the pictures of a search that is taken up again are those that it began with."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

from tlkit import console
from tlkit.errors import InputError
from tlkit.preflight import preflight
from tlkit.search.folder import FEATURES
from tlkit.search.plan import Plan

if TYPE_CHECKING:
    from tlkit.data.manifest import Manifest

COLUMNS = ("item", "label", "split", "group")


def marks_of_data(manifest: Manifest) -> dict[str, str]:
    """Returns `listing`, which names what lies where under which class, and `files`, which a file's change changes."""
    from tlkit.data.packing import marks_of

    table = "\0".join("\0".join(manifest.items[name]) for name in COLUMNS)
    listing = hashlib.blake2b(table.encode("utf-8", "surrogateescape"), digest_size=16)
    files = hashlib.blake2b(marks_of(manifest).tobytes(), digest_size=16)
    return {"listing": listing.hexdigest(), "files": files.hexdigest()}


def require_same_data(plan: Plan) -> dict[str, str]:
    """Looks at the pictures of a search that is taken up again.

    Where files have changed under their old names, features that were computed of them are removed.

    Returns:
        Their marks now.

    Raises:
        InputError: They are gone, or others.
    """
    _, manifest = preflight(plan.base, new=False)
    now, then = marks_of_data(manifest), plan.data_marks or {}
    if then and now["listing"] != then["listing"]:
        raise InputError(
            f"Expected the images that {plan.folder} began with. Received: others in {plan.base.data.data}; some were "
            "added, removed, renamed or put into another class. Put them back, or search anew into another --output."
        )
    if then and now["files"] != then["files"]:
        console.warn(
            f"Files in {plan.base.data.data} were written since this search began: what was computed of them is "
            "computed anew. Scores of earlier trials stand."
        )
        shutil.rmtree(plan.folder / FEATURES, ignore_errors=True)
    return now
