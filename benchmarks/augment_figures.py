"""The figures of augment.py: kept in a file as they are measured, so that a run that was ended goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FIGURES, TABLE = HERE / "augment.json", HERE / "augment.md"
SEEDS, FOLDS = (0, 1, 2), 5
BATCH, IMAGE = 32, 224
FASHION_IMAGE = 96
MNIST_RATE = 2e-3
MNIST = {  # Of each protocol: network, side of its pictures in pixels, epochs.
    "mnist-lenet5": ("lenet5", 32, 60),
    "mnist": ("small_network", 32, 25),
}


def known() -> dict[str, Any]:
    """Returns the figures measured so far, by name."""
    return json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}


def measured(name: str, measure: Callable[[], Any]) -> Any:
    """Returns a figure, measured now unless it was before."""
    from tlkit.run import write_json

    found = known()
    if name not in found:
        value = measure()
        found = known() | {name: value}
        write_json(FIGURES, dict(sorted(found.items())))
        print(f"{name}: {value}", flush=True)
    return found[name]
