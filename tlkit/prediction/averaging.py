"""Test-time augmentation: one answer from several looks at the same picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tlkit.console import OnProgress
from tlkit.errors import InputError
from tlkit.intervals import mean_replicates, percentile_interval
from tlkit.metrics import LOG_FLOOR

if TYPE_CHECKING:
    from tlkit.data.loader import ImageDataset
    from tlkit.prediction.loading import Classifier


def looks(pixels: np.ndarray, image_size: int, mirrored: bool) -> list[np.ndarray]:
    """Cuts what a network is to see out of stored pictures: the middle, the four corners, and their mirror images.

    These are the ten crops of Krizhevsky et al., "ImageNet classification with deep convolutional neural networks"
    (2012). Where the store leaves no room, the middle is all there is.

    Args:
        pixels: uint8 (n, S, S, 3), with the room that random crops have.
        image_size: Side of what the network sees, in pixels.
        mirrored: Whether mirror images keep their class.

    Returns:
        1, 2, 5 or 10 arrays, uint8 (n, image_size, image_size, 3); the first is what the network sees by itself.
    """
    room = pixels.shape[1] - image_size
    places = [(room // 2, room // 2)]
    if room:
        places += [(top, left) for top in (0, room) for left in (0, room)]
    cut = [pixels[:, top : top + image_size, left : left + image_size] for top, left in places]
    cut += [one[:, :, ::-1] for one in cut] if mirrored else []
    return [np.ascontiguousarray(one) for one in cut]


def count_looks(store_size: int, image_size: int, mirrored: bool) -> int:
    """Returns how many looks `looks` gives.

    Raises:
        InputError: There is but one.
    """
    count = (5 if store_size > image_size else 1) * (2 if mirrored else 1)
    if count == 1:
        raise InputError(
            "Expected room for more than one look at a picture. Received: a run whose pictures are stored at the size "
            "that the network sees, and whose mirror images are not known to keep their class. Leave --tta out."
        )
    return count


def predict_averaged(
    classifier: Classifier, dataset: ImageDataset, on_progress: OnProgress | None = None
) -> np.ndarray:
    """Predicts all looks at the images of a dataset, in its order.

    Returns:
        The means of the probabilities, float32 (n, classes).
    """
    from tlkit.features import predict_in_order  # Keras, which what is wanted of a prediction needs not.

    size, found = classifier.transform.image_size, []
    for index in range(len(dataset)):
        pixels = dataset.store.pixels(dataset.rows(index))
        each = [(images, None) for images in looks(pixels, size, classifier.mirrored)]
        answers = predict_in_order(classifier.model, each)[0]
        found.append(answers.reshape(len(each), len(pixels), -1).mean(axis=0, dtype="float64"))
        if on_progress:
            on_progress(index + 1, len(dataset))
    return np.concatenate(found).astype("float32")


def told_gain(labels: np.ndarray, alone: np.ndarray, together: np.ndarray, times: float) -> str:
    """Returns in a sentence what several looks gained over one, image by image, and what they cost.

    Args:
        labels: True classes, int (n,).
        alone: Probabilities of one look, (n, classes).
        together: Means over several looks, (n, classes).
        times: How often the time of one look all of them took.
    """
    right = [(one.argmax(axis=1) == labels).astype(np.float64) for one in (alone, together)]
    gain = right[1] - right[0]
    interval = percentile_interval(mean_replicates(gain[None])[0]) or (0.0, 0.0)
    losses = [-np.log(np.maximum(one[np.arange(len(labels)), labels], LOG_FLOOR)).mean() for one in (alone, together)]
    low, high = (100 * value for value in interval)
    return (
        f"Test-time augmentation changed accuracy by {100 * gain.mean():+.1f} points (95 % interval {low:+.1f} to "
        f"{high:+.1f}) and log-loss from {losses[0]:.3f} to {losses[1]:.3f}, at {times:.1f} times the time of one look."
    )
