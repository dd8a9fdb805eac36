"""What each phase of training gained on the validation images, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tlkit import run
from tlkit.errors import InputError
from tlkit.intervals import mean_replicates, number_groups, percentile_interval
from tlkit.metrics import LOG_FLOOR

COLUMNS = ("phase", "images", "accuracy", "log_loss", "gain", "low", "high")
DIGITS = 6


def phase_gains(
    labels: ArrayLike,
    phases: Sequence[tuple[str, NDArray]],
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Measures each phase against the one before, image by image.

    Args:
        labels: True classes of the validation images, int (n,).
        phases: Name of each phase and what the model gave at its end: probabilities (n, classes), same images.
        groups: Group of each image, `""` for none; the bootstrap then draws groups.
        seed: Seed of the bootstrap.

    Returns:
        One row a phase: `phase`, `images`, `accuracy` and `log_loss` at its end, `gain` in accuracy over the phase
        before with `low` and `high`, its 95 % interval by paired bootstrap; NaN for the first phase.

    Raises:
        InputError: Shapes disagree.
    """
    labels = np.asarray(labels, np.int64)
    for name, probabilities in phases:
        if probabilities.ndim != 2 or len(probabilities) != len(labels):
            raise InputError(
                f"Expected probabilities of shape ({len(labels)}, classes) for phase {name!r}. "
                f"Received: {probabilities.shape}."
            )
    units = number_groups(groups)
    rows: list[tuple] = []
    before: NDArray[np.float64] | None = None
    for name, probabilities in phases:
        right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
        loss = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], LOG_FLOOR))
        change = (np.nan, np.nan, np.nan) if before is None else _change(right - before, units, seed)
        rows.append(
            (name, len(labels), *(round(float(value), DIGITS) for value in (right.mean(), loss.mean(), *change)))
        )
        before = right
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _change(gains: NDArray[np.float64], units: NDArray[np.int64] | None, seed: int) -> tuple[float, float, float]:
    interval = percentile_interval(mean_replicates(gains[None], units, seed)[0])
    return (float(gains.mean()), *(interval or (np.nan, np.nan)))


def write_phase_gains(folder: Path, gains: pd.DataFrame) -> None:
    """Writes phases.csv into a run folder; an undefined figure is an empty cell."""
    safe = gains.assign(phase=gains["phase"].map(run.safe_cell))
    run.write_text(folder / run.PHASES, safe.to_csv(index=False, lineterminator="\n"))
