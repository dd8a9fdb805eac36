"""The frame of a recipe: options, one measurement a seed, the figures with their spread."""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from tlkit import console, run
from tlkit.backend import start_keras
from tlkit.errors import InputError
from tlkit.recipes.memory import GIGABYTE, TooLittleMemoryError, require_memory

Figures = dict[str, float]


def main(
    measure: Callable[[Namespace, int], Figures],
    doc: str,
    *,
    data: str | None = None,
    seeds: int = 3,
    gigabytes: float = 1.5,
    draw: Callable[[Figures, Path], None] | None = None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Runs a recipe: measures once a seed, and prints each figure's mean and twice its standard deviation.

    Args:
        measure: Called with the options (`data`; `smoke`; `accelerator`: whether there is a GPU or TPU) and a seed;
            returns figures by name.
        doc: The recipe's docstring.
        data: The set that it takes when no other is named; None where it makes its own.
        seeds: How many; one with `--smoke`.
        gigabytes: Memory that the full recipe needs, looked at beforehand.
        draw: Called with the mean figures and the path that `--plot` names, to draw them; see `plotting.write_chart`.
        arguments: Of the command line; those of the process when None.

    Returns:
        The exit code: 0, or 2 where something is to be corrected, which is told in one line.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="seconds in place of the full measurement")
    told = f"how many seeds [default: {seeds}; 1 with --smoke]"
    parser.add_argument("--seeds", type=_at_least_one, help=told)
    parser.add_argument("--json", type=_writable, help="also write the figures of each seed to this file")
    if draw is not None:
        parser.add_argument("--plot", type=_writable, help="draw the figures into this SVG file")
    if data is not None:
        parser.add_argument("--data", default=data, help=f"the pictures [default: {data}]")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or (1 if options.smoke else seeds)
    try:
        start_keras()
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # It warns of networks built one after the other.
        from tlkit.distribution import all_devices
        from tlkit.features import has_accelerator

        needed = 0.5 if options.smoke else gigabytes
        require_memory(needed * GIGABYTE, "this recipe", "Close other programs, or use --smoke.")
        options.accelerator = has_accelerator()
        with all_devices():
            means = _measure_all(measure, options)
        if draw is not None and options.plot:
            draw(means, options.plot)
    except InputError as error:
        missing = data is not None and not isinstance(error, TooLittleMemoryError)
        console.fail(f"{error}{_hint(options.data, str(data)) if missing else ''}")
        return 2
    return 0


def _at_least_one(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1. Received: {text}.")
    return int(text)


def _writable(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"expected a file in a folder that can be written. Received: {text}.")
    return path


def _hint(asked: str, default: str) -> str:
    """Says what to take in place of a set that may be what is missing."""
    if asked != default:
        return f" The default needs no network: --data {default}"
    installed = [spec for spec in default.split(",") if spec.startswith("builtin:")] or ["builtin:mnist5k"]
    return f" Without Debian's package dataset-fashion-mnist: --data {','.join(installed)}" if "idx:" in default else ""


def _measure_all(measure: Callable[[Namespace, int], Figures], options: Namespace) -> Figures:
    import keras

    rows: list[Figures] = []
    began = time.monotonic()
    for seed in range(options.seeds):
        keras.utils.set_random_seed(seed)
        rows.append(measure(options, seed))
        if options.seeds > 1:
            told = (f"{name} {value:g}" for name, value in _rounded(rows[-1]).items())
            console.say(f"seed {seed}: {', '.join(told)}")
        keras.backend.clear_session()
    summary = summarise(rows)
    for name, (mean, spread) in summary.items():
        console.say(f"{name}: {mean:g} ± {spread:g}" if options.seeds > 1 else f"{name}: {mean:g}")
    console.say(f"{time.monotonic() - began:.0f} seconds")
    if options.smoke:
        console.say("A smoke run: it shows that the recipe runs; its figures say nothing.")
    if options.json:
        run.write_json(options.json, rows)
    return {name: mean for name, (mean, _) in summary.items()}


def summarise(rows: Sequence[Figures]) -> dict[str, tuple[float, float]]:
    """Returns the mean of each figure over the seeds, and twice its standard deviation."""
    return {
        name: (
            _round(statistics.fmean(row[name] for row in rows)),
            _round(2 * statistics.stdev([row[name] for row in rows])) if len(rows) > 1 else 0.0,
        )
        for name in rows[0]
    }


def _rounded(row: Figures) -> Figures:
    return {name: _round(value) for name, value in row.items()}


def _round(value: float) -> float:
    """Keeps two decimals, and four digits of what is smaller."""
    return round(value, 2) if abs(value) >= 1 else float(f"{value:.3g}")


def read_figures(path: Path) -> dict[str, tuple[float, float]]:
    """Reads what `--json` wrote, summarised."""
    return summarise(json.loads(path.read_text(encoding="utf-8")))
