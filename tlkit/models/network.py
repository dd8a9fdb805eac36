"""The form of all networks of the zoo: the signature of keras.applications, a body, and a neck before the top."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers

from tlkit.errors import InputError, unknown_name

POOLINGS = ("avg", "max")
Shape = tuple[int | None, int | None, int]


def average(x: Any) -> Any:
    """Averages each map over all places: the neck of most networks since 2014."""
    return layers.GlobalAveragePooling2D(name="avg_pool")(x)


@dataclass(frozen=True)
class Network:
    """A network to be trained from scratch; calling it builds a flat functional `keras.Model`.

    Attributes:
        name: Name of the models that it builds.
        body: Gives the last feature map (batch, height, width, channels) of scaled pixels; or several maps of which
            `top` makes use, the last feature map last.
        neck: Gives the features that the classification layer reads of the last feature map.
        input_shape: (height, width, channels) of the images that it was published for.
        smallest: The smallest side that it takes, in pixels.
        classes: Number of classes that it was published for.
        paper: Where it is described.
        top: Gives class scores of what `body` gives, the number of classes and the activation; None for `neck` and a
            Dense layer named `predictions`.
    """

    name: str
    body: Callable[[Any], Any]
    neck: Callable[[Any], Any] = average
    input_shape: tuple[int, int, int] = (224, 224, 3)
    smallest: int = 32
    classes: int = 1000
    paper: str = ""
    top: Callable[[Any, int, Any], Any] | None = None

    def __call__(
        self,
        include_top: bool = True,
        weights: str | Path | None = None,
        input_tensor: Any = None,
        input_shape: Shape | None = None,
        pooling: str | None = None,
        classes: int | None = None,
        classifier_activation: Any = "softmax",
        name: str | None = None,
    ) -> keras.Model:
        """Builds the network, with the signature of keras.applications.

        Args:
            include_top: Whether the neck and the classification layer follow the last feature map.
            weights: None for random ones, or the path of a `.weights.h5` file of this very model.
            input_tensor: Keras tensor (batch, height, width, channels) to build upon, in place of an input of its own.
            input_shape: (height, width, channels); that of the paper when None.
            pooling: Without the top: None for the feature map, `"avg"` or `"max"` for a vector.
            classes: Number of classes of the top; that of the paper when None.
            classifier_activation: Activation of the top; None gives logits.
            name: The model's name.

        Returns:
            A model of scaled pixels: the scaling is *not* part of it.

        Raises:
            InputError: An argument has a value that is not supported.
        """
        if input_tensor is None:
            input_tensor = layers.Input(input_shape or self.input_shape)
        self._check(input_tensor.shape, weights, pooling)
        maps = self.body(input_tensor)
        if include_top:
            x = (self.top or self._dense_top)(maps, classes or self.classes, classifier_activation)
        else:
            x = maps[-1] if isinstance(maps, tuple) else maps
            if pooling is not None:
                pool = layers.GlobalAveragePooling2D if pooling == "avg" else layers.GlobalMaxPooling2D
                x = pool(name=f"{pooling}_pool")(x)
        model = keras.Model(keras.utils.get_source_inputs(input_tensor)[0], x, name=name or self.name)
        if weights is not None:
            model.load_weights(weights)
        return model

    def _dense_top(self, x: Any, classes: int, activation: Any) -> Any:
        return layers.Dense(classes, activation=activation, name="predictions")(self.neck(x))

    def _check(self, shape: tuple[int | None, ...], weights: str | Path | None, pooling: str | None) -> None:
        if keras.config.image_data_format() != "channels_last":
            raise InputError(
                f"{self.name} expects the image data format 'channels_last'. Received: 'channels_first'. "
                "Call keras.config.set_image_data_format('channels_last')."
            )
        if len(shape) != 4 or any(side is not None and side < self.smallest for side in shape[1:3]):
            raise InputError(
                f"{self.name} expects images (height, width, channels) of at least {self.smallest} pixels a side. "
                f"Received: input shape {tuple(shape[1:])}."
            )
        if pooling is not None and pooling not in POOLINGS:
            raise unknown_name("pooling", pooling, (*POOLINGS, "None"))
        if weights is not None and not Path(weights).is_file():
            raise InputError(
                f"Expected weights to be None or the path of a .weights.h5 file: {self.name} has no trained ones. "
                f"Received: weights={str(weights)!r}."
            )
