"""Runs recipes and checks that their figures are within the stated spread; writes the table.

python recipes/check.py              all recipes: hours
python recipes/check.py 01 few       recipes by number or name
python recipes/check.py --smoke      seconds each: only that they run
python recipes/check.py --table      recipes/README.md from the headers
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tlkit.errors import InputError
from tlkit.recipes.headers import Header, as_table, find_recipe, read_headers
from tlkit.recipes.running import read_figures

FOLDER = Path(__file__).parent
README = FOLDER / "README.md"


def run(header: Header, smoke: bool) -> tuple[str, ...]:
    """Runs a recipe and returns what is not as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        command = [sys.executable, str(header.path), "--json", str(figures), *(["--smoke"] if smoke else [])]
        if subprocess.run(command, check=False).returncode:
            return ("it failed",)
        if smoke:
            return ()
        from tlkit.features import has_accelerator  # Loads Keras, which a wrong name need not wait for.

        return header.misses(read_figures(figures), has_accelerator())


def write_table(headers: tuple[Header, ...]) -> None:
    """Puts the table between its two marks in README.md."""
    marked = re.compile(r"(<!-- table -->\n).*(<!-- end -->)", re.DOTALL)
    text = README.read_text(encoding="utf-8")
    README.write_text(marked.sub(lambda match: match[1] + as_table(headers) + match[2], text), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    headers = read_headers(FOLDER)
    if options.table:
        write_table(headers)
        return 0
    try:
        chosen = [find_recipe(headers, name) for name in options.names] or headers
    except InputError as error:
        parser.error(str(error))
    failed = 0
    for header in chosen:
        print(f"\n{header.name}: {header.title}", flush=True)
        misses = run(header, options.smoke)
        failed += bool(misses)
        checked = 0 if options.smoke else len(header.expected)
        good = f"as stated: {checked} figures" if checked else "it runs: nothing was checked"
        print("\n".join(misses) or good, flush=True)
    return 3 if failed else 0


sys.exit(main())
