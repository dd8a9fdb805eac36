"""A set by its name, as three pairs of arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tlkit import data
from tlkit.data.manifest import PARTS, Manifest
from tlkit.recipes.memory import require_memory

COPIES, COPIES_IN_GREY = 2, 5  # Bytes for each value of a picture, at most at a time; greys are means in float64.
Images = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Parts:
    """The parts of a set.

    Attributes:
        train: Pictures uint8 (n, size, size, channels), and labels int64 (n,).
        validation: Likewise.
        test: Likewise.
        class_names: In the order of the labels.
    """

    train: Images
    validation: Images
    test: Images
    class_names: tuple[str, ...]


def load_parts(spec: str, image_size: int, *, seed: int = 0, per_class: int | None = None, grey: bool = False) -> Parts:
    """Loads a set into memory, divided as it brings it or 70 : 15 : 15 by the seed.

    Args:
        spec: What `--data` takes: a folder, `builtin:digits`, `idx:FOLDER`, `tfds:cifar10`, ...
        image_size: Side of the square pictures in pixels.
        seed: Of the division, and of the choice of pictures.
        per_class: Most pictures of a class in each part; all when None.
        grey: Whether one channel will do: the mean of the colours.

    Raises:
        InputError: There is no such set, it cannot be had, or does not fit in the free memory.
    """
    manifest = data.from_spec(spec)
    if per_class is not None:
        manifest = _thinned(manifest, per_class, seed)
    manifest = manifest.split(seed=seed, honour_leaks=False)
    needed = (COPIES_IN_GREY if grey else COPIES) * 3 * image_size**2 * len(manifest)
    purpose = f"{len(manifest):,} pictures of {image_size} pixels"
    require_memory(needed, purpose, "Name a smaller set, or close other programs.")
    pairs = []
    for part in PARTS:
        dataset = data.load(manifest, part, image_size=image_size, store_scale=1.0, shuffle=False)
        pictures, labels = data.as_numpy(dataset)
        pictures = np.rint(pictures.mean(axis=-1, keepdims=True)).astype(np.uint8) if grey else pictures
        pairs.append((pictures, np.asarray(labels)))
    if per_class is not None:
        pairs = [few(pair, per_class, seed) for pair in pairs]
    train, validation, test = pairs
    return Parts(train, validation, test, manifest.class_names)


def _thinned(manifest: Manifest, per_class: int, seed: int) -> Manifest:
    """Keeps enough of a large set for three parts of so many a class, so that no more is decoded."""
    items = manifest.items.sample(frac=1, random_state=seed)
    keys = [items["label"], items["split"]]
    kept = items[items.groupby(keys).cumcount() < 8 * per_class].sort_index()
    return replace(manifest, items=kept.reset_index(drop=True))


def few(images: Images, per_class: int, seed: int = 0) -> Images:
    """Keeps at most so many pictures of each class, drawn by the seed: those of a smaller number among them.

    Args:
        images: Pictures and labels.
        per_class: Pictures of a class.
        seed: Of the draw.
    """
    pictures, labels = images
    order = np.random.default_rng(seed).permutation(len(labels))
    kept = np.sort(np.concatenate([order[labels[order] == label][:per_class] for label in np.unique(labels)]))
    return pictures[kept], labels[kept]


def repeated(images: Images, times: int) -> Images:
    """Repeats all pictures, for epochs of as many steps as a larger set has.

    Args:
        images: Pictures and labels.
        times: How often each is there.
    """
    pictures, labels = images
    return np.concatenate([pictures] * times), np.concatenate([labels] * times)
