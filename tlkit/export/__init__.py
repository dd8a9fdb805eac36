"""A run's model in other forms: the same answer everywhere, proved in each form's own runtime. Names resolve late."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlkit.export.exports import Exports, export_run
    from tlkit.export.parity import Parity, ParityError
    from tlkit.export.raw_input import with_raw_input

_HOME_OF = {
    "Exports": "exports",
    "Parity": "parity",
    "ParityError": "parity",
    "export_run": "exports",
    "with_raw_input": "raw_input",
}

__all__ = ["Exports", "Parity", "ParityError", "export_run", "with_raw_input"]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(f"tlkit.export.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'tlkit.export' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
