"""What a network wants done to raw pixels, as layers of its graph that any Keras reads back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from tlkit.backbones.registry import PREPROCESSING
from tlkit.errors import unknown_name

# Mean and standard deviation of ImageNet's training pixels scaled to 0-1, in the order R, G, B (torchvision).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Mean of ImageNet's training pixels, in the order B, G, R of the Caffe networks (VGG, ResNet).
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


class Scaling(NamedTuple):
    """`x * scale + offset`, by channel where they are lists, after the channels were flipped or averaged."""

    scale: float | list[float] = 1.0
    offset: float | list[float] = 0.0
    flip: bool = False
    grey: bool = False


SCALINGS = {
    "inside": Scaling(),
    "tf": Scaling(1 / 127.5, -1.0),
    "torch": Scaling(
        [1 / (255 * std) for std in IMAGENET_STD],
        [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)],
    ),
    "caffe": Scaling(1.0, [-mean for mean in CAFFE_MEAN_BGR], flip=True),
    "lite": Scaling(1 / 128, -127 / 128),  # (x - 127) / 128, EfficientNet-Lite
    "unit": Scaling(1 / 255, 0.0),
    "grey": Scaling(1 / 255, 0.0, grey=True),
}


def preprocess(image: Any, mode: str) -> Any:
    """Adds the layers that turn raw pixels into what the network's weights were trained on.

    The layers are built-in ones, named `preprocess_*`, and compute in float32 under any dtype policy: bfloat16 has
    eight bits, too few for 255 - 103.939.

    Args:
        image: Keras tensor (batch, height, width, 3) of RGB pixels from 0 to 255; any channels for `"grey"`.
        mode: One of `tlkit.backbones.registry.PREPROCESSING`.

    Returns:
        Keras tensor of the same shape, of one channel for `"grey"`; `image` itself where nothing needs doing.

    Raises:
        InputError: There is no such mode.
    """
    if mode not in SCALINGS:
        raise unknown_name("preprocessing", mode, PREPROCESSING)
    scaling = SCALINGS[mode]
    if scaling.flip:
        image = flip_channels(image)
    if scaling.grey:
        image = mean_of_channels(image)
    return rescale(image, scaling.scale, scaling.offset)


def rescale(image: Any, scale: float | Sequence[float], offset: float | Sequence[float]) -> Any:
    """Adds the one layer that multiplies and shifts, by channel where lists are given, unless it would do nothing."""
    if scale == 1.0 and offset == 0.0:
        return image
    return keras.layers.Rescaling(scale, offset, dtype="float32", name="preprocess_scale")(image)


def flip_channels(image: Any) -> Any:
    """Reverses the order of the channels, exactly.

    No built-in layer does so; a 1 x 1 convolution with fixed weights would, but rounds where a GPU multiplies in
    TensorFloat-32. `keras.ops.flip` is saved and loaded as part of a graph like a layer, and costs no weights.
    """
    flipped = keras.ops.flip(image, axis=-1)
    flipped._keras_history.operation.name = "preprocess_flip"  # Keras numbers the names of operations otherwise.
    return flipped


def mean_of_channels(image: Any) -> Any:
    """Turns colour into grey, exactly where all channels are equal, as in MNIST written three times.

    As with `flip_channels`, the operation is part of the graph and of the saved model.
    """
    grey = keras.ops.mean(image, axis=-1, keepdims=True)
    grey._keras_history.operation.name = "preprocess_grey"
    return grey
