"""What a gradient training settles before its first step."""

from __future__ import annotations

from dataclasses import dataclass

from tlkit.training.saves import FitState


@dataclass(frozen=True)
class Choices:
    """What was settled before the first step, JSON-able; a resumed training does not settle it anew.

    Attributes:
        rate: Peak learning rate.
        jit: Whether XLA compiles, where that was measured; else None.
        start_loss: Tempered validation log-loss before the first epoch.
        validation_seconds: What measuring that took.
        batch_size: Images in a step.
        accumulate: Steps an update.
        precision: As `resolve_precision` gives it.
        notes: What the user should know, one line each.
        halved: Whether the rate was halved after a loss that was not finite.
    """

    rate: float
    jit: bool | None
    start_loss: float
    validation_seconds: float
    batch_size: int
    accumulate: int
    precision: str
    notes: tuple[str, ...] = ()
    halved: bool = False


def choices_of(state: FitState) -> Choices:
    """Returns what a saved training had settled."""
    found = state.facts["choices"]
    return Choices(**found | {"notes": tuple(found["notes"])})
