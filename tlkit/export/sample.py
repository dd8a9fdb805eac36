"""Real pictures of a run, to compare exports on and to calibrate them with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tlkit import run as run_folder
from tlkit.config_files import load_config
from tlkit.data import from_spec
from tlkit.data.decode import decode
from tlkit.data.identity import digest_of
from tlkit.data.manifest import Manifest
from tlkit.data.transform import Transform
from tlkit.errors import InputError

MOST_IMAGES = 1000
"""Pictures compared, evenly spread over the part: their accuracy is known to a tenth of a percent."""


@dataclass(frozen=True)
class Sample:
    """Some pictures of one part of a run.

    Attributes:
        split: Name of the part.
        labels: True classes, int64 (n,).
        pixels: What the network sees, uint8 (n, image_size, image_size, 3).
        read: Each gives the bytes, or the array, of one picture.
        of: How many pictures the part has.
    """

    split: str
    labels: np.ndarray
    pixels: np.ndarray
    read: Sequence[Callable[[], bytes | np.ndarray]]
    of: int

    def __len__(self) -> int:
        return len(self.labels)

    def decoded(self) -> Iterator[np.ndarray]:
        """Yields each picture upright at its own size, float32 (1, height, width, 3), values 0 to 255."""
        for read in self.read:
            yield np.asarray(decode(read()).image.convert("RGB"), np.float32)[None]


def open_manifest(folder: Path) -> Manifest:
    """Returns a run's manifest with its source of pictures.

    Raises:
        InputError: The data that the run was made from is not there any more.
    """
    data = load_config(folder / run_folder.CONFIG).data.data
    try:
        source = from_spec(data, min_images=0).source
    except InputError as error:
        raise InputError(f"Expected the pictures of the run, to compare the exports on. {error}") from error
    return Manifest.read_csv(folder / run_folder.MANIFEST, source, run_folder.read_labels(folder))


def read_sample(manifest: Manifest, split: str, transform: Transform, most: int = MOST_IMAGES) -> Sample:
    """Reads at most so many pictures of a part, evenly spread over it; those that have changed since are left out.

    Raises:
        InputError: Not one picture of the part is there as it was.
    """
    rows = manifest.indices(split)
    chosen = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)] if len(rows) else rows
    items, digests = manifest.items["item"], manifest.items["digest"]
    kept, pixels, reads = [], [], []
    for row in chosen:
        read = partial(manifest.source.read, items[row])
        try:
            data = read()
            if digest_of(data) != digests[row]:
                continue
            pixels.append(transform(data))
        except (OSError, InputError):
            continue
        kept.append(row)
        reads.append(read)
    if not kept:
        raise InputError(
            f"Expected the run's {split} pictures in {manifest.source.name}, as they were. Received: none of "
            f"{len(rows):,}. Put them back where config.toml says."
        )
    return Sample(split, manifest.labels()[kept], np.stack(pixels), reads, len(rows))
