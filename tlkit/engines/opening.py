"""An engine by its name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import keras
import numpy as np

from tlkit.config import ENGINES
from tlkit.engines.keras_engine import KerasEngine
from tlkit.engines.openvino_engine import PRECISIONS, OpenVinoEngine
from tlkit.errors import unknown_name

AUTO = "auto"


class Engine(Protocol):
    """Runs one network over blocks of images."""

    name: str
    batch_size: int

    def run(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields what the network makes of each block, in order: float32 (n, ...)."""


def open_engine(name: str, model: keras.Model, dtype: np.dtype | type = np.uint8) -> Engine:
    """Makes an engine for a model, without measuring anything.

    Args:
        name: One of `config.ENGINES` but `"auto"`.
        model: With one input and one output; runs in inference mode.
        dtype: Type of the arrays that it will be given: uint8 for pixels, float32 for rows.

    Raises:
        InputError: The name is unknown, the engine is not installed, or it cannot hold the model.
    """
    if name in PRECISIONS:
        return OpenVinoEngine(model, name, np.dtype(dtype))
    if name != KerasEngine.name:
        raise unknown_name("engine", name, [engine for engine in ENGINES if engine != AUTO])
    return KerasEngine(model)
