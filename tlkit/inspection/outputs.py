"""An inspection in the terminal, as JSON, and as a page."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlkit import console, run
from tlkit.errors import InputError, unknown_name
from tlkit.inspection.examining import Inspection, examine
from tlkit.inspection.facts import gather

FORMATS = ("table", "json", "html")
ENDINGS = {".json": "json", ".html": "html", ".htm": "html"}
UNKNOWN = "?"

COLUMNS = ("Stage", "Layer", "Kind", "Output", "Parameters", "Mult-adds", "FLOPs", "Memory", "Sees", "Cut")
RIGHT = ("Parameters", "Mult-adds", "FLOPs", "Memory", "Sees")


def inspect(
    target: str | Path,
    image_size: int | None = None,
    output_format: str | None = None,
    output: str | Path | None = None,
    data: str | None = None,
    layer: str | None = None,
    channel: int | None = None,
) -> None:
    """Looks into a network and prints or writes what was found: the verb `tlkit inspect`.

    Args:
        target: Name of a backbone, a saved model (`.keras`), or a run folder.
        image_size: Side of the square image in pixels; the network's own when None.
        output_format: `"table"`, `"json"` or `"html"`; what the ending of `output` says, else a table, when None.
        output: File to write; standard output when None, which does for tables and JSON.
        data: Pictures to measure on, as `--data` takes them.
        layer: Layer whose strongest pictures are wanted.
        channel: Its channel.

    Raises:
        InputError: A value cannot be used; the message says what to do.
    """
    path = None if output is None else Path(output)
    chosen = choose_format(output_format, path)
    inspection = examine(
        target, image_size=image_size, data=data, layer=layer, channel=channel, step=console.quiet_step
    )
    if path is None:
        print_tables(inspection) if chosen == "table" else sys.stdout.write(to_json(inspection))
        return
    {"table": write_table, "json": write_json, "html": write_html}[chosen](inspection, path)
    console.say(f"Written: {path}")


def choose_format(asked: str | None, path: Path | None) -> str:
    """Returns the format to write, after making sure that it is one and that the file can be written.

    Raises:
        InputError: An unknown format, a page without a file, or a folder that is not there.
    """
    chosen = asked or (ENDINGS.get(path.suffix.lower(), "table") if path else "table")
    if chosen not in FORMATS:
        raise unknown_name("format", chosen, FORMATS)
    if path is None and chosen == "html":
        raise InputError("Expected a file for the page. Received: none. Name one: --output inspection.html")
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        problem = "a folder" if path.is_dir() else "in a folder that does not exist"
        raise InputError(f"Expected a file to write. Received: {path}, {problem}.")
    return chosen


def to_json(inspection: Inspection) -> str:
    """Returns an inspection as JSON text."""
    return json.dumps(gather(inspection), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(inspection: Inspection, path: Path) -> None:
    """Writes an inspection as JSON."""
    run.write_text(path, to_json(inspection))


def write_html(inspection: Inspection, path: Path) -> None:
    """Writes an inspection as one page that needs no network."""
    from tlkit.report.inspection_page import render_inspection

    run.write_text(path, render_inspection(gather(inspection), _drawn(inspection)))


def _drawn(inspection: Inspection) -> dict[str, Any]:
    """Returns the arrays that the page draws."""
    found = inspection.measurements
    if found is None:
        return {}
    return {
        "images": found.images,
        "filters": (found.filters.weights, found.filters.in_pixels) if found.filters else None,
        "effective": [one.mass for one in found.effective],
        "maps": [(one.layer, one.channels, one.maps) for one in found.maps],
        "strongest": [one.images for one in found.strongest],
    }


def write_table(inspection: Inspection, path: Path) -> None:
    """Writes the tables of an inspection as plain text."""
    run.write_text(
        path, "\n".join(_text(*table) for table in tables(inspection)) + "\n".join(closing(inspection)) + "\n"
    )


def print_tables(inspection: Inspection) -> None:
    """Prints the tables of an inspection."""
    for title, columns, rows, right in tables(inspection):
        console.table(title, columns, rows, right=right)
        console.say()
    for line in closing(inspection):
        console.say(line)


Table = tuple[str, Sequence[str], list[list[str]], Sequence[str]]


def tables(inspection: Inspection) -> list[Table]:
    """Returns (title, columns, rows, columns aligned to the right) of every table."""
    facts = gather(inspection)
    found: list[Table] = [
        (f"{facts['name']}: {_sides(facts['input_shape'])}", COLUMNS, _layer_rows(facts["layers"]), RIGHT)
    ]
    measured = facts["measured"]
    if measured is None:
        return found
    agreement = [[name, f"{share:.1%}"] for name, share in measured["neighbours"]["agreement"].items()]
    if agreement:
        title = f"Share of the {measured['neighbours']['k']} nearest pictures that have the same label"
        found.append((title, ("Space", "Agreement"), agreement, ("Agreement",)))
    found += _symmetry_tables(measured["symmetry"])
    fields = [
        [one["layer"], " x ".join(str(high - low) for low, high in one["box"]), *_radii(one["radius"])]
        for one in measured["effective_fields"]
    ]
    if fields:
        columns = ("Layer", "Can see (px)", "Radius of 50 %", "Radius of 90 %")
        found.append(("What a unit in the middle truly sees: share of its gradient", columns, fields, columns[1:]))
    if measured["gradients"]:
        rows = [
            [one["layer"], _small(one["gradient_norm"]), _small(one["gradient_rms"]), _small(one["weight_norm"])]
            for one in measured["gradients"]["layers"]
        ]
        columns = ("Layer", "Gradient norm", "Root mean square", "Weight norm")
        found.append(("Gradients of one batch", columns, rows, columns[1:]))
    return found


def closing(inspection: Inspection) -> list[str]:
    """Returns the lines below the tables: totals, verdict, notes."""
    facts = gather(inspection)
    totals = facts["totals"]
    lines = [
        f"{totals['layers']:,} steps, {totals['weighted_layers']:,} with weights: {totals['parameters']:,} parameters, "
        f"{totals['trainable_parameters']:,} of them train; {totals['weight_bytes'] / 1e6:,.1f} MB."
    ]
    if totals["multiply_adds"] is not None:
        lines.append(
            f"One image: {count(totals['multiply_adds'])} multiply-adds, {count(totals['operations'])} FLOPs (a "
            "multiply-add counts 2)."
        )
    if totals["activation_bytes"] is not None:
        lines.append(
            f"Memory of outputs for one image: {totals['peak_bytes'] / 1e6:,.1f} MB at the peak of inference, "
            f"{totals['activation_bytes'] / 1e6:,.1f} MB if all are kept, as training does."
        )
    measured = facts["measured"]
    if measured:
        lines.append(f"Measured on {measured['pictures']:,} of {facts['data']['pictures']:,} pictures.")
        if measured["gradients"]:
            lines.append(measured["gradients"]["verdict"]["message"])
    return lines + [f"Note: {note}" for note in facts["notes"]]


def _layer_rows(layers: list[dict[str, Any]]) -> list[list[str]]:
    rows, stage = [], None
    for one in layers:
        rows.append(
            [
                "" if one["stage"] == stage else one["stage"],
                one["name"],
                one["kind"],
                _sides(one["output_shape"]),
                f"{one['parameters']:,}",
                count(one["multiply_adds"]),
                count(one["operations"]),
                _memory(one["activation_bytes"]),
                sees(one["field"]),
                "cut" if one["cut"] else "",
            ]
        )
        stage = one["stage"]
    return rows


def _symmetry_tables(rows: list[dict[str, Any]]) -> list[Table]:
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    made: list[Table] = []
    for kind, title in (
        ("equivariance", "Does a map move along? Error of f(t(x)) = t(f(x)): 0 exact, 1 unrelated"),
        ("invariance", "Does an answer stay? Error of f(t(x)) = f(x): 0 exact, 1 unrelated"),
    ):
        cells = {(row["transformation"], row["layer"]): row[kind] for row in rows}
        names = [one for one in layers if any(cells[t, one] is not None for t, _ in cells if (t, one) in cells)]
        if names:
            labels = dict.fromkeys(row["transformation"] for row in rows)
            body = [[label, *(_error(cells[label, name]) for name in names)] for label in labels]
            made.append((title, ("Transformation", *names), body, names))
    return made


def sees(field: dict[str, Any]) -> str:
    """Returns what a unit sees, such as `212 px`, `212 x 100 px`, `212 px + whole`, `whole`; `?` where not known."""
    if field["size"]:
        sides = field["size"] if len(set(field["size"])) > 1 else field["size"][:1]
        return " x ".join(map(str, sides)) + " px" + (" + whole" if field["whole"] else "")
    if field["unknown"]:
        return UNKNOWN
    return "whole" if field["whole"] else ""


def count(value: float | None) -> str:
    """Returns a large count in three or four digits, such as 86.7 M or 3.86 G."""
    if value is None:
        return UNKNOWN
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.{2 if value < 10 * size else 1}f}{unit}"
    return f"{value:.0f}"


def _sides(shape: list[int | None] | None) -> str:
    return UNKNOWN if shape is None else " x ".join(UNKNOWN if side is None else f"{side}" for side in shape)


def _memory(size: int | None) -> str:
    return UNKNOWN if size is None else f"{size / 1e6:.2f} MB" if size >= 1e4 else f"{size / 1e3:.1f} kB"


def _radii(radius: dict[str, float]) -> list[str]:
    return [f"{radius[share]:.1f}" if share in radius else UNKNOWN for share in ("0.5", "0.9")]


def _small(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3g}"


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _text(title: str, columns: Sequence[str], rows: list[list[str]], right: Sequence[str]) -> str:
    """Returns a table as text in columns."""
    widths = [max(len(row[place]) for row in [list(columns), *rows]) for place in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for cell, width, column in zip(cells, widths, columns, strict=True)
        )
        return "  ".join(aligned).rstrip()

    return "\n".join([title, line(columns), *(line(row) for row in rows), "", ""])
