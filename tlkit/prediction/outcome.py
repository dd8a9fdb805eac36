"""What is wanted of a prediction, and what it holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tlkit.errors import InputError
from tlkit.prediction.averaging import count_looks

if TYPE_CHECKING:
    from tlkit.prediction.loading import Classifier


@dataclass(frozen=True)
class Ranked:
    """One class of a prediction."""

    class_index: int
    class_name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one picture, best first; or why there are none.

    Attributes:
        path: The picture's name.
        classes: At most `top` classes of at least `threshold` probability.
        problem: One line where the picture cannot be read, else empty.
        features: What the head sees, float32 (features,), where asked for.
    """

    path: str
    classes: tuple[Ranked, ...]
    problem: str = ""
    features: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Wanted:
    """What is wanted of each prediction.

    Attributes:
        top: How many classes, best first.
        threshold: Classes less probable than this are left out, 0 to 1.
        calibrated: Whether probabilities are divided by the temperature that was fitted on the validation part.
        features: Whether what the head sees is given as well.
        averaged: Whether probabilities are means over several looks at a picture: test-time augmentation.
    """

    top: int = 5
    threshold: float = 0.0
    calibrated: bool = False
    features: bool = False
    averaged: bool = False

    def check(self, classifier: Classifier | None = None) -> None:
        """Raises InputError where this cannot be given (by `classifier`, once there is one)."""
        if self.top < 1:
            raise InputError(f"Expected top to be at least 1. Received: {self.top}.")
        if not 0 <= self.threshold <= 1:
            raise InputError(f"Expected threshold to be from 0 to 1. Received: {self.threshold:g}.")
        if self.calibrated and classifier and classifier.temperature is None:
            raise InputError(
                "Expected a run with a temperature in metrics.json for calibrated probabilities. Received: a model "
                "without one. Leave calibrated out."
            )
        if self.averaged and classifier:
            count_looks(classifier.transform.store_size, classifier.transform.image_size, classifier.mirrored)
