"""Hyperband's rungs: a training that stops after some epochs, and another that goes on from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np


class Rung(keras.callbacks.Callback):
    """Stops a phase after some of its epochs and keeps what going on needs: weights and the optimizer's state.

    The learning rate follows the schedule of the whole phase, whatever the rung: the steps done are part of the
    optimizer's state. Stands after `BestWeights`, which thereby begins with the best weights so far.

    Args:
        stop_after: Epochs of the phase after which it stops, those of lower rungs counted in.
        done: Epochs of lower rungs.
        start: Checkpoint of the rung below, or None.
        path: Where to write this one's.
    """

    def __init__(self, stop_after: int, done: int, start: Path | None, path: Path) -> None:
        super().__init__()
        self.stop_after, self.done, self.start, self.path = stop_after, done, start, path

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        optimizer = self.model.optimizer
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        if self.start is None:
            return
        # Where the training diverges, a second attempt begins with what the first one had reached.
        start, self.start = self.start, None
        with np.load(start) as kept:
            self.model.set_weights([kept[f"weight_{index}"] for index in range(len(self.model.weights))])
            for index, variable in enumerate(optimizer.variables):
                variable.assign(kept[f"optimizer_{index}"])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.done + epoch + 1 < self.stop_after:
            return
        self.model.stop_training = True
        arrays = {f"weight_{index}": value for index, value in enumerate(self.model.get_weights())}
        for index, variable in enumerate(self.model.optimizer.variables):
            arrays[f"optimizer_{index}"] = keras.ops.convert_to_numpy(variable)
        np.savez(self.path, allow_pickle=False, **arrays)
