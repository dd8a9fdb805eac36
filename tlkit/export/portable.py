"""The same network in operations that every runtime has.

TensorFlow runs some layers of Keras by operations of its own that converters to ONNX do not know, or keeps constants
outside the graph. Each is replaced here by another built-in layer, or by arithmetic, that computes the same.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


def in_portable_operations(model: keras.Model) -> keras.Model:
    """Returns the model, rebuilt around replacements where it has layers that some format cannot hold.

    All other layers, and all weights of theirs, are shared with `model`.
    """
    replacements = {id(layer): found for layer in model.layers if (found := _replacement(layer)) is not None}
    if not replacements:
        return model

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return replacements.get(id(layer), layer)(*args, **kwargs)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def _replacement(layer: keras.Layer) -> keras.Layer | None:
    """Returns a layer to put in the place of another, built and with its weights; None where it may stay."""
    if isinstance(layer, keras.layers.Normalization):
        return _as_rescaling(layer)
    if type(layer) is keras.layers.Conv2D and 1 < layer.groups == layer.kernel.shape[-1]:
        return _as_depthwise(layer)
    return None


def _as_rescaling(layer: keras.layers.Normalization) -> keras.Layer:
    """`(x - mean) / deviation`, whose two constants TensorFlow keeps outside the graph."""
    mean, variance = (
        ops.convert_to_numpy(value).reshape(-1).astype("float64") for value in (layer.mean, layer.variance)
    )
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    scale, offset = (deviation, mean) if layer.invert else (1 / deviation, -mean / deviation)
    return keras.layers.Rescaling(scale.tolist(), offset.tolist(), dtype=layer.dtype_policy, name=layer.name)


def _as_depthwise(layer: keras.layers.Conv2D) -> keras.Layer:
    """A convolution with as many groups as channels, which TensorFlow compiles by XLA even within a graph."""
    made = keras.layers.DepthwiseConv2D(
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
        use_bias=layer.use_bias,
        activation=layer.activation,
        dtype=layer.dtype_policy,
        name=layer.name,
    )
    made.build(layer.input.shape)
    kernel, *bias = layer.get_weights()
    made.set_weights([np.swapaxes(kernel, 2, 3), *bias])
    return made
