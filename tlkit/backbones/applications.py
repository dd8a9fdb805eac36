"""How the networks of the registry are built: Keras Applications' own functions, called the one way that fits all."""

from __future__ import annotations

import importlib
from typing import Any

import keras
import numpy as np

from tlkit.backbones.flatten import set_layer_weights
from tlkit.backbones.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from tlkit.backbones.registry import Backbone, Builder
from tlkit.errors import InputError


def build_network(backbone: Backbone, input_tensor: Any, include_top: bool, weights: str | None = None) -> keras.Model:
    """Builds a network upon preprocessed pixels, as its own function makes it: not yet flat, names not yet fixed.

    Args:
        backbone: Which one.
        input_tensor: Keras tensor (batch, height, width, 3).
        include_top: Whether the ImageNet head of 1,000 classes is part of it.
        weights: None for random ones; `"imagenet"` where the function brings its weights itself.

    Returns:
        A functional model from the input of `input_tensor`.
    """
    build = builder(backbone)
    arguments: dict[str, Any] = {"include_top": include_top, "weights": weights, "input_tensor": input_tensor}
    if backbone.weights == "keras":
        arguments["input_shape"] = tuple(input_tensor.shape[1:])  # The smallest sizes are checked against this alone.
    network = build(**arguments)
    if backbone.family == "EfficientNet":
        set_imagenet_normalization(network)
    return network


def builder(backbone: Backbone) -> Builder:
    """Finds the function that builds a backbone.

    Raises:
        InputError: It cannot be imported.
    """
    if callable(backbone.build):
        return backbone.build
    module, _, function = backbone.build.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"Expected {backbone.build} to build {backbone.name}. Received: {error}. "
            "Install the package that holds it, or register the backbone with another function."
        ) from error


def set_imagenet_normalization(network: keras.Model) -> None:
    """Gives EfficientNet's `Normalization` the mean and variance of ImageNet, so that random weights see scaled pixels.

    Keras leaves it at mean 0 and variance 1 unless it loads the ImageNet weights.
    """
    normalization = normalization_layer(network)
    variance = np.square(IMAGENET_STD)
    set_layer_weights(normalization, [np.array(IMAGENET_MEAN), variance, *normalization.get_weights()[2:]])


def fold_imagenet_rescaling(network: keras.Model) -> None:
    """Puts into the variance of EfficientNet's `Normalization` what Keras adds as a layer with ImageNet weights.

    The published files hold the standard deviation where the layer wants its square, and `weights="imagenet"` makes
    up for it by a `Rescaling` by 1 / sqrt(standard deviation) (https://github.com/tensorflow/tensorflow/issues/49930).
    Folded into the variance, the function is the same and the graph does not depend on the weights.
    """
    normalization = normalization_layer(network)
    mean, variance, *count = normalization.get_weights()
    set_layer_weights(normalization, [mean, variance * np.array(IMAGENET_STD, variance.dtype), *count])


def holds_standard_deviation(network: keras.Model) -> bool:
    """Tells whether EfficientNet's `Normalization` has its weights from a published file, not yet folded."""
    variance = normalization_layer(network).get_weights()[1]
    return bool(np.allclose(variance, IMAGENET_STD, atol=1e-3))


def normalization_layer(network: keras.Model) -> keras.layers.Normalization:
    """Returns the one `Normalization` layer of an EfficientNet."""
    return next(layer for layer in network.layers if isinstance(layer, keras.layers.Normalization))
