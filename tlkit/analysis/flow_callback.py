"""Records the flow of gradients during `fit`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlkit.analysis.gradient_flow import (
    Entry,
    FlowRecord,
    make_record,
    norms,
    require_trainable,
    sizes,
    weighted_layers,
)
from tlkit.analysis.gradients import loss_and_gradients, model_loss, value_and_gradients
from tlkit.errors import InputError


class GradientFlow(keras.callbacks.Callback):
    """Measures gradients, weights and updates by layer while a model trains.

    `fit` compiles its step and hands out no gradients. So the gradient of the loss is taken on a probe, one batch that
    stays the same, just before a step; the update is what that very step then changed. Works under every backend and
    with compiled steps, and leaves training as it was, seeds and statistics included. One record costs about one
    training step and a copy of the weights.

    Args:
        x: Probe inputs, one batch.
        y: Their targets, as the compiled loss takes them.
        frequency: `"epoch"` for the first step of each epoch, or a number n for every n-th step.

    Attributes:
        record: What was measured, a `FlowRecord`; available at any time.

    Example:
        flow = GradientFlow(x_train[:32], y_train[:32], frequency=10)
        model.fit(x_train, y_train, callbacks=[flow])
        print(judge(flow.record).message)
    """

    def __init__(self, x: Any, y: Any, frequency: str | int = "epoch") -> None:
        super().__init__()
        if frequency != "epoch" and (not isinstance(frequency, int) or frequency < 1):
            raise InputError(f"Expected frequency 'epoch' or a number of at least 1. Received: {frequency!r}.")
        self.x, self.y, self.frequency = np.asarray(x), np.asarray(y), frequency
        self._entries: list[Entry] = []
        self._before: list[NDArray] | None = None
        self._steps = self._first = 0

    def to_facts(self) -> dict[str, Any]:
        """Returns what was measured so far, JSON-able."""
        entries = [
            [None if value is None else np.asarray(value).tolist() for value in entry] for entry in self._entries
        ]
        return {"steps": self._steps, "entries": entries}

    def restore(self, facts: dict[str, Any]) -> None:
        """Goes on from what `to_facts` has told."""
        self._steps = facts["steps"]
        self._entries = [
            (step, loss, *(None if norms is None else np.array(norms) for norms in measured))
            for step, loss, *measured in facts["entries"]
        ]

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        require_trainable(self.model, None)
        self._layers = weighted_layers(self.model)
        self._weight_count = sizes(self._weights(), self._layers)
        self._differentiated = value_and_gradients(model_loss(self.model))

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._first = batch
        due = batch == 0 if self.frequency == "epoch" else self._steps % int(self.frequency) == 0
        if not due:
            return
        self._before = self._weights()
        loss, gradients = loss_and_gradients(self._differentiated, self.model, self.x, self.y)
        found = norms(gradients, self._layers), norms(self._before, self._layers)
        self._entries.append((self._steps, loss, *found, None))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._steps += batch - self._first + 1  # More than one where `steps_per_execution` is.
        if self._before is None:
            return
        changes = [after - before for after, before in zip(self._weights(), self._before, strict=True)]
        self._entries[-1] = (*self._entries[-1][:4], norms(changes, self._layers))
        self._before = None

    @property
    def record(self) -> FlowRecord:
        if not hasattr(self, "_layers"):
            raise InputError("Expected a GradientFlow that fit has been called with. Received: one not used yet.")
        return make_record(self._layers, self._weight_count, self._entries)

    def _weights(self) -> list[NDArray]:
        # Float32 whatever the policy, and a copy: the buffers are given away by the next step.
        return [np.array(keras.ops.convert_to_numpy(v.value), np.float32) for v in self.model.trainable_variables]
