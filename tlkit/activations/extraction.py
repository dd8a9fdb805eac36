"""Computing the outputs of a frozen prefix into the cache: from the pixels, or from the outputs of a lower cut."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np

from tlkit import cache
from tlkit.activations.addressing import address
from tlkit.activations.blocks import ROWS, BlockFile
from tlkit.activations.rows import DTYPES, Rows, open_rows
from tlkit.console import OnProgress
from tlkit.data.loader import ImageDataset
from tlkit.engines import Engine
from tlkit.errors import InputError
from tlkit.features import read_ahead
from tlkit.graph import split_model

KIND = "activations"
SAMPLE = 128  # Images on which engines are tried.


@dataclass(frozen=True)
class Inputs:
    """What is computed from.

    Attributes:
        model: From these inputs to the cut.
        read: Returns the inputs from one row to before another.
        told: What they are, for people.
        hold: Keeps them in the cache meanwhile; None for pixels.
    """

    model: keras.Model
    read: Callable[[int, int], np.ndarray]
    told: str
    hold: cache.Hold | None = None

    def sample(self, num_rows: int) -> np.ndarray:
        """Returns some inputs to try engines on."""
        return self.read(0, min(SAMPLE, num_rows))

    def close(self) -> None:
        """Lets the cache evict them."""
        if self.hold is not None:
            self.hold.close()


def pixels(prefix: keras.Model, dataset: ImageDataset) -> Inputs:
    """The images themselves."""
    return Inputs(prefix, lambda start, stop: dataset.store.images(dataset.indices[start:stop]), "the pixels")


def lower_cut(prefix: keras.Model, digests: dict[str, str], images: str, engine: str) -> Inputs | None:
    """Finds the highest lower cut whose float32 rows for these images lie in the cache, by the same engine.

    Args:
        prefix: The frozen part whose outputs are wanted.
        digests: From `fingerprints.graph_digests`, of the prefix.
        images: From `addressing.images_digest`.
        engine: Name of the engine.
    """
    names = list(digests)
    found = [entry for entry in cache.list_entries(KIND) if entry.complete and entry.details.get("cut") in digests]
    for entry in sorted(found, key=lambda entry: -names.index(entry.details["cut"])):
        cut = entry.details["cut"]
        key = address(digests[cut], images, engine, "float32")
        if key != entry.key or cut == names[-1] or (hold := cache.hold(KIND, key)) is None:
            continue
        shape = (entry.details["images"], *entry.details["shape"])
        if not BlockFile(hold.path, shape[0], 4 * math.prod(shape[1:])).is_intact():
            hold.close()
            continue
        try:
            middle = split_model(prefix, cut)[1]
        except InputError:  # Layers of that name stand elsewhere in this network.
            hold.close()
            continue
        rows = open_rows(hold.path / ROWS, shape, "float32")
        return Inputs(middle, partial(_read, rows), f"those of {cut}", hold)
    return None


def _read(rows: Rows, start: int, stop: int) -> np.ndarray:
    return np.array(rows[start:stop])


@dataclass(frozen=True)
class Target:
    """What is to lie in the cache.

    Attributes:
        key: Its address.
        shape: (n, ...).
        storage: How rows are kept.
        details: For the entry's header.
    """

    key: str
    shape: tuple[int, ...]
    storage: str
    details: dict[str, object]

    @property
    def bytes(self) -> int:
        """What the rows take."""
        return math.prod(self.shape) * DTYPES[self.storage].itemsize

    @property
    def row_bytes(self) -> int:
        """What one of them takes."""
        return self.bytes // max(self.shape[0], 1)


def extract(inputs: Inputs, engine: Engine, target: Target, on_progress: OnProgress | None) -> None:
    """Computes rows into the cache, going on where an interrupted extraction stopped; reading and computing overlap.

    Raises:
        CacheError: The cache cannot take them.
    """
    with cache.build(KIND, target.key, target.bytes, details=target.details, resumable=True) as folder:
        if cache.find(KIND, target.key) is not None:  # Another process has finished it meanwhile.
            return
        file = BlockFile(folder, target.shape[0], target.row_bytes)
        rest = range(file.truncate_to_intact(), len(file))
        blocks = read_ahead(inputs.read(*file.bounds(block)) for block in rest)
        for block, rows in zip(rest, engine.run(blocks), strict=True):
            file.append(in_storage(rows, target.storage))
            if on_progress:
                on_progress(file.bounds(block)[1], target.shape[0])


def in_storage(rows: np.ndarray, storage: str) -> np.ndarray:
    """Returns float32 rows as they are kept.

    Raises:
        InputError: Values are too large for float16.
    """
    if storage == "float16" and np.abs(rows).max(initial=0) > np.finfo(np.float16).max:
        raise InputError(
            f"Expected activations within float16's range, 65,504. Received: {np.abs(rows).max():,.0f}. "
            "Choose storage bfloat16 or float32."
        )
    return rows.astype(DTYPES[storage], copy=False)
