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


class LogLoss(keras.metrics.Metric):
    """Mean negative log-likelihood of the true class in nats, whatever the loss: neither smoothed nor weighted.

    Args:
        num_classes: Number of classes.
        from_logits: Whether predictions are logits.
        one_hot: Whether labels are vectors over the classes.
        balanced: Whether to average over classes first, so that each weighs the same.
    """

    def __init__(self, num_classes: int, from_logits: bool, one_hot: bool, balanced: bool) -> None:
        super().__init__(name="log_loss", dtype="float32")
        self.num_classes, self.from_logits = num_classes, from_logits
        self.one_hot, self.balanced = one_hot, balanced
        self.sums = self.add_weight(shape=(num_classes,), initializer="zeros", name="sums")
        self.counts = self.add_weight(shape=(num_classes,), initializer="zeros", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        targets = y_true
        if not self.one_hot:
            targets = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), self.num_classes)
        targets = ops.cast(targets, "float32")
        losses = keras.losses.categorical_crossentropy(targets, y_pred, from_logits=self.from_logits)
        self.sums.assign_add(ops.sum(ops.cast(losses, "float32")[:, None] * targets, axis=0))
        self.counts.assign_add(ops.sum(targets, axis=0))

    def result(self) -> Any:
        if not self.balanced:
            return ops.sum(self.sums) / ops.maximum(ops.sum(self.counts), 1.0)
        present = ops.cast(self.counts > 0, "float32")
        means = self.sums / ops.maximum(self.counts, 1e-6)
        return ops.sum(means * present) / ops.maximum(ops.sum(present), 1.0)
