"""What the scripts in `recipes/` stand on: pictures as arrays, seeds and figures, headers, the check of figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlkit.lazy import attach

if TYPE_CHECKING:
    from tlkit.recipes.headers import Header, read_header, read_headers
    from tlkit.recipes.images import Parts, few, load_parts, repeated
    from tlkit.recipes.plotting import write_chart
    from tlkit.recipes.running import main

_HOMES = {
    "headers": ("Header", "read_header", "read_headers"),
    "images": ("Parts", "few", "load_parts", "repeated"),
    "plotting": ("write_chart",),
    "running": ("main",),
}

__all__ = ["Header", "Parts", "few", "load_parts", "main", "read_header", "read_headers", "repeated", "write_chart"]

__getattr__, __dir__ = attach(__name__, _HOMES)
