"""Neighbours in pixel space against feature space: do pictures of one class come together, layer by layer?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlkit.analysis.activations import Taps
from tlkit.console import OnProgress
from tlkit.errors import InputError

PIXELS = "pixels"
MOST_VALUES = 4096  # Kept of one layer's answer to one image.
ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Neighbourhood:
    """The nearest other images of every image, in one space.

    Attributes:
        layer: Name of the layer, or `"pixels"`.
        indices: Nearest first, int64 (n, k).
        distances: Likewise, float32 (n, k).
        agreement: Share of the k nearest that have the image's own label, mean over images.
    """

    layer: str
    indices: NDArray[np.int64]
    distances: NDArray[np.float32]
    agreement: float


def nearest(features: NDArray, k: int, metric: str = "euclidean") -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Finds the k nearest other rows of every row, exactly.

    Args:
        features: Any numbers (n, ...); flattened.
        k: From 1 to n - 1.
        metric: `"euclidean"` or `"cosine"` (1 - cosine of the angle).

    Returns:
        Positions int64 (n, k), nearest first, the lower position first among equals, and distances float32 (n, k).
    """
    rows = np.asarray(features, np.float32).reshape(len(features), -1)
    if not 1 <= k < len(rows):
        raise InputError(f"Expected k from 1 to {len(rows) - 1}, for {len(rows)} images. Received: {k}.")
    if metric == "cosine":
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    elif metric != "euclidean":
        raise InputError(f"Expected metric 'euclidean' or 'cosine'. Received: {metric!r}.")
    squares = np.square(rows, dtype=np.float64).sum(axis=1)
    indices, distances = [], []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        block = rows[start : start + ROWS_AT_ONCE]
        found = squares[start : start + len(block), None] + squares[None] - 2 * (block @ rows.T).astype(np.float64)
        found[np.arange(len(block)), np.arange(start, start + len(block))] = np.inf
        order = np.argsort(found, axis=1, kind="stable")[:, :k]
        indices.append(order)
        distances.append(np.take_along_axis(found, order, axis=1))
    squared = np.maximum(np.concatenate(distances), 0)
    measured = squared / 2 if metric == "cosine" else np.sqrt(squared)
    return np.concatenate(indices).astype(np.int64), measured.astype(np.float32)


def label_agreement(indices: NDArray[np.int64], labels: NDArray) -> float:
    """Returns the share of neighbours that have the label of the image they are neighbours of."""
    labels = np.asarray(labels)
    return float((labels[indices] == labels[:, None]).mean())


def neighbourhoods(
    model: keras.Model,
    data: Any,
    layers: Sequence[str],
    *,
    k: int = 5,
    metric: str = "euclidean",
    labels: NDArray | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Neighbourhood, ...]:
    """Compares the neighbours of images in the space of their pixels with those in the spaces of layers.

    Feature maps of more than 4,096 values are averaged over blocks of places until they have no more, and images
    likewise.

    Args:
        model: A functional model, flat or nested.
        data: Labelled images: `(images, labels)`, or anything that `fit` takes.
        layers: Names of layers, from the input to the output.
        k: How many neighbours count.
        metric: `"euclidean"` or `"cosine"`.
        labels: Labels, where the data has none.
        on_progress: Called with (batches done, batches in all) where that number is known.

    Returns:
        Pixels first, then the layers in the order given.

    Raises:
        InputError: No labels; k too large; a layer that is not there.
    """
    taps = Taps(model, layers)
    kept: dict[str, list[NDArray]] = {name: [] for name in (PIXELS, *taps.names)}
    found_labels: list[NDArray] = []
    for x, y, outputs in taps.stream(data, on_progress):
        if y is not None:
            found_labels.append(np.asarray(y))
        kept[PIXELS].append(compact(x))
        for name in taps.names:
            kept[name].append(compact(np.asarray(outputs[name])))
    if labels is None:
        if not found_labels:
            raise InputError("Expected labelled images. Received: images alone. Give labels=..., or (images, labels).")
        labels = np.concatenate(found_labels)
    labels = np.asarray(labels)
    labels = labels.argmax(axis=-1) if labels.ndim > 1 and labels.shape[-1] > 1 else labels.reshape(-1)
    made = []
    for layer, name in zip((PIXELS, *layers), (PIXELS, *taps.names), strict=True):
        indices, distances = nearest(np.concatenate(kept[name]), k, metric)
        made.append(Neighbourhood(layer, indices, distances, label_agreement(indices, labels)))
    return tuple(made)


def compact(maps: NDArray, most: int = MOST_VALUES) -> NDArray[np.float32]:
    """Averages maps (n, ..., channels) over blocks of places until no more than `most` values an image are left.

    Returns:
        Float32 (n, values). Places at the end that fill no block are left out; a map is never made smaller than one
        place.
    """
    maps = np.asarray(maps, np.float32)
    block = 1
    while maps.ndim > 2 and math.prod(side // block for side in maps.shape[1:-1]) * maps.shape[-1] > most:
        if block >= min(maps.shape[1:-1]):
            break
        block += 1
    for axis in range(1, maps.ndim - 1):
        count = maps.shape[axis] // block
        blocks = np.moveaxis(maps, axis, -1)[..., : count * block]
        maps = np.moveaxis(blocks.reshape(*blocks.shape[:-1], count, block).mean(axis=-1), -1, axis)
    return maps.reshape(len(maps), -1)


def parted_pairs(
    pixels: Neighbourhood, features: Neighbourhood, labels: NDArray, most: int = 8
) -> list[tuple[int, int, int]]:
    """Finds images whose nearest picture is of another class while their nearest features are of their own.

    The lecture's 9 and 4: near in pixel space, apart in feature space, where 4 and 4 are near.

    Returns:
        (image, nearest in pixel space, nearest in feature space), those nearest to the wrong picture first.
    """
    labels = np.asarray(labels)
    near, like = pixels.indices[:, 0], features.indices[:, 0]
    found = np.flatnonzero((labels[near] != labels) & (labels[like] == labels))
    order = found[np.argsort(pixels.distances[found, 0], kind="stable")][:most]
    return [(int(image), int(near[image]), int(like[image])) for image in order]
