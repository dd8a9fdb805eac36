"""Makes a graph flat: no model inside a model, no bare operations where a layer will do, names that never vary."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import keras


def flatten(model: keras.Model) -> keras.Model:
    """Returns a model that computes what `model` does, as one flat graph of named layers.

    Nested Functional and Sequential models are inlined. Additions and multiplications written as `x + y` and `x * y`
    become `Add`, `Multiply` and `Rescaling` layers, so that `model.layers` is the whole graph. Names that Keras made
    up (`conv2d_95`, numbered through the whole process) become those of a fresh process (`conv2d_1`). The results are
    equal bit by bit. A model that is flat already comes back as it is; otherwise its layers and weights are copied.

    Args:
        model: A functional model with one input tensor.

    Returns:
        A functional model with the same input and output shapes, weights and `trainable` flags.
    """
    return flatten_with_names(model)[0]


def flatten_with_names(model: keras.Model) -> tuple[keras.Model, dict[str, str]]:
    """Does what `flatten` does, and tells the new name of each layer by its old one."""
    inlined = inline_nested(model)
    names = canonical_names(inlined)
    settled = all(new == old for old, new in names.items())
    if inlined is model and settled and all(_replacement(operation) is None for operation in model.operations):
        return model, names
    flat, pairs = rebuild(inlined, names=names)
    copy_weights(pairs)
    return flat, names


def inline_nested(model: keras.Model) -> keras.Model:
    """Puts the layers of nested models in the place of these models; the layers are shared with `model`."""
    if isinstance(model, keras.Sequential):
        image = _same_input(model)
        model = keras.Model(image, model.call(image), name=model.name)
    while any(is_graph(layer) for layer in model.layers):
        model = keras.models.clone_model(
            model, _like_input(model, _same_input(model)), lambda layer: layer, call_function=_call_inlined
        )
    return model


def _same_input(model: keras.Model, name: str | None = None) -> Any:
    """Makes an input like the model's; `clone_model` would call it by its tensor, not by its layer."""
    tensor = model.inputs[0]
    name = tensor._keras_history.operation.name if name is None else name
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)


def _like_input(model: keras.Model, image: Any) -> Any:
    """Puts the one input into the list or dictionary that the model has it in."""
    return keras.tree.map_structure(lambda _: image, model.input)


def is_graph(layer: keras.Layer) -> bool:
    """Tells whether a layer is itself a Functional or Sequential model."""
    return isinstance(layer, keras.Sequential) or (isinstance(layer, keras.Model) and hasattr(layer, "operations"))


def _call_inlined(layer: Any, *args: Any, **kwargs: Any) -> Any:
    # `call` runs through the nested graph on our tensors; `__call__` would make it one node again. `training=False`,
    # as the transfer-learning guide passes it, is dropped with the other arguments: Keras overrides it within `fit`.
    return layer.call(args[0]) if is_graph(layer) else layer(*args, **kwargs)


def canonical_names(model: keras.Model) -> dict[str, str]:
    """Maps each operation's name to the name that it has where the model is the first one of a process.

    Names of the form `class_name` or `class_name_7` are taken to be made up by Keras, which numbers them in the order
    of creation; they are numbered from nothing, in the same order.
    """
    automatic: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for operation in model.operations:
        stem = snake_case(type(operation).__name__)
        if match := re.fullmatch(rf"{stem}(?:_(\d+))?", operation.name):
            automatic[stem].append((int(match[1] or 0), operation.name))
    names = {operation.name: operation.name for operation in model.operations}
    for stem, numbered in automatic.items():
        for number, (_, name) in enumerate(sorted(numbered)):
            names[name] = f"{stem}_{number}" if number else stem
    return names


def snake_case(class_name: str) -> str:
    """Writes a class name as Keras does where it makes up the name of a layer: `Conv2D` -> `conv2d`."""
    spaced = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", class_name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", spaced).lower()


def _replacement(operation: Any) -> Callable[..., Any] | None:
    """Returns what to call in place of a bare operation, None where it stays."""
    if isinstance(operation, keras.Layer):
        return None
    replacements: dict[str, Callable[..., Any]] = {"Add": _add, "Multiply": _multiply, "ConvertToTensor": _pass_on}
    return replacements.get(type(operation).__name__)


def _pass_on(operation: Any, tensor: Any, *args: Any, **kwargs: Any) -> Any:
    return tensor  # Inlining leaves such conversions behind; within a graph there is nothing to convert.


def _add(operation: Any, left: Any, right: Any) -> Any:
    if isinstance(right, int | float):
        return keras.layers.Rescaling(1.0, offset=right, name=operation.name)(left)
    return keras.layers.Add(name=operation.name)([left, right]) if _same_shape(left, right) else operation(left, right)


def _multiply(operation: Any, left: Any, right: Any) -> Any:
    if isinstance(right, int | float):
        return keras.layers.Rescaling(right, name=operation.name)(left)
    if _same_shape(left, right):
        return keras.layers.Multiply(name=operation.name)([left, right])
    return operation(left, right)


def _same_shape(left: Any, right: Any) -> bool:
    return all(isinstance(tensor, keras.KerasTensor) for tensor in (left, right)) and left.shape == right.shape


def rebuild(
    model: keras.Model,
    *,
    names: Mapping[str, str] | None = None,
    image: Any = None,
    entry: Callable[[Any], Any] | None = None,
    skip: Collection[str] = (),
    substitute: Callable[[Any, dict[str, Any]], keras.Layer | None] = lambda operation, config: None,
) -> tuple[keras.Model, list[tuple[keras.Layer, keras.Layer]]]:
    """Copies a flat model, every layer new.

    Args:
        model: A functional model without nested models.
        names: New names of operations by their old ones; the others keep theirs.
        image: The input of the copy, a tensor made by `keras.Input`; one like the model's when None.
        entry: What is put between the input and the layers that read it.
        skip: Old names of operations to leave out; each must have one input.
        substitute: Given an operation and the configuration of its copy, returns another layer instead, or None.

    Returns:
        The copy, and pairs of old and new layers whose weights are still to be copied.
    """
    names = names or {}
    if image is None:
        own = model.inputs[0]._keras_history.operation.name
        image = _same_input(model, names.get(own, own))
    copies: list[tuple[keras.Layer, keras.Layer]] = []
    skipped: list[Any] = []
    entered: list[Any] = []

    def copy(operation: Any) -> Any:
        config = operation.get_config()
        config["name"] = names.get(operation.name, operation.name)
        duplicate = substitute(operation, config) or type(operation).from_config(config)
        if operation.name in skip:
            skipped.append(duplicate)
        elif isinstance(operation, keras.Layer):
            copies.append((operation, duplicate))
        return duplicate

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if entry is not None and args and args[0] is image:
            entered.append(entered[0] if entered else entry(image))
            args = (entered[0], *args[1:])
        if any(operation is left_out for left_out in skipped):
            return args[0]
        replacement = _replacement(operation)
        return operation(*args, **kwargs) if replacement is None else replacement(operation, *args, **kwargs)

    return keras.models.clone_model(model, _like_input(model, image), copy, call), copies


def copy_weights(pairs: Iterable[tuple[keras.Layer, keras.Layer]]) -> None:
    """Sets the weights of the second layer of each pair to those of the first."""
    for old, new in pairs:
        set_layer_weights(new, old.get_weights())


def set_layer_weights(layer: keras.Layer, values: list) -> None:
    """Sets a layer's weights, and what it derives from them (`Normalization` keeps tensors made from its weights)."""
    layer.set_weights(values)
    if hasattr(layer, "finalize_state"):
        layer.finalize_state()
