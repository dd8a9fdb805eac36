"""A backbone from any saved Keras model: its head is cut off, its graph made flat, its scaling made sure of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from tlkit.backbones.flatten import copy_weights, flatten, is_graph, rebuild
from tlkit.backbones.preprocessing import preprocess
from tlkit.backbones.registry import PREPROCESSING, Backbone, Stage
from tlkit.errors import InputError, unknown_name
from tlkit.graph import POOLING_LAYERS, cut_points

MODEL_FILE_SUFFIX = ".keras"
DEFAULT_IMAGE_SIZE = 224  # Where the saved model takes images of any size.


def is_model_file(name: str | Path) -> bool:
    """Tells whether what was given as a backbone is a saved model, not the name of a registered one."""
    return str(name).lower().endswith(MODEL_FILE_SUFFIX)


def open_model_file(
    path: Path, *, preprocessing: str | None = None, image_size: int | None = None, include_top: bool = False
) -> tuple[keras.Model, Backbone, tuple[str, ...]]:
    """Makes a backbone of a saved Keras model, flat or with models nested in it.

    Args:
        path: A `.keras` file.
        preprocessing: The scaling of pixels that the model was trained with, one of
            `tlkit.backbones.registry.PREPROCESSING`; needed where the model does not scale its input itself.
        image_size: Side of the square input in pixels; the saved model's own when None.
        include_top: Not supported: the head of a saved model is not ImageNet's.

    Returns:
        The flat model (raw pixels 0-255 in, last feature map out), its facts, and lines to tell the user.

    Raises:
        InputError: The file cannot be loaded safely, or the model does not fit.
    """
    if include_top:
        raise InputError(f"Expected a registered backbone for its ImageNet head. Received: {path}, a saved model.")
    loaded = load_model_file(path)
    _check_input(loaded, path)
    flat = flatten(loaded)
    features, notes = cut_head(flat, path)
    mode = choose_preprocessing(flat, preprocessing, path)
    model = _on_raw_pixels(features, mode, image_size, path)
    size, channels = model.input.shape[1], model.input.shape[-1]
    backbone = Backbone(
        name=path.stem,
        family="saved model",
        build=f"{path}:saved",
        default_image_size=size,
        min_image_size=1,
        preprocessing=mode,
        parameters=model.count_params(),
        stages=derive_stages(model),
        weights="none",
    )
    return model, backbone, (*notes, f"{path.name} takes {channels}-channel images, preprocessing: {mode}.")


def load_model_file(path: Path) -> keras.Model:
    """Loads a `.keras` file in safe mode: code stored in the file is never run.

    Raises:
        InputError: It does not exist, is damaged, holds code, or needs classes that are not there.
    """
    if not path.is_file():
        raise InputError(f"Expected a saved Keras model. Received: {path}, which does not exist or is no file.")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the archive, the configuration or a class in it raises.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"Expected a saved Keras model that loads without code of its own. Received: {path}: {reason} Save it "
            "without Lambda layers; classes of your own must be registered (keras.saving) and imported first."
        ) from error


def _check_input(model: keras.Model, path: Path) -> None:
    if not is_graph(model):
        raise InputError(
            f"Expected a functional or Sequential model. Received: {path}, a subclassed {type(model).__name__}."
        )
    if len(model.inputs) != 1:
        names = ", ".join(tensor.name for tensor in model.inputs)
        raise InputError(f"Expected a model with one input. Received: {path} with {len(model.inputs)} ({names}).")
    shape = model.inputs[0].shape
    if len(shape) != 4 or shape[-1] is None:
        raise InputError(f"Expected a model of images (batch, height, width, channels). Received: {path} with {shape}.")
    if len(model.outputs) != 1:
        raise InputError(f"Expected a model with one output. Received: {path} with {len(model.outputs)}.")


def cut_head(model: keras.Model, path: Path) -> tuple[keras.Model, tuple[str, ...]]:
    """Cuts off what follows the last feature map: from the global pooling or flattening that all must pass on.

    Pooling within squeeze-and-excite blocks is not such a place, for other paths run past it.

    Returns:
        The model up to the feature map, and a note on what was cut.
    """
    for index, layer in enumerate(model.layers):
        if isinstance(layer, POOLING_LAYERS) and _is_cut(model, layer.output):
            feature_map = layer.input
            if len(feature_map.shape) != 4:
                raise InputError(
                    f"Expected {layer.name!r} of {path} to pool a feature map (batch, height, width, channels). "
                    f"Received: {feature_map.shape}."
                )
            dropped = ", ".join(later.name for later in model.layers[index:])
            note = f"The head of {path.name} was cut off at {layer.name!r}; left out: {dropped}."
            return keras.Model(model.inputs[0], feature_map, name=model.name), (note,)
    if len(model.outputs[0].shape) == 4:
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name), ()
    raise InputError(
        f"Expected a model with a global pooling or Flatten layer, where its head begins. Received: {path}, which has "
        "none."
    )


def _is_cut(model: keras.Model, tensor: Any) -> bool:
    """Tells whether `tensor` is all that the rest of the model needs."""
    if tensor is model.outputs[0]:
        return True
    try:
        keras.Model(tensor, model.outputs[0])
    except ValueError:  # "Graph disconnected": the rest reads the input by another way too.
        return False
    return True


def choose_preprocessing(model: keras.Model, asked: str | None, path: Path) -> str:
    """Decides what is done to raw pixels before a saved model sees them; never guesses.

    Raises:
        InputError: The model does not scale its input and nobody said how, or it would be scaled twice.
    """
    if asked is not None and asked not in PREPROCESSING:
        raise unknown_name("preprocessing", asked, PREPROCESSING)
    own = own_scaling(model)
    if own is None and asked is None:
        raise InputError(
            f"Expected --preprocessing for {path}, which does not scale its input itself: one of inside (trained on "
            "raw pixels 0-255), unit (0 to 1), tf (-1 to 1), torch, caffe, lite. Received: none."
        )
    if own is not None and asked not in (None, "inside"):
        raise InputError(
            f"Expected no --preprocessing for {path}, which scales its input itself ({own}). Received: {asked!r}, "
            "which would scale twice."
        )
    return asked or "inside"


def own_scaling(model: keras.Model) -> str | None:
    """Names the layer or operation with which a model scales its input before its first layer with a kernel."""
    scaling = (keras.layers.Rescaling, keras.layers.Normalization, keras.layers.BatchNormalization)
    for operation in model.operations[1:]:
        if isinstance(operation, scaling) or not isinstance(operation, keras.Layer):
            return operation.name
        if operation.weights:
            return None
    return None


def _on_raw_pixels(model: keras.Model, mode: str, image_size: int | None, path: Path) -> keras.Model:
    """Rebuilds the model upon our own input, with the preprocessing in front."""
    _, height, width, channels = model.input.shape
    size = image_size or height or width or DEFAULT_IMAGE_SIZE
    image = keras.Input((size, size, channels), dtype="float32", name="image")
    try:
        rebuilt, pairs = rebuild(model, image=image, entry=lambda pixels: preprocess(pixels, mode))
        copy_weights(pairs)
    except ValueError as error:
        raise InputError(
            f"Expected an image size that {path} can take; it was made for {height} x {width}. Received: {size}."
        ) from error
    return rebuilt


def derive_stages(model: keras.Model) -> tuple[Stage, ...]:
    """Finds stages in a network that nobody described: each ends where the feature map is about to get smaller.

    Returns:
        Stages named `stage1`, `stage2`, ... in order; the last ends at the model's output.
    """
    cuts_by_height: dict[int | None, list[str]] = {}
    for name in cut_points(model):
        shape = model.get_layer(name).output.shape
        if len(shape) == 4 and not isinstance(model.get_layer(name), keras.layers.ZeroPadding2D):
            cuts_by_height.setdefault(shape[1], []).append(name)
    last = model.layers[-1]
    cuts_by_height.setdefault(last.output.shape[1], []).append(last.name)
    found = [
        next((name for name in reversed(names) if _is_cut(model, model.get_layer(name).output)), None)
        for names in cuts_by_height.values()
    ]
    return tuple(Stage(f"stage{number}", layer) for number, layer in enumerate(filter(None, found), start=1))
