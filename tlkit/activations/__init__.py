"""Activations of a frozen prefix, computed once, kept in the cache, and fed to the rest of the network.

A network cut in two at a single tensor trains the same whether the first half is run anew for every batch or its
outputs are read back: the halves share their weights with the whole, and the frozen half runs in inference mode.
"""

from __future__ import annotations

from tlkit.activations.ahead import compute, compute_ahead
from tlkit.activations.computing import DEFAULT, Activations, Plan, activations, in_order, plan_activations
from tlkit.activations.extraction import KIND
from tlkit.activations.rows import RowDataset, Rows

__all__ = [
    "DEFAULT",
    "KIND",
    "Activations",
    "Plan",
    "RowDataset",
    "Rows",
    "activations",
    "compute",
    "compute_ahead",
    "in_order",
    "plan_activations",
]
