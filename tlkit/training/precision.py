"""Mixed precision for the time of training: the weights, the head and the saved model stay float32."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras

from tlkit.config import AUTO
from tlkit.features import has_accelerator
from tlkit.graph import POOLING_LAYERS, feature_layer, layers_after

POLICIES = {"float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}
# NVIDIA's compute capability from which tensor cores multiply in a precision.
CAPABILITIES = (("bfloat16", 8.0), ("float16", 7.0))


def resolve_precision(precision: str) -> str:
    """Returns the precision that `auto` means on this machine; others as they are."""
    if precision != AUTO:
        return precision
    if not has_accelerator():
        return "float32"
    capability = _compute_capability()
    if capability is None:  # A TPU, or a GPU of another maker: bfloat16 needs no loss scaling.
        return "bfloat16"
    return next((name for name, needed in CAPABILITIES if capability >= needed), "float32")


def _compute_capability() -> float | None:
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
        return min(float(line) for line in told.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def mixed_layers(model: keras.Model, trained: Sequence[keras.Layer]) -> list[keras.Layer]:
    """Returns the layers that may compute in low precision: those that train, without preprocessing, pooling, head."""
    head = {id(layer) for layer in layers_after(model, feature_layer(model))} | {
        id(model.get_layer(feature_layer(model)))
    }
    chosen: list[keras.Layer] = []
    for layer in trained:
        weighted = bool(chosen) or bool(layer.weights)  # What comes before the first weights scales raw pixels.
        if weighted and id(layer) not in head and not isinstance(layer, POOLING_LAYERS):
            chosen.append(layer)
    return chosen


@contextmanager
def mixed_precision(layers: Sequence[keras.Layer], precision: str) -> Iterator[None]:
    """Lets layers compute in `precision` within the block, where their own policy is float32.

    Functions compiled within keep it: compile a model anew before and after.
    """
    inner = {id(part): part for layer in layers for part in layer._flatten_layers()}
    changed = [
        (layer, layer.dtype_policy)
        for layer in inner.values()
        if precision in POLICIES and layer.compute_dtype == layer.variable_dtype == "float32"
    ]
    for layer, _ in changed:
        layer.dtype_policy = POLICIES[precision]
    try:
        yield
    finally:
        for layer, policy in changed:
            layer.dtype_policy = policy
