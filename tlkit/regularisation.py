"""What keeps a network from learning its training pictures by heart, put on for a phase and taken off after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from tlkit.errors import InputError


def with_stochastic_depth(model: keras.Model, rate: float) -> keras.Model:
    """Makes a twin of a network, of the same layers, whose residual branches are skipped by chance while it trains.

    Huang et al., "Deep networks with stochastic depth" (2016): the rate rises from the first block to the last, where
    it is `rate`; for each picture by itself. A branch that has such a dropout of its own, as in EfficientNet, gets this
    rate in its place. The twin shares all weights; the network itself, which is what is saved, stays as it was.

    Args:
        model: A functional model with `keras.layers.Add` where a branch meets its shortcut.
        rate: Share of the pictures for which the last branch is skipped, 0 to below 1.

    Raises:
        InputError: The rate is out of range, or there are no residual branches.
    """
    if not 0 <= rate < 1:
        raise InputError(f"Expected stochastic_depth from 0 to below 1. Received: {rate:g}.")
    branches = require_branches(model)
    drops, own = {}, {}
    for place, (name, branch) in enumerate(branches.items(), start=1):
        drop = keras.layers.Dropout(
            rate * place / len(branches), noise_shape=(None, 1, 1, 1), name=f"stochastic_depth_{place}"
        )
        source = _inputs(model.get_layer(name))[branch]._keras_history.operation
        if _drops_whole_branches(source):
            own[source.name] = drop
        else:
            drops[name] = drop

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        if getattr(layer, "name", None) not in drops:
            return own.get(getattr(layer, "name", None), layer)(*inputs, **options)
        tensors = list(inputs[0])
        branch = branches[layer.name]
        tensors[branch] = drops[layer.name](tensors[branch])
        return layer(tensors, **options)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def require_branches(model: keras.Model) -> dict[str, int]:
    """Returns which input of each residual sum is the branch, in order: the one computed in more steps.

    Raises:
        InputError: There is no residual sum.
    """
    depth: dict[int, int] = {}
    found = {}
    for operation in model.operations:
        sources = [tensor._keras_history.operation for tensor in _inputs(operation)]
        depths = [depth.get(id(source), 0) for source in sources]
        depth[id(operation)] = 1 + max(depths, default=0)
        if isinstance(operation, keras.layers.Add) and len(sources) == 2:
            branch = depths.index(max(depths))
            if len(sources[branch].output.shape) == 4:
                found[operation.name] = branch
    if not found:
        raise InputError(
            f"Expected a network with residual blocks for stochastic depth. Received: {model.name}, with none. "
            "Leave --stochastic-depth out."
        )
    return found


def _inputs(operation: Any) -> list[Any]:
    return list(operation._inbound_nodes[0].input_tensors) if operation._inbound_nodes else []


def _drops_whole_branches(operation: Any) -> bool:
    return isinstance(operation, keras.layers.Dropout) and operation.noise_shape is not None


class PullToStart(keras.regularizers.Regularizer):
    """`strength / 2 * ||w - w0||^2`: Li et al., "Explicit inductive bias for transfer learning" (2018), L2-SP.

    Args:
        strength: Of the pull.
        start: The weights that training starts from.
    """

    def __init__(self, strength: float, start: Any):
        self.strength, self.start = strength, start

    def __call__(self, weights: Any) -> Any:
        return 0.5 * self.strength * ops.sum(ops.square(weights - ops.cast(self.start, weights.dtype)))


@contextmanager
def pulled_to_start(model: keras.Model, strength: float) -> Iterator[None]:
    """Pulls all trainable weights to what they are now, for as long as this lasts; compile the model within.

    The pull is part of the training loss alone. It leaves no trace in a saved model.

    Args:
        model: Its trainable weights are pulled; biases and the scale and shift of normalisation are spared.
        strength: Of the pull; 0 pulls nothing.

    Raises:
        InputError: The strength is negative.
    """
    if not strength >= 0:
        raise InputError(f"Expected l2_sp of at least 0. Received: {strength:g}.")
    pulled = [variable for variable in model.trainable_variables if len(variable.shape) > 1] if strength else []
    kept = [variable.regularizer for variable in pulled]
    for variable in pulled:
        variable.regularizer = PullToStart(strength, ops.convert_to_numpy(variable))
    try:
        yield
    finally:
        for variable, before in zip(pulled, kept, strict=True):
            variable.regularizer = before
