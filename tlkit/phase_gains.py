"""What each phase of training gained on the validation images, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tlkit import run
from tlkit.calibration import apply_temperature, fit_temperature, log_probabilities
from tlkit.errors import InputError
from tlkit.intervals import mean_replicates, number_groups, percentile_interval
from tlkit.metrics import LOG_FLOOR

COLUMNS = ("phase", "images", "accuracy", "log_loss", "gain", "low", "high", "kept")
LOG_LOSS_COLUMNS = ("log_loss_gain", "log_loss_low", "log_loss_high")
DIGITS = 6
NEGLIGIBLE = 1e-3  # Nats: what rounding, not training, may change.


@dataclass(frozen=True)
class Gain:
    """What a phase changed on the same validation images; intervals are 95 %, by paired bootstrap.

    Attributes:
        accuracy: Change in accuracy, -1 to 1.
        accuracy_interval: Its interval (low, high).
        log_loss: Fall of the log-loss in nats, each side at the temperature that suits it best; above 0 where it got
            better.
        log_loss_interval: Its interval (low, high).
    """

    accuracy: float
    accuracy_interval: tuple[float, float]
    log_loss: float
    log_loss_interval: tuple[float, float]


def measure_gain(
    labels: ArrayLike,
    before: NDArray,
    after: NDArray,
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> Gain:
    """Compares two sets of probabilities for the same images.

    Args:
        labels: True classes, int (n,).
        before: Probabilities (n, classes).
        after: Probabilities (n, classes).
        groups: Group of each image, `""` for none; the bootstrap then draws groups.
        seed: Seed of the bootstrap.
    """
    labels = np.asarray(labels, np.int64)
    before, after = (_tempered(labels, one) for one in (before, after))
    changes = np.stack(
        [_right(labels, after) - _right(labels, before), _losses(labels, before) - _losses(labels, after)]
    )
    replicates = mean_replicates(changes, number_groups(groups), seed)
    accuracy, log_loss = (percentile_interval(row) or (np.nan, np.nan) for row in replicates)
    means = changes.mean(axis=1)
    return Gain(float(means[0]), accuracy, float(means[1]), log_loss)


def worth_keeping(gain: Gain) -> bool:
    """Tells whether a change is for the better.

    It is where the log-loss at the best temperature falls by more than `NEGLIGIBLE`, which tells more from few images
    than accuracy does, unless accuracy falls with its whole 95 % interval; and where accuracy rises with its whole
    interval. It need not be beyond noise: what is likelier better is kept, and its interval told.
    """
    low, high = gain.accuracy_interval
    return low > 0 or (gain.log_loss > NEGLIGIBLE and high >= 0)


def phase_gains(
    labels: ArrayLike,
    phases: Sequence[tuple[str, NDArray]],
    *,
    kept: Sequence[bool] | None = None,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Measures each phase against the last one kept before it, image by image.

    Args:
        labels: True classes of the validation images, int (n,).
        phases: Name of each phase and what the model gave at its end: probabilities (n, classes), same images.
        kept: Whether the model went on from each phase's end; all when None.
        groups: Group of each image, `""` for none; the bootstrap then draws groups.
        seed: Seed of the bootstrap.

    Returns:
        One row a phase: `phase`, `images`, `accuracy` and `log_loss` at its end, `gain` in accuracy over the phase
        before with `low` and `high`, its 95 % interval by paired bootstrap, NaN for the first phase; `kept`; and
        `log_loss_gain` with `log_loss_low` and `log_loss_high`, how far the log-loss fell at the best temperature.

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
    rows: list[tuple] = []
    before: NDArray | None = None
    for (name, probabilities), stays in zip(phases, kept or [True] * len(phases), strict=True):
        change = fall = (np.nan, np.nan, np.nan)
        if before is not None:
            gain = measure_gain(labels, before, probabilities, groups=groups, seed=seed)
            change = (gain.accuracy, *gain.accuracy_interval)
            fall = (gain.log_loss, *gain.log_loss_interval)
        figures = (_right(labels, probabilities).mean(), _losses(labels, probabilities).mean(), *change)
        told, fallen = ([round(float(value), DIGITS) for value in some] for some in (figures, fall))
        rows.append((name, len(labels), *told, stays, *fallen))
        before = probabilities if stays else before
    return pd.DataFrame(rows, columns=[*COLUMNS, *LOG_LOSS_COLUMNS])


def _tempered(labels: NDArray[np.int64], probabilities: NDArray) -> NDArray:
    """Returns probabilities at the temperature that suits them best: what a phase gained is not how sure it became."""
    return apply_temperature(probabilities, fit_temperature(log_probabilities(probabilities), labels))


def _right(labels: NDArray[np.int64], probabilities: NDArray) -> NDArray[np.float64]:
    return (probabilities.argmax(axis=1) == labels).astype(np.float64)


def _losses(labels: NDArray[np.int64], probabilities: NDArray) -> NDArray[np.float64]:
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels].astype(np.float64), LOG_FLOOR))


def write_phase_gains(folder: Path, gains: pd.DataFrame) -> None:
    """Writes phases.csv into a run folder; an undefined figure is an empty cell."""
    safe = gains.assign(phase=gains["phase"].map(run.safe_cell))
    run.write_text(folder / run.PHASES, safe.to_csv(index=False, lineterminator="\n"))
