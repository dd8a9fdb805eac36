"""Names of networks by content: two that compute the same, bit for bit, have one name.

What an operation computes is named by its kind, its configuration, its weights and the names of what it reads, down to
the pixels. The part of a network below some cut has thus one name, wherever else that network is cut or trained, and
whatever its layers are called.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import keras
import numpy as np

from tlkit.errors import InputError


def graph_digests(model: keras.Model) -> dict[str, str]:
    """Returns what names the output of each operation of a model, weights included, by the operation's name.

    Raises:
        InputError: A layer does not tell its configuration.
    """
    digests: dict[str, str] = {}
    for operation in model.operations:  # In an order in which each comes after what it reads.
        uses = [_arguments(node, digests) for node in operation._inbound_nodes if _is_inside(node, digests)]
        digests[operation.name] = _digest(operation, list(dict.fromkeys(uses)))
    return digests


def _is_inside(node: Any, digests: dict[str, str]) -> bool:
    return all(tensor._keras_history.operation.name in digests for tensor in node.input_tensors)


def _arguments(node: Any, digests: dict[str, str]) -> str:
    """Returns what an operation was called with: other operations' outputs and constants."""

    def named(value: Any) -> str:
        if isinstance(value, keras.KerasTensor):
            return digests[value._keras_history.operation.name] + str(value._keras_history.tensor_index)
        return repr(np.asarray(value).tolist()) if hasattr(value, "shape") else repr(value)

    return repr(keras.tree.map_structure(named, (node.arguments.args, node.arguments.kwargs)))


def _digest(operation: keras.Operation, uses: list[str]) -> str:
    try:
        config = dict(operation.get_config())
    except NotImplementedError as error:
        raise InputError(
            f"Expected layers that tell their configuration. Received: {operation.name!r} of {type(operation).__name__}"
            ", which has no get_config. Add one, or switch the cache off."
        ) from error
    config.pop("name", None)
    config.pop("trainable", None)  # Frozen parts run in inference mode whatever it says.
    facts = (type(operation).__name__, uses, config)
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True, default=str).encode(), digest_size=16)
    for weight in getattr(operation, "weights", ()):
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    return digest.hexdigest()
