"""EfficientNet-Lite0 in Keras, with ImageNet weights that a package on the index carries.

Against EfficientNet-B0: no squeeze-and-excite, ReLU6 for swish, and a stem and head that are not scaled
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import layers

from tlkit.backbones.packaged_weights import BLOCKS, STAGES, STEM_FILTERS, TOP_FILTERS, Block, imagenet_weights
from tlkit.errors import InputError

__all__ = ["STAGES", "EfficientNetLite0"]

DEFAULT_IMAGE_SIZE = 224
MIN_IMAGE_SIZE = 32
IMAGENET_CLASSES = 1000
# The values of the original training (`efficientnet_lite_builder.py`).
BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 0.99
TOP_DROPOUT_RATE = 0.2
DROP_CONNECT_RATE = 0.2


def EfficientNetLite0(
    include_top: bool = True,
    weights: str | Path | None = "imagenet",
    input_tensor: Any = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = IMAGENET_CLASSES,
    classifier_activation: Any = "softmax",
    name: str = "efficientnet_lite0",
) -> keras.Model:
    """Builds EfficientNet-Lite0 as a flat functional model, with the signature of keras.applications.

    The input is (pixel - 127) / 128 of RGB pixels from 0 to 255, so about -1 to 1: the preprocessing is *not* part of
    the model. Strided convolutions pad as TensorFlow's "same" does, at whatever size they meet.

    Args:
        include_top: Whether the classification layers follow the last feature map.
        weights: `"imagenet"`, None for random ones, or the path of a `.weights.h5` file of this very model.
        input_tensor: Keras tensor (batch, height, width, channels) to build upon, in place of an input of its own.
        input_shape: (height, width, channels), each side at least 32 or None. Default (224, 224, 3) with the top,
            (None, None, 3) without.
        pooling: Without the top: None for the feature map, `"avg"` or `"max"` for a vector of 1280.
        classes: Number of classes of the top; 1000 with ImageNet weights.
        classifier_activation: Activation of the top; None gives logits.
        name: The model's name.

    Returns:
        The model; without top and pooling its output is (batch, height / 32, width / 32, 1280), from 0 to 6.

    Raises:
        InputError: An argument has a value that is not supported, or the weights cannot be had.
    """
    _check_arguments(include_top, weights, pooling, classes)
    if input_tensor is None:
        input_tensor = layers.Input(_choose_input_shape(input_shape, include_top))
    _check_input(input_tensor.shape, weights)
    x = _apply_body(input_tensor)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dropout(TOP_DROPOUT_RATE, name="top_dropout")(x)
        x = layers.Dense(
            classes,
            activation=classifier_activation,
            kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_out", "uniform"),
            name="predictions",
        )(x)
    elif pooling == "avg":
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    elif pooling == "max":
        x = layers.GlobalMaxPooling2D(name="max_pool")(x)
    sources = keras.utils.get_source_inputs(input_tensor)
    model = keras.Model(sources[0] if len(sources) == 1 else sources, x, name=name)
    _load_weights(model, weights)
    return model


def _check_arguments(include_top: bool, weights: str | Path | None, pooling: str | None, classes: int) -> None:
    if keras.config.image_data_format() != "channels_last":
        raise InputError(
            "EfficientNetLite0 expects the image data format 'channels_last'. Received: 'channels_first'. "
            "Call keras.config.set_image_data_format('channels_last')."
        )
    if pooling not in (None, "avg", "max"):
        raise InputError(f"Expected pooling to be None, 'avg' or 'max'. Received: pooling={pooling!r}.")
    if weights == "imagenet" and include_top and classes != IMAGENET_CLASSES:
        raise InputError(
            f"Expected classes=1000 with weights='imagenet' and include_top=True. Received: classes={classes}. "
            "Use include_top=False and a head of your own, or weights=None."
        )
    if weights not in (None, "imagenet") and not Path(weights).is_file():
        raise InputError(
            "Expected weights to be 'imagenet', None or the path of a .weights.h5 file. "
            f"Received: weights={str(weights)!r}."
        )


def _choose_input_shape(
    input_shape: tuple[int | None, int | None, int] | None, include_top: bool
) -> tuple[int | None, int | None, int]:
    if input_shape is not None:
        return input_shape
    side = DEFAULT_IMAGE_SIZE if include_top else None
    return (side, side, 3)


def _check_input(shape: tuple[int | None, ...], weights: str | Path | None) -> None:
    """Refuses what the network cannot take; `shape` is with the batch."""
    if len(shape) != 4 or any(side is not None and side < MIN_IMAGE_SIZE for side in shape[1:3]):
        raise InputError(
            f"EfficientNetLite0 expects images (height, width, channels) of at least {MIN_IMAGE_SIZE} pixels a side. "
            f"Received: input shape {tuple(shape[1:])}."
        )
    if weights == "imagenet" and shape[-1] != 3:
        raise InputError(
            f"EfficientNetLite0 expects 3 channels with weights='imagenet'. Received: input shape {tuple(shape[1:])}."
        )


def _apply_body(x: Any) -> Any:
    """Applies stem, blocks and top convolution."""
    x = _convolve(x, STEM_FILTERS, "stem_conv", "stem_bn", kernel_size=3, strides=2)
    x = layers.ReLU(6.0, name="stem_activation")(x)
    for index, block in enumerate(BLOCKS):
        x = _apply_block(x, block, drop_rate=DROP_CONNECT_RATE * index / len(BLOCKS))
    x = _convolve(x, TOP_FILTERS, "top_conv", "top_bn")
    return layers.ReLU(6.0, name="top_activation")(x)


def _apply_block(inputs: Any, block: Block, drop_rate: float) -> Any:
    """Applies an inverted-residual block: expand, filter each channel, project, add."""
    x, name = inputs, block.name
    if block.expand_ratio != 1:
        x = _convolve(x, block.filters_in * block.expand_ratio, f"{name}_expand_conv", f"{name}_expand_bn")
        x = layers.ReLU(6.0, name=f"{name}_expand_activation")(x)
    x = layers.DepthwiseConv2D(
        block.kernel_size,
        strides=block.strides,
        padding="same",
        use_bias=False,
        depthwise_initializer=_he_normal(),
        name=f"{name}_dwconv",
    )(x)
    x = _normalize(x, f"{name}_bn")
    x = layers.ReLU(6.0, name=f"{name}_activation")(x)
    x = _convolve(x, block.filters_out, f"{name}_project_conv", f"{name}_project_bn")
    if not block.has_shortcut:
        return x
    # Stochastic depth: the whole branch is dropped, image by image.
    x = layers.Dropout(drop_rate, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(x)
    return layers.Add(name=f"{name}_add")([x, inputs])


def _convolve(x: Any, filters: int, name: str, norm_name: str, kernel_size: int = 1, strides: int = 1) -> Any:
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=_he_normal(),
        name=name,
    )(x)
    return _normalize(x, norm_name)


def _normalize(x: Any, name: str) -> Any:
    return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, epsilon=BATCH_NORM_EPSILON, name=name)(x)


def _he_normal() -> keras.initializers.Initializer:
    return keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")


def _load_weights(model: keras.Model, weights: str | Path | None) -> None:
    if weights == "imagenet":
        arrays = imagenet_weights()
        for layer in model.layers:
            for variable in layer.weights:
                if f"{layer.name}/{variable.name}" in arrays:
                    variable.assign(arrays[f"{layer.name}/{variable.name}"])
    elif weights is not None:
        model.load_weights(weights)
