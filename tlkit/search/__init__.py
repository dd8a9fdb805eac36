"""Hyperparameter search: a trial is a configuration of a run, KerasTuner proposes it, our phases train it.

Names are resolved when first used: KerasTuner loads Keras, and spaces can be read without either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlkit.lazy import attach

if TYPE_CHECKING:
    from tlkit.search.hypermodel import TransferHyperModel
    from tlkit.search.searching import search
    from tlkit.search.space import Parameter, Space, describe_space, read_space

_HOMES = {
    "hypermodel": ("TransferHyperModel",),
    "searching": ("search",),
    "space": ("Parameter", "Space", "describe_space", "read_space"),
}

__all__ = ["Parameter", "Space", "TransferHyperModel", "describe_space", "read_space", "search"]

__getattr__, __dir__ = attach(__name__, _HOMES)
