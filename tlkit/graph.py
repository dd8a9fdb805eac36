"""A functional model as a graph: where it can be cut, how it is cut, what of it trains."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from tlkit.errors import InputError, unknown_name

FEATURES = "pooled_features"  # What our own classifiers call the layer that the head reads.
POOLING_LAYERS = (
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalMaxPooling3D,
    keras.layers.Flatten,
)


@dataclass(frozen=True)
class Counts:
    """How many layers hold weights and how many parameters there are, in all and trainable."""

    layers: int
    trainable_layers: int
    parameters: int
    trainable_parameters: int


def trainable_counts(model: keras.Model) -> Counts:
    """Counts the layers with weights and the parameters of `model`, and those that train."""
    weighted = [layer for layer in model.layers if layer.weights]
    return Counts(
        layers=len(weighted),
        trainable_layers=sum(bool(layer.trainable_weights) for layer in weighted),
        parameters=_size(model.weights),
        trainable_parameters=_size(model.trainable_weights),
    )


def _size(weights: list) -> int:
    return sum(int(keras.ops.size(weight)) for weight in weights)


def require_functional(model: keras.Model) -> None:
    """Raises InputError where `model` is not a functional model with one input and one output."""
    if not isinstance(model, keras.models.Sequential) and not hasattr(model, "_nodes"):
        raise InputError(
            "Expected a functional or Sequential keras.Model, whose layers can be told apart. "
            f"Received: {type(model).__name__}, a subclassed model. Build it with keras.Model(inputs, outputs)."
        )
    if isinstance(model, keras.models.Sequential) and not model.built:
        raise InputError(
            f"Expected a model that knows its input. Received: {model.name}, which is not built. Begin it with "
            "keras.Input(shape)."
        )
    for kind, tensors in (("input", model.inputs), ("output", model.outputs)):
        if len(tensors) != 1:
            raise InputError(f"Expected a model with one {kind}. Received: {model.name} with {len(tensors)} {kind}s.")


def as_functional(model: keras.Model) -> keras.Model:
    """Returns a Sequential model as a functional one of the same layers; a functional one as it is.

    Raises:
        InputError: It is neither, or has not one input and one output.
    """
    require_functional(model)
    if not isinstance(model, keras.models.Sequential):
        return model
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)


def cut_points(model: keras.Model) -> list[str]:
    """Names the layers whose single output is all that the rest of the model needs.

    The model can be split exactly after each of them. Order is that of computation.
    """
    operations = model.operations  # Layers, and bare operations such as the sum of `x + y`.
    position = {id(operation): index for index, operation in enumerate(operations)}
    last_use = dict(position)  # The index of the last operation that reads an output.
    for index, operation in enumerate(operations):
        for source in _sources(operation, position):
            last_use[id(source)] = max(last_use[id(source)], index)
    cuts = []
    furthest = 0  # The last use of anything computed before the operation at hand.
    for index, operation in enumerate(operations[:-1]):
        single = isinstance(operation, keras.Layer) and isinstance(operation.output, keras.KerasTensor)
        if furthest <= index and single and index > 0:
            cuts.append(operation.name)
        furthest = max(furthest, last_use[id(operation)])
    return cuts


def _sources(operation: keras.Operation, known: dict[int, int]) -> list[keras.Operation]:
    """Returns the operations of this model that `operation` reads from."""
    sources = []
    for node in operation._inbound_nodes:
        for tensor in node.input_tensors:
            source = tensor._keras_history.operation
            if id(source) in known and known[id(source)] < known[id(operation)]:
                sources.append(source)
    return sources


def feature_layer(model: keras.Model) -> str:
    """Names the layer whose output the head reads: the last global pooling or flattening.

    Raises:
        InputError: The model has no such layer.
    """
    found = find_feature_layer(model)
    if found is None:
        raise InputError(
            f"Expected a model with a global pooling or Flatten layer before its head. Received: {model.name}, "
            "which has none. Add keras.layers.GlobalAveragePooling2D() before the Dense layer."
        )
    return found


def find_feature_layer(model: keras.Model) -> str | None:
    """As `feature_layer`, but None where the model has no such layer."""
    if any(layer.name == FEATURES for layer in model.layers):
        return FEATURES
    return next((layer.name for layer in reversed(model.layers) if isinstance(layer, POOLING_LAYERS)), None)


def split_model(model: keras.Model, layer_name: str) -> tuple[keras.Model, keras.Model]:
    """Splits a model after a layer into two models that share its weights.

    Args:
        model: A functional model with one input and one output.
        layer_name: A layer whose single output is all that the rest of the model needs.

    Returns:
        `(prefix, suffix)`: `suffix(prefix(x))` equals `model(x)`.

    Raises:
        InputError: There is no such layer, or the model cannot be cut there.
    """
    require_functional(model)
    names = [layer.name for layer in model.layers]
    if layer_name not in names:
        raise unknown_name("layer", layer_name, names)
    tensor = model.get_layer(layer_name).output
    prefix = keras.Model(model.inputs[0], tensor, name=f"{model.name}_prefix")
    try:
        suffix = keras.Model(tensor, model.outputs[0], name=f"{model.name}_suffix")
    except ValueError as error:
        raise InputError(
            f"Expected a layer where {model.name} can be cut in two. Received: {layer_name!r}, past which other "
            "paths run. tlkit.graph.cut_points(model) names the layers that serve."
        ) from error
    return prefix, suffix


def layers_after(model: keras.Model, layer_name: str) -> list[keras.Layer]:
    """Returns the layers of `model` that are computed after the cut at `layer_name`."""
    prefix, _ = split_model(model, layer_name)
    before = {id(layer) for layer in prefix.layers}
    return [layer for layer in model.layers if id(layer) not in before]


def head_dense(model: keras.Model) -> keras.layers.Dense:
    """Returns the Dense layer that turns features into class scores: the last one of the model.

    Raises:
        InputError: The model has no Dense layer after its features.
    """
    for layer in reversed(layers_after(model, feature_layer(model))):
        if isinstance(layer, keras.layers.Dense):
            return layer
    raise InputError(f"Expected a model that ends in a Dense layer. Received: {model.name}, whose head has none.")
