"""Pictures everyone can have, as files: Fashion-MNIST at 96 px, in folders train, val and test."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from PIL import Image

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist.
CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
SIDE = 96
HELD_OUT = 1000  # Pictures of each of val and test at most.


def read_idx(path: Path) -> np.ndarray:
    """Reads a gzipped idx file of bytes."""
    data = gzip.decompress(path.read_bytes())
    shape = [int.from_bytes(data[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(data[3])]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def write_pictures(folder: Path, num_train: int) -> Path:
    """Writes `num_train` pictures to train, up to 1,000 to each of val and test, in a folder for each class."""
    if folder.exists():
        return folder
    held_out = min(HELD_OUT, num_train)
    for part, source, start, count in (
        ("train", "train", 0, num_train),
        ("val", "t10k", 0, held_out),
        ("test", "t10k", held_out, held_out),
    ):
        images = read_idx(FASHION_MNIST / f"{source}-images-idx3-ubyte.gz")[start : start + count]
        labels = read_idx(FASHION_MNIST / f"{source}-labels-idx1-ubyte.gz")[start : start + count]
        for name in CLASSES:
            (folder / part / name).mkdir(parents=True, exist_ok=True)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            picture = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR).convert("RGB")
            picture.save(folder / part / CLASSES[label] / f"{number:05d}.jpg", quality=90)
    return folder
