"""The results of `recipes.py` as tables."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS, TABLE = Path(__file__).with_name("recipes.jsonl"), Path(__file__).with_name("recipes.md")
CHOICE = "last as good"  # Which epoch of a phase is kept: before, that of the lowest validation loss.
STRATEGIES = ("frozen", "partial", "gradual", "full", "auto")
RATES = ("1e-4", "1e-3")  # Of the body, beside the default 3e-4; compared at 100 images a class.
Rows = Mapping[str, dict[str, Any]]


def read_results() -> dict[str, dict[str, Any]]:
    """Returns the finished cells by name, of each the row written last."""
    if not RESULTS.exists():
        return {}
    return {(row := json.loads(line))["cell"]: row for line in RESULTS.read_text().splitlines()}


def is_done(rows: Rows, name: str) -> bool:
    """Tells whether a cell was measured under the present rule."""
    return rows.get(name, {}).get("choice") == CHOICE


def write_table(planned: Sequence[str]) -> str:
    """Writes all tables and returns them."""
    rows = read_results()
    measured = sum(is_done(rows, name) for name in planned)
    parts = [
        "# Recipes",
        "Mean test accuracy (lowest-highest over seeds), and the median processor time of the training.\n"
        "Written by `python benchmarks/recipes.py --table`, which tells how the cells are made. "
        f"{measured} of {len(planned)} planned cells are measured.",
        _older(rows),
        _table(rows, STRATEGIES),
        "## Each strategy less `frozen`",
        "Percentage points of test accuracy, paired by seed: mean (lowest to highest).",
        _differences(rows),
        "## Learning rates of the body",
        "The default is 3e-4, in the columns without a rate.",
        _table_of_rates(rows),
        "## Divergence",
        _divergence(rows),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    TABLE.write_text(text)
    return text


def _older(rows: Rows) -> str:
    older = sum(not is_done(rows, name) for name in rows)
    if not older:
        return ""
    return (
        f"{older} cells are older than the rule that keeps the last epoch as good as the lowest loss: they kept the "
        "lowest itself."
    )


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


def _table_of_rates(rows: Rows) -> str:
    tried = {tuple(name.split("/")[:3]) for name in rows if "@" in name}
    if not tried:
        return "None but the default has been measured yet."
    beside = {name: row for name, row in rows.items() if tuple(name.split("/")[:3]) in tried}
    low, high = RATES
    return _table(
        beside, [f"{strategy}{rate}" for strategy in ("partial", "full") for rate in (f"@{low}", "", f"@{high}")]
    )


def _divergence(rows: Rows) -> str:
    """Tells which trainings ended far below the head that they began with."""
    heads = {tuple(name.split("/")): row["accuracy"] for name, row in rows.items() if "/frozen/" in name}
    lost = []
    for name, row in rows.items():
        data, images, network, _, seed = name.split("/")
        head = heads.get((data, images, network, "frozen", seed), 0.0)
        if row["accuracy"] < head - 0.05:
            lost.append(f"- {name}: {row['accuracy']:.3f}, its head {head:.3f}")
    if lost:
        return "Trainings that ended more than five points below their head:\n\n" + "\n".join(lost)
    return f"None of {len(rows)} trainings ended more than five points below its head on the test images."
