"""Writes report.html, report.md, report.json and model_card.md beside the files they are drawn from."""

from __future__ import annotations

from pathlib import Path

from tlkit import run as run_folder
from tlkit.errors import InputError
from tlkit.report.facts import gather_facts
from tlkit.report.markdown import render_markdown
from tlkit.report.model_card import render_model_card
from tlkit.report.page import render_page
from tlkit.report.reading import read_run
from tlkit.report.search_page import FACTS as SEARCH_FACTS
from tlkit.report.search_page import SETTINGS as SEARCH_SETTINGS
from tlkit.report.search_page import write_search_page

MARKDOWN = "report.md"
FACTS = "report.json"
MODEL_CARD = "model_card.md"


def write_report(run: str | Path) -> Path:
    """Makes the report of a run, again and again with the same result, from its folder alone.

    Args:
        run: A folder that `tlkit finetune` or `tlkit evaluate` wrote.

    Returns:
        The path of report.html; report.md, report.json and, of a run, model_card.md lie beside it.

    Raises:
        InputError: A file of the folder is missing, damaged or of another version; the message names it.
    """
    folder = Path(run)
    read = read_run(folder)
    facts = gather_facts(read)
    page = render_page(read, facts)
    run_folder.write_json(folder / FACTS, facts)
    run_folder.write_text(folder / MARKDOWN, render_markdown(facts))
    if read.evaluated is None:  # A folder of tlkit evaluate holds no model.
        run_folder.write_text(folder / MODEL_CARD, render_model_card(facts))
    run_folder.write_text(folder / run_folder.REPORT, page)
    return folder / run_folder.REPORT


def write_any_report(folder: str | Path) -> Path:
    """Makes the report of a run, or of a search, whichever the folder holds.

    Raises:
        InputError: As for `write_report`; or a search has not ended yet.
    """
    folder = Path(folder)
    if (folder / SEARCH_FACTS).exists():
        return write_search_page(folder)
    if (folder / SEARCH_SETTINGS).exists():
        raise InputError(
            f"Expected a search that has ended. Received: {folder}, which has no {SEARCH_FACTS} yet. Go on with it: "
            f"tlkit search --resume --output {folder}"
        )
    return write_report(folder)
