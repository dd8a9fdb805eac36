"""Keras as an engine: batches of one size, in inference mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import keras
import numpy as np

from tlkit.features import padded, prepare_inference

BATCH_SIZE = 32


class KerasEngine:
    """Runs a model batch by batch in Keras's own backend.

    Args:
        model: With one input and one output.
        batch_size: Images a batch: a multiple of 16, at which results are bit-equal.
        jit: Whether XLA compiles the network; None leaves the choice to `features.prepare_inference`.
    """

    name = "keras"

    def __init__(self, model: keras.Model, batch_size: int = BATCH_SIZE, jit: bool | None = None):
        self.model, self.batch_size, self.jit = model, batch_size, jit
        # A model of its own, so that how this one is compiled is no business of whoever else holds the layers.
        self._compiled = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
        if jit is None:
            prepare_inference(self._compiled)
        else:
            self._compiled.jit_compile = jit

    def run(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields what the model makes of each block, in order: float32 (n, ...)."""
        for block in blocks:
            yield np.concatenate([self._batch(part) for part in parts_of(block, self.batch_size)])

    def _batch(self, images: np.ndarray) -> np.ndarray:
        outputs = self._compiled.predict_on_batch(padded(images, self.batch_size))
        return np.asarray(outputs, np.float32)[: len(images)]


def parts_of(block: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yields a block in parts of at most `size` rows."""
    for start in range(0, len(block), size):
        yield block[start : start + size]
