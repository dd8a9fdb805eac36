"""What all phases of one training share."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import keras

from tlkit.backbones.registry import Stage
from tlkit.console import OnProgress
from tlkit.graph import head_dense
from tlkit.training.outcome import FineTuneHistory
from tlkit.training.recipe import Recipe
from tlkit.training.saves import Saves


class Step(Protocol):
    """Opens one named step of the work and gives what to call with (done, total)."""

    def __call__(self, text: str, unit: str = "") -> AbstractContextManager[OnProgress | None]: ...


def silent(text: str, unit: str = "") -> AbstractContextManager[OnProgress | None]:
    """Shows nothing."""
    return nullcontext(None)


@dataclass(frozen=True)
class Job:
    """A model, its data, and how it is trained.

    Attributes:
        model: Functional, one input, one output.
        stages: Of its body.
        train: What `fit` takes.
        validation: What `fit` takes.
        recipe: Options of all phases.
        seed: Of shuffling and dropout.
        history: Where rows and outcomes go.
        step: Shows steps.
        groups: Group of each validation image, or None.
        callbacks: Of the user, called in every phase that trains by gradients.
        deadline: When training must have ended, as `time.monotonic()` tells time.
        saves: Where its states are saved.
    """

    model: keras.Model
    stages: Sequence[Stage]
    train: Any
    validation: Any
    recipe: Recipe
    seed: int
    history: FineTuneHistory
    step: Step = silent
    groups: Sequence[str] | None = None
    callbacks: Sequence[keras.callbacks.Callback] = ()
    deadline: float = field(default=math.inf)
    saves: Saves = field(default_factory=Saves)

    @property
    def num_classes(self) -> int:
        """Outputs of the head."""
        return head_dense(self.model).units

    def seconds_left(self) -> float:
        """Returns the time left for training; infinity without a budget."""
        return self.deadline - time.monotonic()
