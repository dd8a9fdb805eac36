"""Loss and validation figure of a classifier, for integer and one-hot labels."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def make_loss(from_logits: bool, one_hot: bool, label_smoothing: float) -> keras.losses.Loss:
    """Makes the cross-entropy that training minimises."""
    if one_hot:
        return keras.losses.CategoricalCrossentropy(from_logits=from_logits, label_smoothing=label_smoothing)
    if label_smoothing:
        return SmoothedCrossentropy(from_logits, label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of integer labels whose truth is partly spread over all classes, which Keras has for one-hot ones.

    Source: C. Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016.

    Args:
        from_logits: Whether predictions are logits.
        label_smoothing: Share of the truth spread evenly, 0 to 1.
    """

    def __init__(self, from_logits: bool, label_smoothing: float) -> None:
        super().__init__(name="smoothed_crossentropy")
        self.from_logits, self.label_smoothing = from_logits, label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        targets = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), y_pred.shape[-1])
        return keras.losses.categorical_crossentropy(
            targets, y_pred, from_logits=self.from_logits, label_smoothing=self.label_smoothing
        )


SMALLEST = 1e-12  # Of probabilities whose logarithm is taken.
TEMPERATURES = tuple(2.0 ** (step / 4) for step in range(-4, 17))  # From 1/2 to 16, a fifth apart.


class LogLoss(keras.metrics.Metric):
    """Mean negative log-likelihood of the true class in nats, whatever the loss: neither smoothed nor weighted.

    Args:
        num_classes: Number of classes.
        from_logits: Whether predictions are logits.
        one_hot: Whether labels are vectors over the classes.
        balanced: Whether to average over classes first, so that each weighs the same.
    """

    kind, temperatures = "log_loss", (1.0,)

    def __init__(self, num_classes: int, from_logits: bool, one_hot: bool, balanced: bool) -> None:
        super().__init__(name=self.kind, dtype="float32")
        self.num_classes, self.from_logits = num_classes, from_logits
        self.one_hot, self.balanced = one_hot, balanced
        self.sums = self.add_weight(shape=(len(self.temperatures), num_classes), initializer="zeros", name="sums")
        self.counts = self.add_weight(shape=(num_classes,), initializer="zeros", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        targets = self._targets(y_true)
        losses = keras.losses.categorical_crossentropy(targets, y_pred, from_logits=self.from_logits)
        self.sums.assign_add(ops.sum(ops.cast(losses, "float32")[:, None] * targets, axis=0, keepdims=True))
        self.counts.assign_add(ops.sum(targets, axis=0))

    def result(self) -> Any:
        return self._mean()[0]

    def _targets(self, y_true: Any) -> Any:
        if not self.one_hot:
            y_true = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), self.num_classes)
        return ops.cast(y_true, "float32")

    def _mean(self) -> Any:
        """Returns the loss at each temperature."""
        if not self.balanced:
            return ops.sum(self.sums, axis=-1) / ops.maximum(ops.sum(self.counts), 1.0)
        present = ops.cast(self.counts > 0, "float32")
        means = self.sums / ops.maximum(self.counts, 1e-6)
        return ops.sum(means * present, axis=-1) / ops.maximum(ops.sum(present), 1.0)


class TemperedLogLoss(LogLoss):
    """The log-loss after the one temperature that makes it lowest: what is left when confidence is put right.

    Fine-tuning makes a network surer of itself before it makes it better. The plain log-loss then rises while answers
    improve, and would choose the epoch before; one temperature, fitted afterwards, takes that away and changes no
    answer. Source: C. Guo et al., "On calibration of modern neural networks", 2017.
    """

    kind, temperatures = "tempered_log_loss", TEMPERATURES

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        targets = self._targets(y_true)
        scores = ops.cast(y_pred, "float32")
        scores = scores if self.from_logits else ops.log(ops.maximum(scores, SMALLEST))
        losses = [-ops.log_softmax(scores / temperature, axis=-1) * targets for temperature in TEMPERATURES]
        self.sums.assign_add(ops.stack([ops.sum(one, axis=0) for one in losses]))
        self.counts.assign_add(ops.sum(targets, axis=0))

    def result(self) -> Any:
        return ops.min(self._mean())
