"""The model as it leaves the house: float32, with temperature and softmax in the graph."""

from __future__ import annotations

from typing import Any

import keras

from tlkit.errors import InputError
from tlkit.export.portable import in_portable_operations

FLOAT32 = "float32"


def deployable_model(model: keras.Model, temperature: float | None = None) -> keras.Model:
    """Returns a model that computes the same in float32 and in portable operations, its logits over a temperature.

    Args:
        model: Gives probabilities by a softmax.
        temperature: Above 0; None leaves the probabilities as they are.

    Raises:
        InputError: A temperature is wanted and the model does not end in a softmax.
    """
    model = in_portable_operations(in_float32(model))
    return model if temperature is None else _with_temperature(model, temperature)


def computes_in_float32(model: keras.Model) -> bool:
    """Tells whether every layer computes in float32."""
    return all(layer.compute_dtype in (FLOAT32, None) for layer in model.layers)


def in_float32(model: keras.Model) -> keras.Model:
    """Returns the model, rebuilt under the float32 policy where some layer computes in another."""
    if computes_in_float32(model):
        return model
    rebuilt = model.__class__.from_config(_float32_config(model.get_config()))
    rebuilt.set_weights(model.get_weights())
    return rebuilt


def _float32_config(config: Any) -> Any:
    if isinstance(config, list | tuple):
        return type(config)(_float32_config(value) for value in config)
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return {**config, "config": {"name": FLOAT32}}
    return {key: _float32_config(value) for key, value in config.items()}


def _with_temperature(model: keras.Model, temperature: float) -> keras.Model:
    last = model.outputs[0]._keras_history.operation
    is_softmax = isinstance(last, keras.layers.Softmax) or (
        isinstance(last, keras.layers.Activation) and last.activation is keras.activations.softmax
    )
    if not is_softmax:
        raise InputError(
            f"Expected a model that ends in a softmax of its own, to divide its logits by a temperature. Received: "
            f"{model.name}, which ends in {type(last).__name__} {last.name!r}. Export without the temperature."
        )
    logits = keras.layers.Rescaling(1 / temperature, dtype=FLOAT32, name="temperature")(last.input)
    probabilities = keras.layers.Activation("softmax", dtype=FLOAT32, name="probabilities")(logits)
    return keras.Model(model.inputs[0], probabilities, name=model.name)
