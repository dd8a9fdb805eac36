"""Auxiliary losses: classifiers on the way to the output, put on for training and taken off after it.

C. Szegedy et al., "Going deeper with convolutions" (2014), section 5: they bring gradients to the layers far from the
output; each counts 0.3 of the loss, and none is there when the network is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tlkit.errors import InputError
from tlkit.graph import head_dense
from tlkit.models.googlenet import with_auxiliary_heads

WEIGHT = 0.3


class AuxiliaryLosses(keras.Model):
    """A functional model whose first output is the network's own, and whose others count in the training loss alone.

    Metrics, and the loss in validation, are those of the first output.
    """

    auxiliary_weight = WEIGHT

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred[0], sample_weight=sample_weight, training=training)
        if training:
            for output in y_pred[1:]:
                loss += self.auxiliary_weight * self.loss(y, output, sample_weight=sample_weight)
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        return super().compute_metrics(x, y, y_pred[0], sample_weight)


def with_auxiliary_losses(model: keras.Model, layers: Sequence[str], weight: float = WEIGHT) -> AuxiliaryLosses:
    """Makes a twin of a classifier, over the same layers, that trains with auxiliary classifiers.

    Args:
        model: A classifier of one output.
        layers: Names of the layers whose feature maps the auxiliary classifiers read.
        weight: Of each one's loss, at least 0.

    Returns:
        A model to compile with one loss and to fit; the network itself stays as it is, but for its weights.

    Raises:
        InputError: The weight is negative.
    """
    if not weight >= 0:
        raise InputError(f"Expected a weight of auxiliary losses of at least 0. Received: {weight:g}.")
    activation = getattr(model.layers[-1], "activation", None)
    squashed = activation is not None and activation is not keras.activations.linear
    whole = with_auxiliary_heads(model, head_dense(model).units, activation if squashed else None, layers)
    twin = AuxiliaryLosses(inputs=whole.inputs[0], outputs=whole.outputs)
    twin.auxiliary_weight = weight
    return twin
