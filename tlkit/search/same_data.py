"""Whether the pictures of a search that is taken up again are those that it began with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlkit import console
from tlkit.errors import InputError
from tlkit.preflight import preflight
from tlkit.report.files import read_json
from tlkit.search.data_marks import mark_of_contents, marks_of_data
from tlkit.search.folder import TRUTH
from tlkit.search.plan import Plan
from tlkit.search.recipes import default_recipe

if TYPE_CHECKING:
    from tlkit.data.items import Source


def _digest(source: Source, item: str) -> str:
    from tlkit.data.identity import digest_of

    try:
        return digest_of(source.read(item))
    except (OSError, InputError):
        return ""


def require_same_data(plan: Plan) -> dict[str, str]:
    """Looks at the pictures of a search that is taken up again.

    Where files were written anew, all of them are read and compared with what trials have seen.

    Returns:
        Their marks now.

    Raises:
        InputError: They are gone, or others.
    """
    _, manifest = preflight(default_recipe(plan.base, plan.space), new=False)
    now, then = marks_of_data(manifest), plan.data_marks or {}
    seen = read_json(plan.folder / TRUTH).get("pictures") if (plan.folder / TRUTH).exists() else None
    same = not then or now["listing"] == then["listing"]
    if same and then and seen and now["files"] != then["files"]:
        with console.step("Files were written anew: comparing the images with those that trials have seen"):
            items = manifest.items["item"]
            same = seen == mark_of_contents(items, (_digest(manifest.source, item) for item in items))
    if not same:
        raise InputError(
            f"Expected the images that {plan.folder} began with. Received: others in {plan.base.data.data}; some were "
            "added, removed, renamed, changed or put into another class. Put them back, or search anew into another "
            "--output."
        )
    return now
