"""Occlusion: what the model no longer believes once a part of the image is covered. Needs no gradient.

Source: M. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks", 2014.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from tlkit.analysis.heat_maps import HeatMaps, checked_images, chosen_classes
from tlkit.console import OnProgress
from tlkit.errors import InputError
from tlkit.features import predict_in_order

WINDOWS_ACROSS = 4  # The default window covers a quarter of each side: large enough to hide what the class is told by.
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)


def occlusion(
    model: keras.Model,
    images: NDArray,
    classes: NDArray | None = None,
    *,
    window: int | None = None,
    stride: int | None = None,
    batch_size: int = 32,
    on_progress: OnProgress | None = None,
) -> HeatMaps:
    """Covers one square of an image after another and measures how far the probability of a class falls.

    A square is covered with the mean colour of its image. Each pixel's value is the mean fall of log-probability over
    the squares that cover it, or 0 where covering it makes the class more probable. It takes about 49 forward passes
    an image at the default window and stride.

    Args:
        model: Any classifier that gives probabilities or logits (n, classes), subclassed ones too.
        images: As the model takes them, (n, height, width, channels).
        classes: Class to look at for each image, int (n,); the one that the model names when None.
        window: Side of the square in pixels; a quarter of the image's shorter side when None.
        stride: Pixels from one square to the next; half a window when None.
        batch_size: Covered images at once.
        on_progress: Called with (images done, images in all).

    Returns:
        Maps of the images' own size.

    Raises:
        InputError: Window or stride do not fit the image.
    """
    images = checked_images(images)
    shorter = min(images.shape[1:3])
    window = max(shorter // WINDOWS_ACROSS, 1) if window is None else window
    stride = max(window // 2, 1) if stride is None else stride
    if not 1 <= window <= shorter or not 1 <= stride <= window:
        raise InputError(
            f"Expected a window of 1 to {shorter} pixels and a stride of 1 to the window. Received: {window}, {stride}."
        )
    whole = _log_probabilities(model, images, batch_size)
    looked_at = chosen_classes(classes, whole)
    squares = list(_squares(images.shape[1], images.shape[2], window, stride))
    maps = np.empty(images.shape[:3], np.float32)
    for index, (image, class_index) in enumerate(zip(images, looked_at, strict=True)):
        falls = (
            whole[index, class_index] - _log_probabilities(model, _covered(image, squares), batch_size)[:, class_index]
        )
        maps[index] = np.maximum(_spread(falls, squares, image.shape[:2]), 0)
        if on_progress:
            on_progress(index + 1, len(images))
    return HeatMaps("occlusion", "", looked_at, maps)


Square = tuple[slice, slice]


def _squares(height: int, width: int, window: int, stride: int) -> Iterator[Square]:
    """Yields squares that cover the image, the last of each row and column flush with its edge."""
    for top in _starts(height, window, stride):
        for left in _starts(width, window, stride):
            yield slice(top, top + window), slice(left, left + window)


def _starts(side: int, window: int, stride: int) -> list[int]:
    return sorted({*range(0, side - window, stride), side - window})


def _covered(image: NDArray, squares: Sequence[Square]) -> NDArray:
    copies = np.repeat(image[None], len(squares), axis=0)
    colour = image.mean(axis=(0, 1)).astype(image.dtype)
    for copy, square in zip(copies, squares, strict=True):
        copy[square] = colour
    return copies


def _spread(falls: NDArray, squares: Sequence[Square], shape: Sequence[int]) -> NDArray[np.float64]:
    total, count = np.zeros(tuple(shape)), np.zeros(tuple(shape))
    for fall, square in zip(falls, squares, strict=True):
        total[square] += fall
        count[square] += 1
    return total / count


def _log_probabilities(model: keras.Model, images: NDArray, batch_size: int) -> NDArray[np.float64]:
    """Returns log-probabilities (n, classes); outputs that are no probabilities are taken for logits."""
    outputs = predict_in_order(model, (images, images), batch_size)[0].astype(np.float64)
    if outputs.shape[1] == 1:  # One output, through sigmoid or not, stands for two classes.
        second = outputs if ((outputs >= 0) & (outputs <= 1)).all() else 1 / (1 + np.exp(-outputs))
        outputs = np.concatenate([1 - second, second], axis=1)
    if (outputs < 0).any() or (np.abs(outputs.sum(axis=1) - 1) > 1e-2).any():
        outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        outputs /= outputs.sum(axis=1, keepdims=True)
    return np.log(np.maximum(outputs, SMALLEST_PROBABILITY))
