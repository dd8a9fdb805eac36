"""Training by phases: `fine_tune`, and `evaluate` beside it."""

from __future__ import annotations

from tlkit.training.evaluating import evaluate
from tlkit.training.fine_tuning import fine_tune
from tlkit.training.outcome import FineTuneHistory, PhaseOutcome
from tlkit.training.range_test import find_learning_rate
from tlkit.training.recipe import Recipe
from tlkit.training.saves import Saving

__all__ = ["FineTuneHistory", "PhaseOutcome", "Recipe", "Saving", "evaluate", "find_learning_rate", "fine_tune"]
