"""Compares runs on the same test images: paired differences with intervals, McNemar's test, settings that differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import NDArray

from tlkit.errors import InputError
from tlkit.intervals import mean_replicates, number_groups, percentile_interval
from tlkit.report.facts import gather_facts
from tlkit.report.pictures import judged_images
from tlkit.report.reading import Run, read_run

DIGITS = 6


@dataclass(frozen=True)
class Difference:
    """How one run does against the reference on the same images.

    Attributes:
        run: Name of the run.
        accuracy: Its accuracy less the reference's.
        accuracy_interval: 95 % interval of that by paired bootstrap, or None where the runs agree on every image.
        log_loss: Its log-loss less the reference's; below 0 is better.
        log_loss_interval: Likewise.
        only_this: Images that this run alone names right.
        only_reference: Images that the reference alone names right.
        p_value: Of McNemar's exact test that both are equally often right alone; 1 where they never differ.
    """

    run: str
    accuracy: float
    accuracy_interval: tuple[float, float] | None
    log_loss: float
    log_loss_interval: tuple[float, float] | None
    only_this: int
    only_reference: int
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """What `compare_runs` found; the first run is the reference.

    Attributes:
        names: The runs' names, made unique.
        facts: The facts of each run, as in its report.json.
        split: The split that is compared.
        num_images: Images that all runs were judged on, and that the figures here are of.
        same_images: Whether the runs were judged on the very same images.
        accuracies: Accuracy of each run on those images.
        log_losses: Log-loss of each run on those images.
        differences: One for each run after the first.
        settings: Options whose values differ: (name, value of each run as text).
    """

    names: tuple[str, ...]
    facts: tuple[dict[str, Any], ...]
    split: str
    num_images: int
    same_images: bool
    accuracies: tuple[float, ...]
    log_losses: tuple[float, ...]
    differences: tuple[Difference, ...]
    settings: tuple[tuple[str, tuple[str, ...]], ...]


def compare_runs(runs: Sequence[str | Path], *, allow_different: bool = False, seed: int = 0) -> Comparison:
    """Compares runs, image by image, with the first of them.

    Args:
        runs: Two or more run folders.
        allow_different: Whether runs judged on different images may be compared on those they share.
        seed: Seed of the bootstrap.

    Raises:
        InputError: Fewer than two runs, or their test images differ and that was not allowed, or they share none.
    """
    if len(runs) < 2:
        raise InputError(f"Expected at least two runs to compare. Received: {len(runs)}.")
    read = [read_run(path) for path in runs]
    names = _unique([run.name for run in read])
    split = _common_split(read, names)
    tables = [_judged_by_image(run) for run in read]
    shared, same = _shared_images(tables, names, allow_different)
    right = np.stack([table.loc[shared, "correct"].to_numpy(bool) for table in tables])
    losses = np.stack([_log_losses(table.loc[shared]) for table in tables])
    units = number_groups(tables[0].loc[shared, "group"].tolist())
    return Comparison(
        names=names,
        facts=tuple(gather_facts(run) for run in read),
        split=split,
        num_images=len(shared),
        same_images=same,
        accuracies=tuple(_rounded(row.mean()) for row in right),
        log_losses=tuple(_rounded(row.mean()) for row in losses),
        differences=tuple(
            _difference(names[other], right[[0, other]], losses[[0, other]], units, seed)
            for other in range(1, len(read))
        ),
        settings=_differing_settings([run.config for run in read]),
    )


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{name} ({names[:i].count(name) + 1})" if name in names[:i] else name for i, name in enumerate(names))


def _common_split(read: Sequence[Run], names: Sequence[str]) -> str:
    splits = [run.judged_split for run in read]
    if splits[0] is None or any(split != splits[0] for split in splits):
        told = ", ".join(f"{name}: {split or 'no evaluated image'}" for name, split in zip(names, splits, strict=True))
        raise InputError(f"Expected runs that were all judged on a test part, or all on validation. Received: {told}.")
    return splits[0]


def _judged_by_image(run: Run) -> pd.DataFrame:
    """Returns the judged images, indexed by digest and true class; a second copy of a file gets a number."""
    groups = dict(zip(run.manifest["item"], run.manifest["group"], strict=True))
    images = judged_images(run)
    images = images.assign(
        group=images["item"].map(groups).fillna(""), name=[run.class_names[i] for i in images["label"]]
    )
    copy = images.groupby(["digest", "name"]).cumcount()
    return images.set_index(pd.MultiIndex.from_arrays([images["digest"], images["name"], copy]))


def _shared_images(tables: Sequence[pd.DataFrame], names: Sequence[str], allowed: bool) -> tuple[pd.Index, bool]:
    shared = tables[0].index
    for table in tables[1:]:
        shared = shared.intersection(table.index, sort=False)
    same = all(len(table) == len(shared) for table in tables)
    counts = ", ".join(f"{name}: {len(table):,}" for name, table in zip(names, tables, strict=True))
    if len(shared) == 0:
        raise InputError(f"Expected runs judged on the same images. Received: none in common ({counts}).")
    if not same and not allowed:
        raise InputError(
            f"Expected runs judged on the same images. Received: {len(shared):,} in common ({counts}). "
            "Allow different images to compare them on those in common."
        )
    return shared, same


def _log_losses(images: pd.DataFrame) -> NDArray[np.float64]:
    return -np.log(np.maximum(images["true_probability"].to_numpy(np.float64), np.finfo(np.float32).eps))


def _difference(
    name: str, right: NDArray[np.bool_], losses: NDArray[np.float64], units: NDArray[np.int64] | None, seed: int
) -> Difference:
    """Compares two rows of (reference, other) over the same images."""
    gains = right[1].astype(np.float64) - right[0]
    excess = losses[1] - losses[0]
    replicates = mean_replicates(np.stack([gains, excess]), units, seed)
    only_this, only_reference = int((gains > 0).sum()), int((gains < 0).sum())
    alone = only_this + only_reference
    return Difference(
        run=name,
        accuracy=_rounded(gains.mean()),
        accuracy_interval=_interval(replicates[0]) if alone else None,
        log_loss=_rounded(excess.mean()),
        log_loss_interval=_interval(replicates[1]) if excess.any() else None,
        only_this=only_this,
        only_reference=only_reference,
        p_value=_rounded(scipy.stats.binomtest(only_this, alone).pvalue) if alone else 1.0,
    )


def _interval(replicates: NDArray[np.float64]) -> tuple[float, float] | None:
    interval = percentile_interval(replicates)
    return None if interval is None else (_rounded(interval[0]), _rounded(interval[1]))


def _rounded(value: float) -> float:
    return round(float(value), DIGITS) + 0.0


def _differing_settings(configs: Sequence[dict[str, Any]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    flat = [
        {f"{table}.{option}": str(value) for table, options in config.items() for option, value in options.items()}
        for config in configs
    ]
    every = list(dict.fromkeys(name for settings in flat for name in settings))
    values = {name: tuple(settings.get(name, "") for settings in flat) for name in every}
    return tuple((name, row) for name, row in values.items() if len(set(row)) > 1)
