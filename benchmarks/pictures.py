"""Pictures everyone can have, as files: Fashion-MNIST or digits at 96 px, in folders train, val and test."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist.
CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
SIDE = 96
HELD_OUT = 1000  # Pictures of each of val and test at most.
Parts = dict[str, tuple[np.ndarray, ...]]  # Pictures and labels of each part.


def read_idx(path: Path) -> np.ndarray:
    """Reads a gzipped idx file of bytes."""
    data = gzip.decompress(path.read_bytes())
    shape = [int.from_bytes(data[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(data[3])]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def fashion(num_train: int) -> Parts:
    """Fashion-MNIST: the first of its training set, and up to 1,000 of its test set for each of val and test."""
    held_out = min(HELD_OUT, num_train)
    return {
        part: tuple(
            read_idx(FASHION_MNIST / f"{source}-{kind}-ubyte.gz")[start : start + count]
            for kind in ("images-idx3", "labels-idx1")
        )
        for part, source, start, count in (
            ("train", "train", 0, num_train),
            ("val", "t10k", 0, held_out),
            ("test", "t10k", held_out, held_out),
        )
    }


def digits(num_train: int) -> Parts:
    """scikit-learn's 1,797 digits of 8 px: up to `num_train`, and half of the last 600 for each of val and test."""
    found = load_digits()
    images, labels = (found.images * 255 / 16).round().astype(np.uint8), found.target
    order = np.random.default_rng(0).permutation(len(labels))
    rows = {"train": order[: min(num_train, len(order) - 600)], "val": order[-600:-300], "test": order[-300:]}
    return {part: (images[chosen], labels[chosen]) for part, chosen in rows.items()}


SETS = {"fashion": (fashion, CLASSES), "digits": (digits, tuple("0123456789"))}


def write_pictures(folder: Path, num_train: int, name: str = "fashion") -> Path:
    """Writes `num_train` pictures of a set to train, some to each of val and test, in a folder for each class."""
    if folder.exists():
        return folder
    read, classes = SETS[name]
    for part, (images, labels) in read(num_train).items():
        for class_name in classes:
            (folder / part / class_name).mkdir(parents=True, exist_ok=True)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            picture = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR).convert("RGB")
            picture.save(folder / part / classes[label] / f"{number:05d}.jpg", quality=90)
    return folder
