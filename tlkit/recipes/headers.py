"""What a recipe says of itself, in its docstring: purpose, command, data, expected figures, machine, time."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tlkit.errors import InputError, unknown_name

FIELDS = ("Purpose", "Command", "Data", "Expected", "Machine", "Time")
FIGURE = re.compile(r"(?P<name>[a-z0-9_]+) (?P<mean>-?[\d.]+) ± (?P<spread>[\d.]+)")
LISTED = re.compile(rf", (?={FIGURE.pattern})")  # Between two figures.


@dataclass(frozen=True)
class Header:
    """A recipe's header.

    Attributes:
        path: The script.
        title: The first line.
        fields: Text by name, those of `FIELDS`.
        expected: Mean and spread by figure; empty where it was not run.
    """

    path: Path
    title: str
    fields: dict[str, str]
    expected: dict[str, tuple[float, float]]

    @property
    def name(self) -> str:
        """Such as `01_mnist_cnn`."""
        return self.path.stem

    def misses(self, figures: dict[str, tuple[float, float]], accelerator: bool = False) -> tuple[str, ...]:
        """Returns a line for every expected figure that is not there, or outside the stated spread.

        Args:
            figures: Mean and spread by name.
            accelerator: Whether they were measured on a GPU or TPU, where some recipes do more, under other names:
                figures that are not there are then no fault.
        """
        lines = []
        for name, (mean, spread) in self.expected.items():
            if name not in figures:
                lines += [] if accelerator else [f"{name}: expected {mean:g} ± {spread:g}, not measured"]
            elif abs(figures[name][0] - mean) > spread:
                lines.append(f"{name}: expected {mean:g} ± {spread:g}, measured {figures[name][0]:g}")
        return tuple(lines)


def read_header(path: str | Path) -> Header:
    """Reads the header of a recipe.

    Raises:
        InputError: There is no docstring, or a field is missing.
    """
    path = Path(path)
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not doc:
        raise InputError(f"Expected a docstring in the recipe {path}. Received: none.")
    title, _, rest = doc.partition("\n")
    fields: dict[str, str] = {}
    name = ""
    for line in rest.splitlines():
        match = re.match(rf"({'|'.join(FIELDS)}): +(.*)", line)
        if match:
            name = match[1]
            fields[name] = match[2]
        elif name and line.startswith(" "):
            fields[name] += " " + line.strip()
        else:
            name = ""
    missing = [field for field in FIELDS if field not in fields]
    if missing:
        raise InputError(f"Expected a line {missing[0]!r} in the docstring of the recipe {path}. Received: none.")
    found = FIGURE.finditer(fields["Expected"])
    figures = {match["name"]: (float(match["mean"]), float(match["spread"])) for match in found}
    return Header(path, title.strip(), fields, figures)


def read_headers(folder: str | Path) -> tuple[Header, ...]:
    """Reads the headers of all recipes in a folder: the scripts whose names begin with a number."""
    return tuple(read_header(path) for path in sorted(Path(folder).glob("[0-9][0-9]_*.py")))


def find_recipe(headers: Iterable[Header], name: str) -> Header:
    """Finds a recipe by its number, its name or the beginning of either.

    Raises:
        InputError: There is none, or more than one.
    """
    headers = list(headers)
    wanted = Path(name).stem.zfill(2) if name.isdigit() else Path(name).stem
    found = [header for header in headers if header.name.startswith(wanted) or header.name[3:].startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(header.name for header in found)
        raise InputError(f"Expected one recipe. Received: {name!r}, which {names} begin with.")
    raise unknown_name("recipe", name, [header.name for header in headers])


def as_table(headers: Iterable[Header]) -> str:
    """Returns the recipes as a Markdown table."""
    heads = ("recipe", "data", "measured (± two standard deviations over seeds)", "machine", "time")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for header in headers:
        cells = [f"[{header.name}]({header.path.name}): {header.title}"]
        texts = header.fields | {"Expected": LISTED.sub("<br>", header.fields["Expected"])}
        cells += [texts[name].replace("|", "/") for name in ("Data", "Expected", "Machine", "Time")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
