"""From a name to a network: one flat functional model that takes raw pixels and gives its last feature map."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from tlkit.backbones.applications import (
    build_network,
    builder,
    fold_imagenet_rescaling,
    holds_standard_deviation,
)
from tlkit.backbones.channels import COLOURS, adapt_channels
from tlkit.backbones.custom import is_model_file, open_model_file
from tlkit.backbones.depthwise import with_depthwise_layers
from tlkit.backbones.flatten import flatten_with_names
from tlkit.backbones.preprocessing import preprocess
from tlkit.backbones.registry import Backbone, get_backbone
from tlkit.backbones.weight_matching import LoadedWeights, fill_from_file, storage_paths
from tlkit.backbones.weights import WeightSource, find_weights
from tlkit.console import OnProgress
from tlkit.errors import InputError


@dataclass(frozen=True)
class PreparedBackbone:
    """A network ready for use, and what its user should know of how it came about.

    Attributes:
        model: Flat functional model, raw pixels in, last feature map (or ImageNet probabilities) out.
        backbone: Its facts.
        loaded: How many layers the weights file filled; None with random weights.
        notes: Lines to tell the user.
        neck: What the network itself puts between its last feature map and the classification layer, for
            `tlkit.classifier.add_head`; None where that is a global average.
    """

    model: keras.Model
    backbone: Backbone
    loaded: LoadedWeights | None = None
    notes: tuple[str, ...] = ()
    neck: Callable[[Any], Any] | None = None


def build_backbone(
    name: str | Path,
    *,
    image_size: int | None = None,
    weights: str | Path = "imagenet",
    include_top: bool = False,
    input_channels: int = 3,
    preprocessing: str | None = None,
    on_progress: OnProgress | None = None,
) -> keras.Model:
    """Builds a backbone; see `prepare_backbone`, which also tells what the weights file filled.

    Example:
        features = build_backbone("resnet50", image_size=160, weights="none")
    """
    return prepare_backbone(
        name,
        image_size=image_size,
        weights=weights,
        include_top=include_top,
        input_channels=input_channels,
        preprocessing=preprocessing,
        on_progress=on_progress,
    ).model


def prepare_backbone(
    name: str | Path,
    *,
    image_size: int | None = None,
    weights: str | Path = "imagenet",
    include_top: bool = False,
    input_channels: int = 3,
    preprocessing: str | None = None,
    on_progress: OnProgress | None = None,
) -> PreparedBackbone:
    """Builds a registered backbone, or one from a saved Keras model, with its weights.

    The model is flat. Its input is named `image` and takes float32 of shape (batch, image_size, image_size,
    input_channels) with raw values 0-255; our layers are named `preprocess_*`; the network's own layers keep their
    names. Channels other than three: see `tlkit.backbones.channels`.

    Args:
        name: Name of a registered backbone, or the path of a `.keras` file.
        image_size: Side of the square input in pixels; the backbone's own default when None.
        weights: `"imagenet"`, `"none"` for random ones, or a weights file (`.weights.h5`, `.h5`, `.keras`); left at
            its default for a saved model, which brings its own.
        include_top: Whether the output is the probabilities of the 1,000 ImageNet classes, not the feature map.
        input_channels: Channels of the input.
        preprocessing: For a `.keras` file only: the scaling of pixels that it was trained with.
        on_progress: Called with (bytes done, bytes in all) while weights are downloaded.

    Returns:
        The model with its facts, what was loaded, and notes for the user.

    Raises:
        InputError: A name is unknown, a value is out of range, or the weights cannot be had.
    """
    if is_model_file(name):
        if weights != "imagenet":
            raise InputError(f"Expected no --weights with a saved model: {name} brings its own. Received: {weights}.")
        model, backbone, notes = open_model_file(
            Path(name).expanduser(), preprocessing=preprocessing, image_size=image_size, include_top=include_top
        )
        return PreparedBackbone(adapt_channels(model, input_channels), backbone, notes=notes)
    backbone = get_backbone(str(name))
    if preprocessing not in (None, backbone.preprocessing):
        raise InputError(
            f"Expected no preprocessing with a registered backbone: {backbone.name} brings its own "
            f"({backbone.preprocessing}). Received: {preprocessing!r}."
        )
    size = backbone.default_image_size if image_size is None else image_size
    _check(backbone, size, input_channels, include_top)
    source = find_weights(backbone, weights, image_size=size, include_top=include_top, on_progress=on_progress)
    channels = input_channels if backbone.preprocessing == "grey" else COLOURS
    model, paths = _build_flat(backbone, (size, size, channels), include_top, source)
    neck = getattr(builder(backbone), "neck", None)
    if source.kind != "file":
        return PreparedBackbone(adapt_channels(with_depthwise_layers(model), input_channels), backbone, neck=neck)
    model, loaded = _fill(model, backbone, source, paths, input_channels)
    return PreparedBackbone(with_depthwise_layers(model), backbone, loaded, (loaded.sentence(),), neck)


def _check(backbone: Backbone, image_size: int, input_channels: int, include_top: bool) -> None:
    if keras.config.image_data_format() != "channels_last":
        raise InputError(
            "Expected Keras's image_data_format to be 'channels_last'. Received: 'channels_first'. "
            "Change it in keras.json or call keras.config.set_image_data_format('channels_last')."
        )
    if image_size < backbone.min_image_size:
        raise InputError(
            f"Expected an image size of at least {backbone.min_image_size} for {backbone.name}. Received: {image_size}."
        )
    if include_top and backbone.family == "VGG" and image_size != backbone.default_image_size:
        raise InputError(
            f"Expected image size {backbone.default_image_size} for {backbone.name} with its ImageNet head, whose "
            f"first layer is made for it. Received: {image_size}."
        )
    if input_channels < 1:
        raise InputError(f"Expected input_channels to be at least 1. Received: {input_channels}.")


def _build_flat(
    backbone: Backbone, input_shape: tuple[int, int, int], include_top: bool, source: WeightSource
) -> tuple[keras.Model, dict[str, str]]:
    """Builds the network, with the weights that fit the network as its own function builds it.

    Returns:
        The flat model, and the names of its layers by where Keras stores them.
    """
    image = keras.Input(input_shape, dtype="float32", name="image")
    pixels = preprocess(image, backbone.preprocessing)
    network = build_network(backbone, pixels, include_top, weights="imagenet" if source.kind == "builder" else None)
    if source.kind == "published" and source.path is not None:
        _load_published(network, backbone, source.path)
    flat, names = flatten_with_names(keras.Model(image, network.outputs[0], name=backbone.model_name))
    return flat, {path: names.get(name, name) for path, name in storage_paths(network).items()}


def _load_published(network: keras.Model, backbone: Backbone, path: Path) -> None:
    """Loads a file of Keras Applications the way Keras does: by order, into the network as Keras builds it."""
    try:
        network.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise InputError(
            f"Expected the ImageNet weights of {backbone.name}. Received: {path}, which does not hold them. "
            "Delete it, so that it is downloaded again."
        ) from error
    if backbone.family == "EfficientNet":
        fold_imagenet_rescaling(network)


def _fill(
    model: keras.Model, backbone: Backbone, source: WeightSource, paths: dict[str, str], input_channels: int
) -> tuple[keras.Model, LoadedWeights]:
    """Fills the model from the user's file: of Keras's layers or of ours, for colour images or `input_channels`."""
    assert source.path is not None  # As `find_weights` promises for files.
    try:
        loaded = fill_from_file(model, source.path, paths)
    except InputError as error:
        ours = with_depthwise_layers(model)
        for other in (adapt_channels(model, input_channels), ours, adapt_channels(ours, input_channels)):
            if other is model:
                continue
            with contextlib.suppress(InputError):
                return other, fill_from_file(other, source.path, paths)
        raise error from None
    if backbone.family == "EfficientNet" and holds_standard_deviation(model):
        fold_imagenet_rescaling(model)
    return adapt_channels(model, input_channels), loaded
