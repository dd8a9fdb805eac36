"""What trains when: a strategy is a tuple of phases, plain data that can be printed, changed and stored."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from tlkit.errors import unknown_name
from tlkit.graph import feature_layer, layers_after

STRATEGIES = ("frozen",)


@dataclass(frozen=True)
class Phase:
    """One stretch of training with one set of trainable layers.

    Attributes:
        name: Shown in the history and the report.
        train_from: `"head"`: only the layers after the features train.
        epochs: Epochs of gradient training; 0 leaves the head as the convex fit made it.
        learning_rate: Peak learning rate.
        convex_head: Whether the head is first set by a regularised logistic regression on the features.
    """

    name: str
    train_from: str = "head"
    epochs: int = 0
    learning_rate: float = 1e-3
    convex_head: bool = False


def frozen(epochs: int = 0, learning_rate: float = 1e-3, convex_head: bool = True) -> tuple[Phase, ...]:
    """The backbone stays as it is; only the head is fitted, by convex optimisation and, on request, by epochs."""
    return (Phase("head", "head", epochs, learning_rate, convex_head),)


def get_strategy(name: str, epochs: int = 0, learning_rate: float = 1e-3) -> tuple[Phase, ...]:
    """Returns the phases of a named strategy.

    Raises:
        InputError: The name is unknown.
    """
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, STRATEGIES)
    return {"frozen": frozen}[name](epochs=epochs, learning_rate=learning_rate)


def apply_phase(model: keras.Model, phase: Phase) -> None:
    """Sets `trainable` on every layer of `model` as the phase wants it; compile before the next `fit`.

    Layers are set one by one: a flag on a parent would hide those of its children, and BatchNormalization layers
    must be frozen themselves, for Keras up to 3.15 moves their statistics in `fit` otherwise, whatever
    `training=False` says where the model was built.
    """
    trained = {id(layer) for layer in layers_after(model, feature_layer(model))}
    model.trainable = True
    for layer in model.layers:
        layer.trainable = id(layer) in trained
