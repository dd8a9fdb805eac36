"""Gives a network for colour images another number of input channels.

The first convolution keeps what it has learnt: channel i of the new input is treated as the colour i mod 3 of
(R, G, B), with that colour's scaling. With one channel the kernel is summed over the colours, which is what a grey
image written three times would meet, and the scaling constants are averaged (so `tf`, `lite` and `unit` networks give
exactly what they give for the grey image in three channels). With C other than 1 and 3 the colour's slice of the
kernel is repeated and multiplied by 3 / C, so that the sum over the channels stays of the size it was.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tlkit.backbones.flatten import rebuild, set_layer_weights
from tlkit.backbones.preprocessing import rescale
from tlkit.errors import InputError

COLOURS = 3


def adapt_channels(model: keras.Model, input_channels: int) -> keras.Model:
    """Returns the model with `input_channels` channels; `model` itself where it has so many.

    Args:
        model: A flat functional model whose input has three channels, and which reaches its first convolution by a
            plain chain of scaling and padding layers.
        input_channels: Channels wanted, at least 1.

    Returns:
        A model whose layers are new; one `Rescaling` named `preprocess_scale` replaces all scaling before.

    Raises:
        InputError: The model does not begin so.
    """
    if model.input.shape[-1] == input_channels:
        return model
    chain, first = _chain_to_first_convolution(model)
    colour_of_input, scale, offset = _measure_chain(model, chain)
    scaling = [operation.name for operation in chain if not isinstance(operation, keras.layers.ZeroPadding2D)]
    channels = np.arange(input_channels) % COLOURS
    image = keras.Input((*model.input.shape[1:3], input_channels), dtype="float32", name=model.input.name)
    adapted, pairs = rebuild(
        model,
        image=image,
        entry=lambda pixels: rescale(pixels, _by_channel(scale, channels), _by_channel(offset, channels)),
        skip=scaling,
    )
    for old, new in pairs:
        values = old.get_weights()
        if old is first:
            values[0] = adapt_kernel(values[0][:, :, colour_of_input], input_channels)
        set_layer_weights(new, values)
    return adapted


def adapt_kernel(kernel: np.ndarray, input_channels: int) -> np.ndarray:
    """Makes a kernel over (R, G, B) one over `input_channels` channels, as the module says.

    Args:
        kernel: Float array (height, width, 3, filters), colours in the order R, G, B.
        input_channels: Channels wanted.

    Returns:
        Float array (height, width, input_channels, filters).
    """
    if input_channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    repeated = kernel[:, :, np.arange(input_channels) % COLOURS]
    return repeated * kernel.dtype.type(COLOURS / input_channels)


def _by_channel(values: np.ndarray, channels: np.ndarray) -> list[float]:
    chosen = values.mean(keepdims=True) if len(channels) == 1 else values[channels]
    return [float(value) for value in chosen]


def _chain_to_first_convolution(model: keras.Model) -> tuple[list[Any], keras.layers.Conv2D]:
    """Returns the operations between the input and the first convolution, and that convolution."""
    chain: list[Any] = []
    for operation in model.operations[1:]:
        if isinstance(operation, keras.layers.Conv2D) and operation.groups == 1:
            if operation.kernel.shape[2] == COLOURS:
                return chain, operation
            break
        chain.append(operation)
        affine = isinstance(operation, keras.layers.Rescaling | keras.layers.Normalization)
        if not (affine or isinstance(operation, keras.layers.ZeroPadding2D) or type(operation).__name__ == "Flip"):
            break
    raise InputError(
        f"Expected a network that begins with scaling and a 2D convolution over {COLOURS} channels, to adapt its "
        f"kernel. Received: {model.name}, which does not. Convert the images to {COLOURS} channels instead."
    )


def _measure_chain(model: keras.Model, chain: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds what a chain of per-channel scalings and flips does, by sending colours through it.

    Returns:
        For each of the colours R, G, B: which input channel of the convolution it becomes, its scale, its offset.
    """
    colours = np.zeros((1 + COLOURS, *model.input.shape[1:3], COLOURS), "float32")
    for colour in range(COLOURS):
        colours[1 + colour, ..., colour] = 1.0
    last = [operation for operation in chain if not isinstance(operation, keras.layers.ZeroPadding2D)][-1:]
    if last:
        scaled = keras.Model(model.input, last[0].output)(colours)
        colours = keras.ops.convert_to_numpy(scaled).astype("float32")
    pixel = colours[:, 0, 0].astype("float64")
    matrix = pixel[1:] - pixel[0]  # Row: colour of the input; column: channel of the convolution.
    channel = np.abs(matrix).argmax(axis=1)
    return channel, matrix[np.arange(COLOURS), channel], pixel[0][channel]
