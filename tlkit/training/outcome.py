"""What a phase came to: its probabilities for the validation images, what it gained, and whether it was kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit.phase_gains import Gain, phase_gains
from tlkit.phases import HEAD, INPUT, Phase

GIVEN_UP = "Given up:"  # How the note begins of a training that diverged twice.
WENT_BACK = "No epoch was better than the weights it began with"  # And of one that ended with those.


@dataclass(frozen=True)
class PhaseOutcome:
    """A phase as it ended.

    Attributes:
        phase: The phase.
        labels: Classes of the validation images, int64 (n,).
        probabilities: What the model gave for them at the phase's end, float32 (n, classes); None where it was not
            tried.
        gain: Over what was kept before; None for the first phase.
        kept: Whether training went on from here; not where it went back to what it began with.
        seconds: How long it took.
        notes: What the user should know, one line each.
        flow: How gradients flowed, from `describe_flow`, where that was recorded.
    """

    phase: Phase
    labels: np.ndarray
    probabilities: np.ndarray | None
    gain: Gain | None
    kept: bool
    seconds: float
    notes: tuple[str, ...] = ()
    flow: dict[str, Any] | None = None


class FineTuneHistory(keras.callbacks.History):
    """Keras's history, with the outcome of each phase in `outcomes`.

    In `extractions` is told how the outputs of frozen parts were had, JSON-able, for each phase and part; in `saving`
    what saving the states of the training cost: `states`, `seconds`, `peak_bytes`; None where none were saved.
    """

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[PhaseOutcome] = []
        self.extractions: list[dict[str, Any]] = []
        self.saving: dict[str, Any] | None = None


def gains_table(outcomes: Sequence[PhaseOutcome], groups: Sequence[str] | None = None, seed: int = 0) -> pd.DataFrame:
    """Returns the table of `tlkit.phase_gains.phase_gains` for the phases that were tried.

    Args:
        outcomes: In order.
        groups: Group of each validation image, or None.
        seed: Seed of the bootstrap.
    """
    tried = [outcome for outcome in outcomes if outcome.probabilities is not None]
    phases = [(outcome.phase.name, outcome.probabilities) for outcome in tried]
    labels = tried[0].labels if tried else np.zeros(0, np.int64)
    kept = [outcome.kept for outcome in tried]
    return phase_gains(labels, phases, kept=kept, groups=groups, seed=seed)  # type: ignore[arg-type]


def tell_outcome(outcome: PhaseOutcome) -> str:
    """Says in a sentence what a phase brought."""
    what = _what(outcome.phase)
    if outcome.probabilities is None:
        return f"{what} was not tried."
    accuracy = np.mean(outcome.probabilities.argmax(axis=1) == outcome.labels)
    reached = f"{accuracy:.1%} of {len(outcome.labels):,} validation images right"
    if any(note.startswith(GIVEN_UP) for note in outcome.notes):
        return f"{what} was given up, for its loss was not finite: {reached}"
    if any(note.startswith(WENT_BACK) for note in outcome.notes):
        return f"{what} gained nothing, and what it began with stays: {reached}"
    if outcome.gain is None:
        return f"{what}: {reached}"
    low, high = outcome.gain.accuracy_interval
    points = f"{_points(outcome.gain.accuracy)} points ({_points(low)} to {_points(high)})"
    if high < 0:
        return f"{what} lost {points}: {reached}" if outcome.kept else f"{what} lost {points}; undone"
    if not outcome.kept:
        return f"{what} was not worth it: {points}, and a log-loss that is no lower; undone"
    if low > 0:
        return f"{what} gained {points}: {reached}"
    if outcome.gain.log_loss_interval[0] > 0:
        return f"{what}: {points}, with probabilities that are better beyond noise: {reached}"
    if outcome.phase.only_if_better:
        return f"{what}: {points}, kept for a lower log-loss, which may be chance: {reached}"
    return f"{what} changed nothing beyond noise: {points}: {reached}"


def _points(share: float) -> str:
    return f"{100 * share + 0.0:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0")


def _what(phase: Phase) -> str:
    if phase.train_from == HEAD:
        return "The head alone"
    if phase.train_from == INPUT:
        return "Training everything from scratch" if phase.batch_norm == "trained" else "Unfreezing everything"
    return f"Unfreezing from {phase.train_from} on"
