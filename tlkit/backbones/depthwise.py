"""Convolutions with a group for each channel, written as the layer that computes them fast.

On processors TensorFlow computes `Conv2D(groups=channels)` 40 to 80 times slower than `DepthwiseConv2D`, which is the
same sum (2 cores, 7 x 7, 96 to 768 channels, batches of 32). ConvNeXt is made of them.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tlkit.backbones.flatten import rebuild, set_layer_weights


def with_depthwise_layers(model: keras.Model) -> keras.Model:
    """Returns a flat model that computes what `model` does, to rounding, its layers of one group a channel depthwise.

    Names, numbers of weights and `trainable` flags stay; kernels (height, width, 1, channels) become (height, width,
    channels, 1). A model without such layers comes back as it is.
    """
    if not any(_has_a_group_for_each_channel(layer) for layer in model.layers):
        return model
    rebuilt, pairs = rebuild(model, substitute=_depthwise)
    for old, new in pairs:
        weights = old.get_weights()
        if type(new) is not type(old):
            weights[0] = np.swapaxes(weights[0], 2, 3)
        set_layer_weights(new, weights)
    return rebuilt


def _has_a_group_for_each_channel(layer: Any) -> bool:
    if type(layer) is not keras.layers.Conv2D or layer.groups == 1 or len(set(layer.strides)) > 1:
        return False
    return bool(layer.groups == layer.filters == layer.kernel.shape[3] and layer.kernel.shape[2] == 1)


def _depthwise(operation: Any, config: dict[str, Any]) -> keras.Layer | None:
    if not _has_a_group_for_each_channel(operation):
        return None
    own = {key: value for key, value in config.items() if key not in ("filters", "groups")}
    for kind in ("initializer", "regularizer", "constraint"):
        own[f"depthwise_{kind}"] = own.pop(f"kernel_{kind}")
    return keras.layers.DepthwiseConv2D.from_config(own)
