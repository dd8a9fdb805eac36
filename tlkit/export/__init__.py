"""A run's model in other forms: the same answer everywhere, proved in each form's own runtime. Names resolve late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlkit.lazy import attach

if TYPE_CHECKING:
    from tlkit.export.exports import Exports, export_run
    from tlkit.export.parity import Parity, ParityError
    from tlkit.export.raw_input import with_raw_input

_HOMES = {
    "exports": ("Exports", "export_run"),
    "parity": ("Parity", "ParityError"),
    "raw_input": ("with_raw_input",),
}

__all__ = ["Exports", "Parity", "ParityError", "export_run", "with_raw_input"]

__getattr__, __dir__ = attach(__name__, _HOMES)
