"""Hyperparameter search: a trial is a configuration of a run, KerasTuner proposes it, our phases train it.

Names are resolved when first used: KerasTuner loads Keras, and spaces can be read without either.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlkit.search.hypermodel import TransferHyperModel
    from tlkit.search.searching import search
    from tlkit.search.space import Parameter, Space, describe_space, read_space

_HOMES = {
    "Parameter": "tlkit.search.space",
    "Space": "tlkit.search.space",
    "TransferHyperModel": "tlkit.search.hypermodel",
    "describe_space": "tlkit.search.space",
    "read_space": "tlkit.search.space",
    "search": "tlkit.search.searching",
}

__all__ = ["Parameter", "Space", "TransferHyperModel", "describe_space", "read_space", "search"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tlkit.search' has no attribute {name!r}")
