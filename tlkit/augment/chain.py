"""A list of augmentation layers as one layer: a picture is warped once for all that moves things in a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tlkit.augment.layer import SERIALISED, Augmentation, central_crop, picture_size
from tlkit.augment.mixing import Mix
from tlkit.augment.warp import Size, compose, warp
from tlkit.errors import InputError


@keras.saving.register_keras_serializable(SERIALISED)
class Augment(Augmentation):
    """Applies layers in order, ours and Keras's own.

    Moves of ours that follow each other are multiplied and done in one warp: half the cost of two, and less blur.

    Args:
        layers: Augmentation layers, ours or Keras's.
        seed: Of the draws of our layers, which take theirs from here; Keras's own have seeds of their own.
        **kwargs: As for every Keras layer.
    """

    def __init__(self, layers: Sequence[keras.layers.Layer], seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        self.layers = [_layer_of(one) for one in layers]
        self.num_draws = sum(layer.num_draws for layer in self.layers if isinstance(layer, Augmentation))

    @property
    def mixes(self) -> bool:
        """Whether labels come out as shares of the classes."""
        return any(isinstance(layer, Mix | keras.layers.MixUp | keras.layers.CutMix) for layer in self.layers)

    def output_size(self, size: Size) -> Size:
        for layer in self.layers:
            if isinstance(layer, Augmentation):
                size = layer.output_size(size)
            else:
                size = picture_size(layer.compute_output_shape((1, *size, 3)))
        return size

    def transform(self, images: Any, draws: Any) -> Any:
        return self.transform_batch({"images": images}, draws)["images"]

    def transform_batch(self, data: dict[str, Any], draws: Any) -> dict[str, Any]:
        """Changes a batch as the draws tell.

        Args:
            data: `images`, and `labels` where a layer mixes.
            draws: float32 (n, num_draws), from 0 to 1.
        """
        waiting = _Moves(picture_size(data["images"].shape))
        start = 0
        for layer in self.layers:
            if not isinstance(layer, Augmentation):
                data = waiting.done_on(data)
                data = _keras_layer(layer, data)
                waiting = _Moves(picture_size(data["images"].shape))
                continue
            mine, start = draws[:, start : start + layer.num_draws], start + layer.num_draws
            if layer.moves:
                waiting.add(layer, mine)
            if isinstance(layer, Mix | Augment):
                data = layer.transform_batch(waiting.done_on(data), mine)
                waiting = _Moves(picture_size(data["images"].shape))
            elif type(layer).values is not Augmentation.values:
                data = waiting.done_on(data)
                data["images"] = layer.values(data["images"], mine)
        return waiting.done_on(data)

    def call(self, data: Any, training: bool = False) -> Any:
        if not isinstance(data, dict):
            return super().call(data, training)
        if training:
            return self.transform_batch(data, self.draw(ops.shape(data["images"])[0]))
        images = ops.cast(data["images"], self.compute_dtype)
        data = {**data, "images": central_crop(images, self.output_size(picture_size(images.shape)))}
        for layer in self.layers:
            data = layer(data, training=False) if isinstance(layer, Mix) else data
        return data

    def compute_output_shape(self, input_shape: Any) -> Any:
        if not isinstance(input_shape, dict):
            return super().compute_output_shape(input_shape)
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def reseed(self, seed: int, step: int) -> None:
        """Sets the seeds of Keras's own layers, so that a batch can be had again."""
        for number, variable in enumerate(self.non_trainable_variables):
            if variable.path.endswith("seed_generator_state"):
                variable.assign([seed, step * len(self.non_trainable_variables) + number])

    def __repr__(self) -> str:
        return f"Augment({self.layers!r})"

    def get_config(self) -> dict[str, Any]:
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return {**super().get_config(), "layers": layers}


def _layer_of(one: Any) -> keras.layers.Layer:
    """Returns a layer, made anew where it comes as Keras writes it down."""
    try:
        layer = keras.saving.deserialize_keras_object(one) if isinstance(one, dict) else one
    except (TypeError, ValueError) as error:
        named = one.get("class_name", one)
        raise InputError(f"Expected a layer that Keras or tlkit knows. Received: {named!r}.") from error
    if not isinstance(layer, keras.layers.Layer):
        raise InputError(f"Expected Keras layers, such as preset('standard') gives. Received: {layer!r}.")
    return layer


class _Moves:
    """Moves that were asked for and not yet done."""

    def __init__(self, size: Size):
        self.size = size
        self.matrices: Any = None
        self.straight = True

    def add(self, layer: Augmentation, draws: Any) -> None:
        """Puts the move of a layer behind those before."""
        matrices = layer.places(draws, self.size)
        self.matrices = matrices if self.matrices is None else compose(self.matrices, matrices)
        self.size, self.straight = layer.output_size(self.size), self.straight and layer.straight

    def done_on(self, data: dict[str, Any]) -> dict[str, Any]:
        """Does them all in one warp, if there are any, and gives pictures as float32; nothing waits afterwards."""
        if self.matrices is None:
            return {**data, "images": ops.cast(data["images"], "float32")}
        data = {**data, "images": warp(data["images"], self.matrices, self.size, self.straight)}
        self.matrices, self.straight = None, True
        return data


def _keras_layer(layer: keras.layers.Layer, data: dict[str, Any]) -> dict[str, Any]:
    """Calls one of Keras's own layers; only those that mix get the labels, for not all of them take a dict."""
    if isinstance(layer, keras.layers.MixUp | keras.layers.CutMix):
        changed = layer(dict(data), training=True)
    else:
        changed = {**data, "images": layer(data["images"], training=True)}
    return {**changed, "images": ops.clip(ops.cast(changed["images"], "float32"), 0.0, 255.0)}
