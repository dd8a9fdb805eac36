"""BatchNormalization whose statistics are those of whole batches, and keep up with a training of short epochs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from tlkit.distribution import sharing_devices

STALE_SHARE = 0.1  # Of the statistics at the end of an epoch, at most, that dates from before it.


@contextmanager
def keeping_up(model: keras.Model, steps_per_epoch: int) -> Iterator[None]:
    """Adapts the BatchNormalization layers that train, and gives them back as they were at the end.

    Keras averages their mean and variance with a momentum of 0.99, which takes hundreds of steps to forget where it
    began. A network from random weights that trains three steps an epoch is validated, after thirty epochs, with
    statistics of which 40 % are still those of no image at all, and its accuracy stays at chance. Here an epoch leaves
    at most a tenth of the older ones: `momentum ** steps_per_epoch <= 0.1`. Epochs of 230 steps and more, and layers
    with a low momentum of their own, train as Keras would train them.

    Where devices of a `MirroredStrategy` share each batch, Keras would give each the statistics of its own share, and
    save those of the first; here they are taken over the whole batch, as one device would.

    Args:
        model: Compiled, or compiled anew, inside: both are read where its training is traced.
        steps_per_epoch: Batches of an epoch.
    """
    layers = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    own = [(layer.momentum, layer.synchronized) for layer in layers]
    shared = sharing_devices() > 1
    highest = STALE_SHARE ** (1 / max(steps_per_epoch, 1))
    for layer in layers:
        layer.momentum = min(layer.momentum, highest)
        layer.synchronized = layer.synchronized or shared
    try:
        yield
    finally:
        for layer, (momentum, synchronized) in zip(layers, own, strict=True):
            layer.momentum, layer.synchronized = momentum, synchronized
