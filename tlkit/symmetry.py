"""How far a model's answers change when pictures are turned, flipped, shifted or scaled: symmetry.csv of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tlkit import run
from tlkit.analysis.warp import Transformation, transform
from tlkit.errors import InputError

MOST_IMAGES = 64
COLUMNS = ("transformation", "when", "images", "agreement", "change")
Answer = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Steadiness:
    """How a model answers one transformation of some pictures.

    Attributes:
        transformation: Such as `"rotation 15°"`.
        when: `"before"` or `"after"` training.
        images: How many pictures.
        agreement: Share of them that keep their class, 0 to 1.
        change: Mean total variation between the probabilities, 0 to 1: the share of probability that moved.
    """

    transformation: str
    when: str
    images: int
    agreement: float
    change: float


def moves(image_size: int) -> tuple[Transformation, ...]:
    """Returns what a run is tried with: shifts, rotations, scales and a flip."""
    return (
        *(Transformation("shift", max(image_size // part, 1)) for part in (16, 8)),
        *(Transformation("rotation", degrees) for degrees in (5, 15, 45, 90)),
        *(Transformation("scale", factor) for factor in (0.8, 1.25)),
        Transformation("flip"),
    )


def measure_steadiness(
    answers: Mapping[str, Answer], images: np.ndarray, transformations: tuple[Transformation, ...] | None = None
) -> tuple[Steadiness, ...]:
    """Measures how far predictions change when pictures are moved.

    Args:
        answers: By `when`: from uint8 images to probabilities (n, classes).
        images: uint8 (n, S, S, 3).
        transformations: What is done to the pictures; `moves` when None.

    Returns:
        One entry for each transformation and `when`.

    Raises:
        InputError: There are no pictures.
    """
    if not len(images):
        raise InputError("Expected at least one picture to move. Received none.")
    size = images.shape[1:3]
    plain = {when: answer(images) for when, answer in answers.items()}
    found = []
    for one in transformations or moves(size[0]):
        moved = np.clip(np.rint(transform(images, one, size)[0]), 0, 255).astype(np.uint8)
        for when, answer in answers.items():
            before, after = plain[when], answer(moved)
            same = float((before.argmax(axis=1) == after.argmax(axis=1)).mean())
            changed = float(np.abs(before - after).sum(axis=1).mean() / 2)
            found.append(Steadiness(one.label, when, len(images), same, changed))
    return tuple(found)


def write_symmetry(folder: Path, found: tuple[Steadiness, ...]) -> None:
    """Writes symmetry.csv into a run folder."""
    rows = [(one.transformation, one.when, one.images, f"{one.agreement:.4f}", f"{one.change:.4f}") for one in found]
    run.write_text(
        folder / run.SYMMETRY, pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(index=False, lineterminator="\n")
    )
