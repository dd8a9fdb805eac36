"""MixUp and CutMix: each picture is mixed with its neighbour in the batch, and so are their labels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.special import betaincinv

from tlkit.augment.erasing import rectangle
from tlkit.augment.layer import SERIALISED, Augmentation, require_share
from tlkit.errors import InputError

QUANTILES = 1024  # Of the Beta distribution: weights are drawn to this fineness.
LARGEST_ALPHA = 10.0


class Mix(Augmentation):
    """What both mixes share: whole numbers as labels, a partner, and a weight for each picture.

    The data are a dict of `images` and `labels`: labels int (n,), or shares of the classes, float (n, classes). The
    labels that come out are shares of the classes, float32 (n, classes), that sum to one, for a categorical loss;
    where nothing is mixed they are one-hot. The partner is the picture before in the batch, the order being random.

    Args:
        num_classes: How many classes there are, at least two.
        alpha: Both parameters of the Beta distribution of the weights, above 0 to 10.
        share: Share of the pictures that are mixed, 0 to 1.
        seed: Of the draws.
        **kwargs: As for every Keras layer.

    Raises:
        InputError: A value is out of range, or there are no labels, or they are no classes.
    """

    num_draws = 4

    def __init__(
        self, num_classes: int, alpha: float = 0.2, share: float = 1.0, seed: int | None = None, **kwargs: Any
    ):
        super().__init__(seed, **kwargs)
        if num_classes < 2:
            raise InputError(
                f"Expected at least two classes to mix pictures of. Received: {num_classes}. Leave "
                f"{type(self).__name__} out."
            )
        if not 0 < alpha <= LARGEST_ALPHA:
            raise InputError(f"Expected alpha greater than 0 up to {LARGEST_ALPHA:g}. Received: {alpha:g}.")
        self.num_classes, self.alpha = num_classes, float(alpha)
        self.share = require_share("share", share)
        self.quantiles = betaincinv(alpha, alpha, (np.arange(QUANTILES) + 0.5) / QUANTILES).astype("float32")

    def mix(self, images: Any, other: Any, kept: Any, draws: Any) -> tuple[Any, Any]:
        """Mixes pictures with others.

        Args:
            images: float32 (n, height, width, channels).
            other: The partner of each.
            kept: How much of each is to be kept, float32 (n,), 0 to 1.
            draws: float32 (n, num_draws); the first two have decided on `kept`.

        Returns:
            The mixed pictures, and how much of each was kept in truth.
        """
        raise NotImplementedError

    def transform(self, images: Any, draws: Any) -> Any:
        raise InputError(f"Expected a dict of images and labels for {type(self).__name__}. Received: images alone.")

    def transform_batch(self, data: dict[str, Any], draws: Any) -> dict[str, Any]:
        """Mixes a batch as the draws tell; `data` and what comes back are dicts of `images` and `labels`."""
        images = ops.cast(data["images"], self.compute_dtype)
        labels = self._shares(data["labels"])
        drawn = ops.take(ops.convert_to_tensor(self.quantiles), ops.cast(draws[:, 1] * QUANTILES, "int32"), axis=0)
        kept = ops.where(draws[:, 0] < self.share, drawn, 1.0)
        mixed, kept = self.mix(images, ops.roll(images, 1, axis=0), kept, draws)
        weight = ops.expand_dims(kept, -1)
        return {**data, "images": mixed, "labels": weight * labels + (1 - weight) * ops.roll(labels, 1, axis=0)}

    def call(self, data: Any, training: bool = False) -> Any:
        if not isinstance(data, dict) or "labels" not in data:
            raise InputError(f"Expected a dict of images and labels for {type(self).__name__}. Received: no labels.")
        if len(data["images"].shape) != 4:
            raise InputError(f"Expected a batch of pictures to mix. Received: shape {tuple(data['images'].shape)}.")
        if training:
            return self.transform_batch(data, self.draw(ops.shape(data["images"])[0]))
        return {
            **data,
            "images": ops.cast(data["images"], self.compute_dtype),
            "labels": self._shares(data["labels"]),
        }

    def compute_output_shape(self, input_shape: Any) -> Any:
        return {**input_shape, "labels": (input_shape["images"][0], self.num_classes)}

    def _shares(self, labels: Any) -> Any:
        """Returns labels as shares of the classes, float32 (n, classes)."""
        if len(labels.shape) == 2 and labels.shape[1] == self.num_classes:
            return ops.cast(labels, "float32")
        if len(labels.shape) != 1:
            raise InputError(
                f"Expected labels (n,) or (n, {self.num_classes}) to mix. Received: shape {tuple(labels.shape)}."
            )
        _check_range(labels, self.num_classes)
        return ops.one_hot(ops.cast(labels, "int32"), self.num_classes, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes, "alpha": self.alpha, "share": self.share}


def _check_range(labels: Any, num_classes: int) -> None:
    """Raises InputError for labels that are no class; within a graph their values are not known."""
    try:
        known = np.asarray(labels)
    except (NotImplementedError, TypeError, ValueError):
        return
    if known.size and not 0 <= known.min() <= known.max() < num_classes:
        raise InputError(
            f"Expected labels from 0 to {num_classes - 1} to mix. Received: {known.min()} to {known.max()}."
        )


@keras.saving.register_keras_serializable(SERIALISED)
class MixUp(Mix):
    """Blends each picture with another, and their labels: Zhang et al., "mixup" (2018).

    Keras's layer of this name takes labels as one-hot vectors only.
    """

    def mix(self, images: Any, other: Any, kept: Any, draws: Any) -> tuple[Any, Any]:
        weight = ops.reshape(kept, (-1, 1, 1, 1))
        return other + weight * (images - other), kept


@keras.saving.register_keras_serializable(SERIALISED)
class CutMix(Mix):
    """Pastes a rectangle of another picture into each, and mixes the labels by area: Yun et al., "CutMix" (2019).

    Keras's layer of this name takes labels as one-hot vectors only.
    """

    def __init__(
        self, num_classes: int, alpha: float = 1.0, share: float = 1.0, seed: int | None = None, **kwargs: Any
    ):
        super().__init__(num_classes, alpha, share, seed, **kwargs)

    def mix(self, images: Any, other: Any, kept: Any, draws: Any) -> tuple[Any, Any]:
        size = (images.shape[1], images.shape[2])
        side = ops.sqrt(1.0 - kept)
        pasted = rectangle((draws[:, 2], draws[:, 3]), [side * length for length in size], size)
        mixed = ops.where(ops.expand_dims(pasted, -1), other, images)
        return mixed, 1.0 - ops.mean(ops.cast(pasted, "float32"), axis=(1, 2))
