"""Heat maps of images: where a classifier looked, and how large such a map is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlkit.errors import InputError


@dataclass(frozen=True)
class HeatMaps:
    """How much each place of each image speaks for a class.

    Attributes:
        method: `"grad-cam"` or `"occlusion"`.
        layer: The layer whose feature map was looked at; empty for occlusion.
        classes: The class that each map is about, int64 (n,).
        maps: float32 (n, rows, columns), 0 where nothing speaks for the class; comparable within one image only.
    """

    method: str
    layer: str
    classes: NDArray[np.int64]
    maps: NDArray[np.float32]

    def resized(self, height: int, width: int) -> NDArray[np.float32]:
        """Returns the maps at the size of the image, each scaled to 0-1: float32 (n, height, width).

        A map that is zero everywhere stays so.
        """
        from PIL import Image

        large = np.empty((len(self.maps), height, width), np.float32)
        for index, small in enumerate(self.maps):
            drawn = Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)
            large[index] = np.asarray(drawn) / max(float(small.max()), np.finfo(np.float32).tiny)
        return np.clip(large, 0, 1)


def checked_images(images: NDArray) -> NDArray:
    """Returns images as an array, after making sure that they are a batch of images.

    Raises:
        InputError: They are not of shape (n, height, width, channels) with n > 0.
    """
    images = np.asarray(images)
    if images.ndim != 4 or not len(images):
        raise InputError(f"Expected images of shape (n, height, width, channels), n > 0. Received: {images.shape}.")
    return images


def chosen_classes(classes: NDArray | None, scores: NDArray) -> NDArray[np.int64]:
    """Returns the class to look at for each image: those given, else the ones that the model names.

    Args:
        classes: int (n,), or None.
        scores: (n, classes), larger for what the model believes; one column stands for the logit of the second of two.

    Raises:
        InputError: There is not one class for each image, or one is out of range.
    """
    if classes is None:
        return (scores[:, 0] > 0 if scores.shape[1] == 1 else scores.argmax(axis=1)).astype(np.int64)
    classes, num_classes = np.asarray(classes, np.int64), max(scores.shape[1], 2)
    if classes.shape != (len(scores),) or classes.min() < 0 or classes.max() >= num_classes:
        raise InputError(
            f"Expected one class from 0 to {num_classes - 1} for each of {len(scores)} images. Received: {classes}."
        )
    return classes
