"""BatchNormalization whose statistics keep up with a training, however short its epochs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

STALE_SHARE = 0.1  # Of the statistics at the end of an epoch, at most, that dates from before it.


@contextmanager
def keeping_up(model: keras.Model, steps_per_epoch: int) -> Iterator[None]:
    """Lowers the momentum of the BatchNormalization layers that train, and gives it back at the end.

    Keras averages their mean and variance with a momentum of 0.99, which takes hundreds of steps to forget where it
    began. A network from random weights that trains three steps an epoch is validated, after thirty epochs, with
    statistics of which 40 % are still those of no image at all, and its accuracy stays at chance. Here an epoch leaves
    at most a tenth of the older ones: `momentum ** steps_per_epoch <= 0.1`. Epochs of 230 steps and more, and layers
    with a low momentum of their own, train as Keras would train them.

    Args:
        model: Compiled, or compiled anew, inside: the momentum is read where its training is traced.
        steps_per_epoch: Batches of an epoch.
    """
    layers = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    own = [layer.momentum for layer in layers]
    highest = STALE_SHARE ** (1 / max(steps_per_epoch, 1))
    for layer in layers:
        layer.momentum = min(layer.momentum, highest)
    try:
        yield
    finally:
        for layer, momentum in zip(layers, own, strict=True):
            layer.momentum = momentum
