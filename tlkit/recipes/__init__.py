"""What the scripts in `recipes/` stand on: pictures as arrays, seeds and figures, headers, the check of figures."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlkit.recipes.headers import Header, read_header, read_headers
    from tlkit.recipes.images import Parts, few, load_parts
    from tlkit.recipes.plotting import write_chart
    from tlkit.recipes.running import main

_HOME_OF = {
    "Header": "headers",
    "read_header": "headers",
    "read_headers": "headers",
    "Parts": "images",
    "few": "images",
    "load_parts": "images",
    "main": "running",
    "write_chart": "plotting",
}

__all__ = ["Header", "Parts", "few", "load_parts", "main", "read_header", "read_headers", "write_chart"]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(f"tlkit.recipes.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'tlkit.recipes' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
