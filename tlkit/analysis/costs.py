"""What a layer costs: parameters, arithmetic and memory, for one image at inference.

FLOPs: a multiply-add counts 2, any other operation on one value (a bias, a comparison, an exponential) counts 1. The
column of multiply-adds, which counts 1 for each, is what most papers call FLOPs or Mult-Adds (ResNet-50: 3.8 billion).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from tlkit.analysis import arithmetic, kinds
from tlkit.analysis.kinds import keras_kind
from tlkit.analysis.reach import space
from tlkit.analysis.trace import Shape, Step


@dataclass(frozen=True)
class Cost:
    """What one step costs.

    Attributes:
        parameters: Weights of the layer; 0 where an earlier step had the same layer.
        trainable_parameters: Those that training changes.
        unshared_parameters: The weights if every position of a convolution had filters of its own; None where sizes
            are not known.
        multiply_adds: Products summed up, for one image; None where it cannot be told.
        operations: FLOPs for one image, a multiply-add being 2; None where it cannot be told.
        activation_bytes: Memory of the output for one image; None where sizes are not known.
    """

    parameters: int
    trainable_parameters: int
    unshared_parameters: int | None
    multiply_adds: int | None
    operations: int | None
    activation_bytes: int | None


def step_cost(step: Step) -> Cost:
    """Returns what a step of a traced model costs."""
    layer = step.operation
    weights = [] if step.repeated else getattr(layer, "weights", [])
    parameters, outputs = _count(weights), _values(step.output_shape)
    products, others = _arithmetic(step, outputs)
    return Cost(
        parameters=parameters,
        trainable_parameters=0 if step.repeated else _count(getattr(layer, "trainable_weights", [])),
        unshared_parameters=_unshared(step, parameters),
        multiply_adds=products,
        operations=None if products is None or others is None else 2 * products + others,
        activation_bytes=None if outputs is None else outputs * bytes_of(step.dtype),
    )


def bytes_of(dtype: str) -> int:
    """Returns the bytes of one value of a type such as `"float32"`."""
    digits = "".join(sign for sign in dtype.split("_")[0] if sign.isdigit())
    return int(digits) // 8 if digits else 1


def _count(weights: list[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def _values(shape: Shape) -> int | None:
    """Returns the values of one image's tensor."""
    return None if None in shape[1:] else math.prod(shape[1:])  # type: ignore[arg-type]


def _positions(layer: Any, shape: Shape) -> int:
    return math.prod(space(layer, shape))


def _unshared(step: Step, parameters: int) -> int | None:
    if keras_kind(step.operation) not in kinds.CONVOLUTIONS:
        return parameters
    positions = space(step.operation, step.output_shape)
    return None if None in positions else arithmetic.unshared_parameters(math.prod(positions), parameters)


def _arithmetic(step: Step, outputs: int | None) -> tuple[int | None, int | None]:
    """Returns (multiply-adds, other operations)."""
    kind = keras_kind(step.operation)
    if outputs is None or any(_values(shape) is None for shape in step.input_shapes):
        return None, None
    if kind in kinds.FREE or not step.sources:
        return 0, 0
    if kind in PRODUCTS:
        return PRODUCTS[kind](step, outputs), outputs * _extras(step.operation)
    if kind in kinds.POOLING:
        return 0, outputs * math.prod(step.operation.pool_size)
    if kind in PER_INPUT_VALUE:
        return 0, PER_INPUT_VALUE[kind] * _input_values(step)
    if kind in PER_OUTPUT_VALUE:
        return 0, PER_OUTPUT_VALUE[kind] * outputs
    if kind in kinds.MERGES:
        return 0, outputs * max(len(step.input_shapes) - 1, 1)
    return None, None


def _input_values(step: Step) -> int:
    return sum(_values(shape) or 0 for shape in step.input_shapes)


def _extras(layer: Any) -> int:
    """Returns the operations on every output besides the products: bias and activation."""
    activation = getattr(layer, "activation", None)
    return int(getattr(layer, "bias", None) is not None) + int(
        activation is not None and activation is not keras.activations.linear
    )


def _convolution(step: Step, _: int) -> int:
    layer = step.operation
    return _positions(layer, step.output_shape) * math.prod(layer.kernel.shape)


def _transposed(step: Step, _: int) -> int:
    layer = step.operation
    return _positions(layer, step.input_shapes[0]) * math.prod(layer.kernel.shape)


def _separable(step: Step, _: int) -> int:
    layer = step.operation
    weights = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
    return _positions(layer, step.output_shape) * weights


def _dense(step: Step, outputs: int) -> int:
    return outputs * step.operation.kernel.shape[0]


def _einsum_dense(step: Step, _: int) -> int | None:
    layer = step.operation
    inputs, kernel = layer.equation.split("->")[0].split(",")
    if "." in layer.equation:
        return None
    sizes = dict(zip(inputs, step.input_shapes[0], strict=True)) | dict(zip(kernel, layer.kernel.shape, strict=True))
    return math.prod(size for letter, size in sizes.items() if letter != inputs[0])


def _multi_head_attention(step: Step, _: int) -> int:
    layer, shapes = step.operation, step.input_shapes
    queries, keys = math.prod(shapes[0][1:-1]), math.prod(shapes[1][1:-1])  # type: ignore[arg-type]
    tokens = {"query": queries, "key": keys, "value": keys, "attention_output": queries}
    projections = sum(
        count * math.prod(part.kernel.shape)
        for count, part in zip(
            tokens.values(), (layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense), strict=True
        )
    )
    return projections + queries * keys * layer.num_heads * (layer.key_dim + layer.value_dim)


PRODUCTS: dict[str, Callable[[Step, int], int | None]] = {
    **dict.fromkeys(kinds.DIRECT_CONVOLUTIONS, _convolution),
    **dict.fromkeys(kinds.SEPARABLE_CONVOLUTIONS, _separable),
    **dict.fromkeys(kinds.TRANSPOSED_CONVOLUTIONS, _transposed),
    "Dense": _dense,
    "EinsumDense": _einsum_dense,
    "MultiHeadAttention": _multi_head_attention,
}
# Operations for each value read: one to add or compare, and as many as the formula of a normalisation has.
PER_INPUT_VALUE: dict[str, int] = {
    **dict.fromkeys(kinds.GLOBAL_POOLING | kinds.ADAPTIVE_POOLING | kinds.REDUCTIONS, 1),
    "Softmax": 3,  # Exponential, sum, division.
    "LayerNormalization": 5,  # Mean (1), variance (2), then a multiplication and an addition.
    "GroupNormalization": 5,
    "RMSNormalization": 3,
    "UnitNormalization": 3,
}
PER_OUTPUT_VALUE: dict[str, int] = {
    **dict.fromkeys(kinds.ACTIVATIONS | kinds.UNARY_OPERATIONS, 1),
    "BatchNormalization": 2,  # At inference it is one multiplication and one addition.
    "Normalization": 2,
    "CustomScaleLayer": 2,  # Of InceptionResNetV2: x + scale * y.
    "Rescaling": 2,
    **dict.fromkeys(kinds.RESIZING, 7),  # Bilinear: four products, three additions.
}
