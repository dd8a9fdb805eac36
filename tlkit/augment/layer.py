"""What all augmentation layers share: when they act, and where their chance comes from."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tlkit.augment.warp import Size, warp
from tlkit.errors import InputError

SERIALISED = "tlkit"  # Package name under which Keras saves and finds the layers.


class Augmentation(keras.layers.Layer):
    """A layer that changes pictures by chance while a model trains, and hands them on as they are otherwise.

    It takes pictures, uint8 or float (n, height, width, channels) or one of them without the first axis, from 0 to
    255, and gives float32 in the same range. Like Keras's own layers it also takes a dict of `images` and `labels`.
    It acts where `training=True`, which `fit` sets and `evaluate` and `predict` do not.

    What happens to a picture follows from `num_draws` numbers from 0 to 1. Called as a layer it draws them from its
    seed; `transform` takes them from the caller, who can so give each picture the same chance whatever its batch.

    A subclass says where it moves things (`places`), how it changes colours (`values`), or both, in that order. Moves
    of several layers are one matrix: `Augment` warps a picture once for all of them.

    Args:
        seed: Of the draws; chosen by chance when None.
        **kwargs: As for every Keras layer; `dtype` is float32 whatever the global policy, for 16 bits cannot tell
            places apart.
    """

    num_draws = 0
    moves = False  # Whether `places` is to be asked.
    straight = False  # Whether moves keep rows and columns as they are: such a warp is faster.

    def __init__(self, seed: int | None = None, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)
        self.built = True  # Nothing to make.

    def output_size(self, size: Size) -> Size:
        """Returns height and width of what comes out for pictures of `size`.

        Raises:
            InputError: The layer cannot work on pictures of that size.
        """
        return size

    def places(self, draws: Any, size: Size) -> Any:
        """Returns where in a picture lies what is seen afterwards, as `warp` takes it: float32 (n, 2, 3)."""
        raise NotImplementedError

    def values(self, images: Any, draws: Any) -> Any:
        """Returns pictures with other colours, float32 (n, height, width, channels) from 0 to 255."""
        return images

    def transform(self, images: Any, draws: Any) -> Any:
        """Changes pictures as the draws tell.

        Args:
            images: (n, height, width, channels), from 0 to 255.
            draws: float32 (n, num_draws), from 0 to 1.
        """
        size = picture_size(images.shape)
        if self.moves:
            images = warp(images, self.places(draws, size), self.output_size(size), self.straight)
        return self.values(ops.cast(images, self.compute_dtype), draws)

    def call(self, data: Any, training: bool = False) -> Any:
        """Changes pictures by chance where `training`; else they come back the same, cut to size where need be."""
        if isinstance(data, dict):
            return {**data, "images": self.call(data["images"], training)}
        if len(data.shape) == 3:
            return ops.squeeze(self.call(ops.expand_dims(data, 0), training), 0)
        images = ops.convert_to_tensor(data)
        if not training:
            return ops.cast(central_crop(images, self.output_size(picture_size(images.shape))), self.compute_dtype)
        return self.transform(images, self.draw(ops.shape(images)[0]))

    def draw(self, count: Any) -> Any:
        """Returns the next draws of the layer's seed, float32 (count, num_draws)."""
        return keras.random.uniform((count, self.num_draws), dtype="float32", seed=self.generator)

    def compute_output_shape(self, input_shape: Any) -> Any:
        if isinstance(input_shape, dict):
            return {**input_shape, "images": self.compute_output_shape(input_shape["images"])}
        return (*input_shape[:-3], *self.output_size(picture_size(input_shape)), input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}

    def __repr__(self) -> str:
        """Such as `RandomView(size=224, flip=True)`: what was asked for, so that a list of layers can be read."""
        base = keras.layers.Layer.get_config(self)
        told = {name: value for name, value in self.get_config().items() if name not in base and value is not None}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in told.items())})"


def picture_size(shape: Any) -> Size:
    """Returns height and width of pictures.

    Raises:
        InputError: They are not known, or there is no such axis.
    """
    if len(shape) not in (3, 4) or shape[-3] is None or shape[-2] is None:
        raise InputError(f"Expected pictures (n, height, width, channels) of one known size. Received: {tuple(shape)}.")
    return int(shape[-3]), int(shape[-2])


def central_crop(images: Any, size: Size) -> Any:
    """Cuts the middle out of pictures (n, height, width, channels), as evaluation does."""
    height, width = picture_size(images.shape)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return images[:, top : top + size[0], left : left + size[1]]


def between(draws: Any, low: float, high: float) -> Any:
    """Spreads draws from 0 to 1 over a range."""
    return low + draws * (high - low)


def require_share(name: str, value: float, most: float = 1.0) -> float:
    """Returns a number from 0 to `most`, or raises InputError."""
    if not 0 <= value <= most:
        raise InputError(f"Expected {name} from 0 to {most:g}. Received: {value:g}.")
    return float(value)


def require_range(name: str, values: Any, low: float, high: float) -> tuple[float, float]:
    """Returns two rising numbers within bounds, or raises InputError."""
    pair = tuple(float(value) for value in values)
    if len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
        raise InputError(f"Expected {name} as two rising numbers from {low:g} to {high:g}. Received: {values}.")
    return pair[0], pair[1]
