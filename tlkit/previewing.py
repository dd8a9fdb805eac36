"""The verb `preview`: pictures of a data set before and after augmentation, as one picture file."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkit import console, run
from tlkit.backend import start_keras
from tlkit.config import AugmentationConfig
from tlkit.errors import InputError

if TYPE_CHECKING:
    from tlkit.data.loader import ImageDataset
    from tlkit.data.manifest import Manifest

LARGEST_SHEET = 40  # Pictures or views: more of them cannot be looked at.


def preview(
    data: str,
    asked: AugmentationConfig,
    *,
    image_size: int = 224,
    pictures: int = 6,
    views: int = 7,
    seed: int = 0,
    output: Path = Path("preview.png"),
) -> None:
    """Writes a sheet of pictures before and after augmentation, and prints the layers.

    Args:
        data: What `finetune --data` takes.
        asked: The augmentation; not `auto`, which looks at features.
        image_size: Side of the pictures as a network would see them, in pixels.
        pictures: How many pictures, of as many classes as there are.
        views: How many augmented views of each.
        seed: Of the choice and of the augmentation.
        output: A file ending in .png.

    Raises:
        InputError: A value or a path cannot be used.
    """
    _check(asked, image_size, pictures, views, output)
    with console.quiet_step("Starting Keras"):
        start_keras()
        from PIL import Image

        from tlkit.augment.sheet import preview_sheet
        from tlkit.augmenting import Augmentation
    dataset = _choose(data, image_size, pictures, seed)
    layers = Augmentation(asked).layers(image_size, dataset.store.manifest.num_classes)
    buffer = io.BytesIO()
    Image.fromarray(preview_sheet(dataset, layers, views, seed=seed)).save(buffer, "PNG")
    run.write_bytes(output, buffer.getvalue())
    for layer in layers or ["No layers: pictures stay as they are."]:
        console.say(f"  {layer}")
    told = "as the first epochs would see them" if layers else "all the same"
    console.say(f"Left: as they are. Right: {views} views of each, {told}.")
    console.say(f"Written: {output}")


def _check(asked: AugmentationConfig, image_size: int, pictures: int, views: int, output: Path) -> None:
    for name, value in (("pictures", pictures), ("views", views)):
        if not 1 <= value <= LARGEST_SHEET:
            raise InputError(f"Expected {name} from 1 to {LARGEST_SHEET}. Received: {value}.")
    if image_size < 1:
        raise InputError(f"Expected an image size of at least 1 pixel. Received: {image_size}.")
    if asked.augment == "auto":
        raise InputError(
            "Expected none, light, standard or strong to preview. Received: auto, which finetune decides by looking "
            "at features; its report shows what it chose."
        )
    if output.suffix.lower() != ".png" or not output.parent.is_dir():
        raise InputError(f"Expected a file ending in .png in a folder that exists. Received: --output {output}.")


def _choose(data: str, image_size: int, pictures: int, seed: int) -> ImageDataset:
    """Opens some pictures, of as many classes as there are; no others are decoded."""
    from tlkit import data as data_sources
    from tlkit.data.loader import ImageDataset

    manifest = data_sources.from_spec(data, min_images=1)
    rows = _spread(manifest, 2 * pictures, seed)
    some = dataclasses.replace(manifest, items=manifest.items.iloc[rows].reset_index(drop=True))
    store = data_sources.open_store(some, data_sources.make_transform(image_size))
    readable = np.flatnonzero(store.ok)[:pictures]
    if not len(readable):
        raise InputError(f"Expected pictures in {data} that can be decoded. Received: none among {len(rows)}.")
    return ImageDataset(store, readable, some.labels()[readable], batch_size=len(readable))


def _spread(manifest: Manifest, count: int, seed: int) -> np.ndarray:
    """Picks rows by chance, one of each class in turn."""
    labels = manifest.labels()
    order = np.random.default_rng(seed).permutation(len(labels))
    seen = dict.fromkeys(range(manifest.num_classes), 0)
    ranks = np.empty(len(labels), np.int64)
    for row in order:
        ranks[row] = seen[labels[row]]
        seen[labels[row]] += 1
    return order[np.argsort(ranks[order], kind="stable")][:count]
