"""The results of `recipes.py` as tables."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS, TABLE = Path(__file__).with_name("recipes.jsonl"), Path(__file__).with_name("recipes.md")
STRATEGIES = ("frozen", "partial", "gradual", "full", "auto")
DEFAULT_RATE = "1e-3"  # Of the body.
RATES = ("3e-4",)  # Compared with it, at 100 images a class.
DEFAULT_LAYER_DECAY = "0.7"
OTHER_LAYER_DECAY = "1.0"  # Compared with it.
SCRATCH_DEFAULT_RATE = "3e-3"
SCRATCH_RATES = ("1e-3", "1e-2")
CHANCE = 0.1  # Every set has ten classes.
CHOSEN = """Every strategy but `scratch` begins with the convex head and trains the body by one recipe: AdamW at a peak
rate of 1e-3, warmed up and falling along a cosine, 10 epochs (5 a stage in `gradual`), each stage at 0.7 of the rate of
the stage after it, decay 0.05, BatchNorm frozen. The rate is the highest that both networks take: EfficientNet-Lite0
gains nothing for certain above it, the small network, which was trained on little, would take three times as much.

Layer decay is for features that are worth keeping. With one rate for all stages (1.0) `full` and `partial` gain another
0.2 to 1.9 points in twelve of the thirteen rows below, and lose one in the other. But all sets here are unlike the one
that the network learnt from, and photographs, for which the lower stages should be kept, could not be had: 0.7 stays,
and `--layer-decay 1.0` is worth a try on drawings, digits or scans.

`full` is the most accurate where its time is to be had; `auto` comes near it, tells what each step was worth, and gives
back what was worth nothing, which makes it the default of the command. `gradual` gains less than `full`.

`scratch` trains everything at 3e-3: at 1e-3 it is behind on every set, and 1e-2 is ahead by five points on one
set, behind by three on another, and as good on the rest."""
Rows = Mapping[str, dict[str, Any]]


def read_results() -> dict[str, dict[str, Any]]:
    """Returns the finished cells by name, of each the row written last."""
    if not RESULTS.exists():
        return {}
    return {(row := json.loads(line))["cell"]: row for line in RESULTS.read_text().splitlines()}


def write_table(planned: Sequence[str]) -> str:
    """Writes all tables and returns them."""
    rows = read_results()
    measured = sum(name in rows for name in planned)
    parts = [
        "# Recipes",
        "Mean test accuracy (lowest-highest over seeds), and the median processor time of the training.\n"
        "Written by `python benchmarks/recipes.py --table`, which tells how the cells are made. "
        f"{measured} of {len(planned)} planned cells are measured.",
        _table(rows, STRATEGIES),
        "## What was chosen",
        CHOSEN,
        "## Each strategy less `frozen`",
        "Percentage points of test accuracy, paired by seed: mean (lowest to highest).",
        _differences(rows),
        "## Learning rates of the body",
        f"Mean test accuracy, and in brackets of how many seeds. The default is {DEFAULT_RATE}.",
        _compared(rows, STRATEGIES, "@", DEFAULT_RATE),
        "## Layer decay",
        "Each stage's share of the rate of the stage after it; 1.0 is one rate for all. Mean test accuracy, and in "
        f"brackets of how many seeds. The default is {DEFAULT_LAYER_DECAY}.",
        _compared(rows, STRATEGIES, "~", DEFAULT_LAYER_DECAY),
        "## From random weights",
        "The small network, strategy `scratch`: everything at once, BatchNorm included, at most 30 epochs. Mean test "
        f"accuracy, and in brackets of how many seeds, by learning rate. The default is {SCRATCH_DEFAULT_RATE}.",
        _compared(rows, ("scratch",), "@", SCRATCH_DEFAULT_RATE),
        "## Divergence",
        _divergence(rows),
    ]
    text = "\n\n".join(parts) + "\n"
    TABLE.write_text(text)
    return text


def _grouped(rows: Rows, strategies: Sequence[str]) -> list[tuple[list[str], dict[str, Rows]]]:
    """Returns each data set, number of images and network with its runs, by strategy and then by seed."""
    groups: dict[tuple[str, str, str], dict[str, dict[str, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for name, row in rows.items():
        data, images, network, strategy, seed = name.split("/")
        if strategy in strategies:
            groups[network, data, images][strategy][seed] = row
    return [([data, images, network], dict(found)) for (network, data, images), found in sorted(groups.items())]


def _markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [heads, ["---"] * len(heads), *lines])


def _table(rows: Rows, strategies: Sequence[str]) -> str:
    lines = []
    for cell, found in _grouped(rows, strategies):
        seeds = "/".join(sorted({str(len(runs)) for runs in found.values()}))
        told = [_told(list(found[strategy].values())) if strategy in found else "" for strategy in strategies]
        lines.append([*cell, seeds, *told])
    return _markdown(["data", "images a class", "network", "seeds", *strategies], lines)


def _told(runs: Sequence[dict[str, Any]]) -> str:
    accuracies = [run["accuracy"] for run in runs]
    seconds = statistics.median(run["seconds"] for run in runs)
    return f"{statistics.mean(accuracies):.4f} ({min(accuracies):.3f}-{max(accuracies):.3f}), {seconds:.0f} s"


def _differences(rows: Rows) -> str:
    others = STRATEGIES[1:]
    lines = []
    for cell, found in _grouped(rows, STRATEGIES):
        frozen = found.get("frozen", {})
        told = []
        for strategy in others:
            runs = found.get(strategy, {})
            gains = [100 * (runs[seed]["accuracy"] - frozen[seed]["accuracy"]) for seed in runs if seed in frozen]
            told.append(f"{statistics.mean(gains):+.2f} ({min(gains):+.1f} to {max(gains):+.1f})" if gains else "")
        lines.append([*cell, *told])
    return _markdown(["data", "images a class", "network", *others], lines)


def _compared(rows: Rows, strategies: Sequence[str], mark: str, default: str) -> str:
    """Writes a line for each set, network and strategy for which another value than the default was measured.

    Args:
        rows: The results.
        strategies: Of these.
        mark: What precedes the value in a cell's name: `@` the rate, `~` the layer decay.
        default: The value of cells that name none.
    """
    found: dict[tuple[str, ...], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for name, row in rows.items():
        data, images, network, cell_strategy, _ = name.split("/")
        strategy, _, value = cell_strategy.partition(mark)
        if strategy in strategies:
            found[network, data, images, strategy][value or default].append(row)
    compared = {where: by_value for where, by_value in found.items() if set(by_value) > {default}}
    values = sorted({value for by_value in compared.values() for value in by_value}, key=float)
    lines = [
        [data, images, network, strategy, *(_mean_told(by_value.get(value, [])) for value in values)]
        for (network, data, images, strategy), by_value in sorted(compared.items())
    ]
    return _markdown(["data", "images a class", "network", "strategy", *values], lines)


def _mean_told(runs: Sequence[dict[str, Any]]) -> str:
    """Tells the mean, and of how many seeds."""
    return f"{statistics.mean(run['accuracy'] for run in runs):.4f} ({len(runs)})" if runs else ""


def _divergence(rows: Rows) -> str:
    """Tells which trainings ended far below the head that they began with, or near chance where there was none."""
    heads = {tuple(name.split("/")): row["accuracy"] for name, row in rows.items() if "/frozen/" in name}
    lost = []
    for name, row in rows.items():
        data, images, network, strategy, seed = name.split("/")
        scratch = strategy.startswith("scratch")
        least = 2 * CHANCE if scratch else heads.get((data, images, network, "frozen", seed), 0.0) - 0.05
        if row["accuracy"] < least:
            lost.append(f"- {name}: {row['accuracy']:.3f}, expected at least {least:.3f}")
    if lost:
        return "Trainings that ended more than five points below their head, or near chance:\n\n" + "\n".join(lost)
    return (
        f"None of {len(rows)} trainings ended more than five points below its head on the test images, and none from "
        "random weights near chance."
    )
