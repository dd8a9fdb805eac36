"""A sheet of pictures before and after augmentation, so that people look before they train."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from PIL import Image

from tlkit.augment.batches import AugmentedDataset
from tlkit.data.loader import ImageDataset

GAP, WIDE_GAP = 4, 16  # Pixels of white between pictures, and between those before and after.
PAPER = 255


def preview_sheet(
    dataset: ImageDataset, layers: Sequence[keras.layers.Layer], views: int = 7, side: int = 112, seed: int = 0
) -> np.ndarray:
    """Draws a row for each picture: as it is, and as the first epochs would see it.

    Args:
        dataset: The pictures, one batch of them, with labels.
        layers: Augmentation layers.
        views: How many augmented views of each.
        side: Side of a picture on the sheet, in pixels.
        seed: Of the augmentation.

    Returns:
        uint8 (height, width, 3).
    """
    columns = [dataset.store.images(dataset.indices)]
    augmented = AugmentedDataset(dataset, layers, seed)
    for augmented.view in range(views):
        columns.append(augmented[0][0])
    drawn = [np.stack([_resized(picture, side) for picture in column]) for column in columns]
    height = len(drawn[0]) * (side + GAP) + GAP
    sheet = np.full((height, (views + 1) * (side + GAP) + WIDE_GAP, 3), PAPER, np.uint8)
    for place, column in enumerate(drawn):
        left = GAP + place * (side + GAP) + (WIDE_GAP - GAP if place else 0)
        for row, picture in enumerate(column):
            top = GAP + row * (side + GAP)
            sheet[top : top + side, left : left + side] = picture
    return sheet


def _resized(picture: np.ndarray, side: int) -> np.ndarray:
    """Brings a picture to a size; small ones keep their pixels visible."""
    way = Image.Resampling.NEAREST if len(picture) * 2 <= side else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(picture).resize((side, side), way))
