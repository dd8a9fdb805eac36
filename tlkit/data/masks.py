"""Pictures of a set of TensorFlow Datasets with the class of each of their pixels, as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tlkit.data.tfds import examples, open_builder
from tlkit.errors import InputError

Masked = tuple[np.ndarray, np.ndarray]


def masks_from_tfds(name: str, image_size: int, *, data_dir: str | Path | None = None) -> dict[str, Masked]:
    """Reads a set whose examples have a picture and a mask, such as `oxford_iiit_pet`.

    Args:
        name: Of the set: `NAME[/CONFIG][:VERSION]`, or the folder of a prepared builder.
        image_size: Side of the squares that pictures (bilinear) and masks (nearest) are squashed to, in pixels.
        data_dir: Where sets are kept; TFDS's own default where None.

    Returns:
        By split: pictures uint8 (n, image_size, image_size, 3) and classes int64 (n, image_size, image_size), which
        count from 0 whatever the set's own smallest value is.

    Raises:
        InputError: There is no such set, it cannot be had, or it has no masks.
    """
    builder, split = open_builder(name, data_dir)
    kinds = {feature: type(kind).__name__ for feature, kind in builder.info.features.items()}
    images = [feature for feature, kind in kinds.items() if kind == "Image"]
    masks = [feature for feature in images if "mask" in feature]
    pictures = [feature for feature in images if feature not in masks]
    if not masks or not pictures:
        raise InputError(f"Expected pictures with masks in tfds:{name}. Received: features {kinds}.")
    found = {}
    for part in [split] if split else list(builder.info.splits):
        pairs = [_squashed(one[pictures[0]], one[masks[0]], image_size) for one in examples(builder, part)]
        found[part] = [np.stack(side) for side in zip(*pairs, strict=True)]
    lowest = min(int(classes.min()) for _, classes in found.values())
    return {part: (shown, classes.astype(np.int64) - lowest) for part, (shown, classes) in found.items()}


def _squashed(picture: np.ndarray, mask: np.ndarray, side: int) -> Masked:
    image = Image.fromarray(picture if picture.shape[-1] == 3 else picture[..., 0]).convert("RGB")
    classes = Image.fromarray(mask[..., 0]).resize((side, side), Image.Resampling.NEAREST)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)), np.asarray(classes)
