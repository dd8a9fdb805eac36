"""Listings for the terminal: networks and the cache, as tables or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit import console
from tlkit.backend import start_keras
from tlkit.errors import InputError

if TYPE_CHECKING:
    from tlkit.backbones.registry import Backbone


def _matching_backbones(pattern: str) -> tuple[Backbone, ...]:
    from tlkit.backbones.registry import list_backbones

    found = list_backbones(pattern)
    if not found:
        raise InputError(f"Expected a pattern that some backbone matches. Received: {pattern!r}. Try 'resnet*'.")
    return found


def print_backbones(pattern: str) -> None:
    """Prints the facts of the networks whose names match a pattern.

    Raises:
        InputError: No name matches.
    """
    found = _matching_backbones(pattern)
    columns = ["Name", "Parameters", "MB", "Depth", "Top-1", "Top-5", "Size", "Smallest", "Stages", "Licence"]
    rows = [
        [
            facts.name,
            f"{facts.parameters:,}",
            _figure(facts.megabytes),
            _figure(facts.depth),
            _figure(facts.top1),
            _figure(facts.top5),
            facts.default_image_size,
            facts.min_image_size,
            len(facts.stages),
            facts.licence or "",
        ]
        for facts in found
    ]
    console.table("", columns, rows, right=columns[1:-1])
    console.say("Parameters without the classification layer; accuracies in % on ImageNet, as published.")
    if any(facts.from_scratch for facts in found):
        console.say("scratch: networks have no trained weights; `tlkit finetune` trains them from scratch.")


def print_measured_backbones(pattern: str, image_size: int | None) -> None:
    """Builds the networks whose names match a pattern, times them on this machine, and prints the figures.

    Raises:
        InputError: No name matches, or the size is below a network's smallest.
    """
    found = _matching_backbones(pattern)
    with console.quiet_step("Starting Keras"):
        start_keras()
        from tlkit.backbones.measure import measure_backbone
    measured = []
    for facts in found:
        with console.step(f"Measuring {facts.name}", "passes") as on_progress:
            measured.append(measure_backbone(facts.name, image_size, on_progress=on_progress))
    columns = ["Name", "Size", "Parameters", "MB", "ms an image", "from", "to", "Images/s"]
    rows = [
        [
            one["name"],
            one["image_size"],
            f"{one['parameters']:,}",
            one["megabytes"],
            one["milliseconds_per_image"],
            one["milliseconds_lowest"],
            one["milliseconds_highest"],
            f"{1000 / one['milliseconds_per_image']:.0f}",
        ]
        for one in measured
    ]
    console.table("", columns, rows, right=columns[1:])
    stages = [
        [
            one["name"],
            stage["name"],
            stage["layer"],
            f"{stage['parameters']:,}",
            "×".join(map(str, stage["output_shape"])),
        ]
        for one in measured
        for stage in one["stages"]
    ]
    console.table(
        "\nStages", ["Name", "Stage", "Ends at", "Parameters", "Output"], stages, right=["Parameters", "Output"]
    )
    console.say(f"Median of passes of {measured[0]['batch_size']} images, random weights, {measured[0]['backend']}.")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def print_cache() -> None:
    """Prints the entries of the cache, the most recently used first, and what they take of its budget."""
    import time

    from tlkit import cache

    entries = cache.list_entries()
    rows = [
        [
            entry.kind,
            entry.key[:16],
            f"{entry.bytes / 1e6:,.1f}",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.last_used)),
            "in use" if entry.in_use else ("" if entry.complete else "unfinished"),
            _made_of(entry.details),
        ]
        for entry in entries
    ]
    console.table("", ["Kind", "Key", "MB", "Last used", "State", "Of"], rows, right=["MB"])
    total = sum(entry.bytes for entry in entries)
    console.say(f"{cache.cache_folder()}: {total / 1e6:,.1f} of at most {cache.budget_bytes() / 1e6:,.0f} MB.")


def _made_of(details: dict[str, Any]) -> str:
    """What a cache entry was made of, in a few words."""
    count = details.get("images") or details.get("items")
    told = [str(details[name]) for name in ("source", "model", "cut") if details.get(name)]
    return ", ".join(told) + (f", {count:,} images" if count else "")


def print_comparison(runs: Sequence[Path], html_file: Path, allow_different: bool) -> None:
    """Prints how runs differ on the same images, and writes the page.

    Raises:
        InputError: The runs cannot be compared.
    """
    from tlkit.report import compare_runs, write_comparison
    from tlkit.report.comparison_page import tell_difference

    folders = [Path(path).resolve() for path in runs]
    twice = [str(path) for path, folder in zip(runs, folders, strict=True) if folders.count(folder) > 1]
    if twice:
        raise InputError(f"Expected different runs. Received: {twice[0]} twice.")
    comparison = compare_runs(runs, allow_different=allow_different)
    rows = [
        [name, f"{accuracy:.1%}", f"{loss:.3f}"]
        for name, accuracy, loss in zip(comparison.names, comparison.accuracies, comparison.log_losses, strict=True)
    ]
    console.table("", ["Run", "Accuracy", "Log-loss"], rows, right=["Accuracy", "Log-loss"])
    same = "the same" if comparison.same_images else "the shared"
    console.say(f"On {same} {comparison.num_images:,} {comparison.split} images.")
    for difference in comparison.differences:
        console.say(f"  {tell_difference(difference, comparison.names[0])}")
    console.say(f"Page: {write_comparison(comparison, html_file)}")
