"""From a backbone to a classifier: one flat functional model, raw pixels in, probabilities out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from tlkit.backbones.build import prepare_backbone
from tlkit.console import OnProgress
from tlkit.errors import InputError, unknown_name

POOLING = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
POOLINGS = (*POOLING, "both")
ACTIVATIONS = ("softmax", "sigmoid")


def build_classifier(
    backbone: str | Path,
    num_classes: int,
    *,
    image_size: int | None = None,
    weights: str | Path = "imagenet",
    pooling: str | None = None,
    dropout: float = 0.0,
    hidden_units: int | None = None,
    classifier_activation: str | None = "softmax",
    input_channels: int = 3,
    preprocessing: str | None = None,
    on_progress: OnProgress | None = None,
) -> keras.Model:
    """Builds a classifier on a backbone, ready for `fine_tune` or for a loop of your own.

    The graph is flat. It takes float32 images of shape `(batch, image_size, image_size, input_channels)` with raw
    values 0-255 (the preprocessing the backbone was trained with is part of the graph) and gives float32 of shape
    `(batch, num_classes)`. Our layers are named `image`, `preprocess_*`, and those of `add_head`.

    Args:
        backbone: Name of a registered backbone, such as `"resnet50"` or `"scratch:lenet5"` (`tlkit.list_backbones()`),
            or a `.keras` file.
        num_classes: Number of classes, at least 2 (or 1 with `classifier_activation="sigmoid"`).
        image_size: Side of the square input in pixels; the backbone's own default when None.
        weights: `"imagenet"`, `"none"` for random ones, or a weights file (.weights.h5, .h5, .keras); random ones in
            any case for networks that are trained from scratch.
        pooling: See `add_head`.
        dropout: See `add_head`.
        hidden_units: See `add_head`.
        classifier_activation: See `add_head`.
        input_channels: Channels of the input.
        preprocessing: For a `.keras` file only: the scaling of pixels that it was trained with.
        on_progress: Called with (bytes done, bytes in all) while weights are downloaded.

    Returns:
        A `keras.Model` that loads with `keras.models.load_model` where tlkit is not installed.

    Raises:
        InputError: A name is unknown, a value out of range, or the weights cannot be had.
    """
    _check(num_classes, pooling, dropout, classifier_activation)
    prepared = prepare_backbone(
        backbone,
        image_size=image_size,
        weights=weights,
        input_channels=input_channels,
        preprocessing=preprocessing,
        on_progress=on_progress,
    )
    return add_head(
        prepared.model,
        num_classes,
        pooling=pooling,
        neck=prepared.neck,
        dropout=dropout,
        hidden_units=hidden_units,
        classifier_activation=classifier_activation,
    )


def add_head(
    base: keras.Model,
    num_classes: int,
    *,
    pooling: str | None = None,
    dropout: float = 0.0,
    hidden_units: int | None = None,
    classifier_activation: str | None = "softmax",
    neck: Callable[[Any], Any] | None = None,
) -> keras.Model:
    """Puts a classification head on a model whose output is a feature map of shape (batch, height, width, channels).

    Its layers are named `pooled_features`, `head_dropout`, `head_hidden`, `head` (the logits) and `probabilities`, and
    are float32 from the features on, whatever the dtype policy. `head` starts at zero, so that the first loss is
    `ln(num_classes)` exactly and no first step goes in a random direction.

    Args:
        base: The backbone, as `build_backbone` gives it.
        num_classes: Number of classes, at least 2 (or 1 with `classifier_activation="sigmoid"`).
        pooling: `"avg"`, `"max"`, or `"both"` (the two side by side) over the last feature map; None for the neck, or
            `"avg"` without one.
        dropout: Share of the pooled features dropped in training, 0 up to (not including) 1.
        hidden_units: Width of one hidden ReLU layer in the head; none when None.
        classifier_activation: `"softmax"`, `"sigmoid"`, or None for logits.
        neck: What a network of `tlkit.models` itself has between its last feature map and the classification layer.

    Raises:
        InputError: A value is out of range.
    """
    _check(num_classes, pooling, dropout, classifier_activation)
    x = neck(base.output) if neck and pooling is None else _pool(base.output, pooling or "avg")
    if dropout:
        x = keras.layers.Dropout(dropout, dtype="float32", name="head_dropout")(x)
    if hidden_units:
        x = keras.layers.Dense(hidden_units, activation="relu", dtype="float32", name="head_hidden")(x)
    x = keras.layers.Dense(num_classes, kernel_initializer="zeros", dtype="float32", name="head")(x)
    if classifier_activation is not None:
        x = keras.layers.Activation(classifier_activation, dtype="float32", name="probabilities")(x)
    return keras.Model(base.input, x, name=f"{base.name}_classifier")


def _pool(features: keras.KerasTensor, pooling: str) -> keras.KerasTensor:
    if pooling != "both":
        return POOLING[pooling](name="pooled_features")(features)
    pooled = [POOLING[kind](name=f"pooled_{kind}")(features) for kind in ("avg", "max")]
    return keras.layers.Concatenate(name="pooled_features")(pooled)


def _check(num_classes: int, pooling: str | None, dropout: float, activation: str | None) -> None:
    smallest = 1 if activation == "sigmoid" else 2
    if num_classes < smallest:
        raise InputError(f"Expected num_classes to be at least {smallest}. Received: {num_classes}.")
    if pooling is not None and pooling not in POOLINGS:
        raise unknown_name("pooling", pooling, POOLINGS)
    if not 0 <= dropout < 1:
        raise InputError(f"Expected dropout to be at least 0 and less than 1. Received: {dropout}.")
    if activation is not None and activation not in ACTIVATIONS:
        raise unknown_name("classifier_activation", activation, (*ACTIVATIONS, "None"))
