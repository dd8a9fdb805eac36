"""Which augmentation suits the data: whether mirror images keep their class, and how far to go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np

from tlkit.augment.presets import preset
from tlkit.config import AugmentationConfig
from tlkit.probe import fit_probe

MOST_TRIED = 1000  # Images of the flip test: one standard error is then below 1.6 points.
# Share of the images that mirror images may cost. ImageNet's features hardly tell sides apart: of scikit-learn's digits
# at 64 px a head on them names 91.5 %, and 89.0 % mirrored. A flip left out costs less than one that is wrong.
TOLERATED_LOSS = 0.01
FOLDS = 2


@dataclass(frozen=True)
class FlipTest:
    """What a head says of mirror images that were left out when it was fitted.

    Attributes:
        images: How many.
        accuracy: Share right as they are, 0 to 1.
        mirrored: Share right mirrored left to right.
        standard_error: Of the difference, image by image.
    """

    images: int
    accuracy: float
    mirrored: float
    standard_error: float

    @property
    def keeps_class(self) -> bool:
        """Whether mirror images are recognised as well, up to a point."""
        return self.accuracy - self.mirrored <= TOLERATED_LOSS


@dataclass(frozen=True)
class Augmentation:
    """What was decided.

    Attributes:
        asked: The options, with the preset and the flip filled in.
        reasons: Why, one sentence each.
        flip_test: What mirror images showed; None where it was not tried.
    """

    asked: AugmentationConfig
    reasons: tuple[str, ...] = ()
    flip_test: FlipTest | None = None

    def layers(self, image_size: int, num_classes: int) -> list[keras.layers.Layer]:
        """Returns the layers, for pictures of `image_size` pixels."""
        asked = self.asked
        return preset(
            asked.augment,
            image_size,
            num_classes=num_classes,
            strength=asked.strength,
            flip=asked.flip is not False,
            mixup=asked.mixup,
            cutmix=asked.cutmix,
        )

    def to_dict(self, layers: list[keras.layers.Layer]) -> dict[str, Any]:
        """Returns what augmentation.json holds."""
        test = self.flip_test
        return {
            "preset": self.asked.augment,
            "strength": self.asked.strength,
            "flip": any(getattr(layer, "flip", False) for layer in layers),
            "layers": [repr(layer) for layer in layers],
            "reasons": list(self.reasons),
            "flip_test": test and asdict(test) | {"keeps_class": test.keeps_class},
        }


def choose_augmentation(
    asked: AugmentationConfig,
    strategy: str,
    class_counts: np.ndarray,
    try_flip: Callable[[], FlipTest] | None = None,
) -> Augmentation:
    """Decides what `auto` leaves open; anything else is taken as it is.

    Args:
        asked: The options.
        strategy: How much of the network trains.
        class_counts: Training images of each class.
        try_flip: Makes the flip test; None where there are no features to make it on.
    """
    if asked.augment != "auto":
        return Augmentation(asked)
    chosen, reason = _preset_for(strategy, float(np.median(class_counts)))
    if asked.flip is not None:
        told = "Mirror images are taken to keep their class, as asked for."
        if not asked.flip:
            told = "No flips, as asked for."
        return Augmentation(replace(asked, augment=chosen), (reason, told))
    if try_flip is None:
        told = "No flips: there are no features of a trained network to try on whether they keep the class."
        return Augmentation(replace(asked, augment=chosen, flip=False), (reason, told))
    test = try_flip()
    told = (
        f"{'Flips' if test.keeps_class else 'No flips'}: a head on the frozen features names {test.accuracy:.1%} of "
        f"{test.images:,} left-out images right, and {test.mirrored:.1%} of their mirror images."
    )
    return Augmentation(replace(asked, augment=chosen, flip=test.keeps_class), (reason, told), test)


FEW = 200  # Images a class; from there on a network from random weights has seen enough to be made to work harder.


def _preset_for(strategy: str, images_a_class: float) -> tuple[str, str]:
    """Returns a preset and the reason."""
    if strategy == "frozen":
        return "light", "light: only the head trains, and it should see what the backbone was trained on."
    if strategy in ("partial", "gradual", "auto"):
        return "light", "light: what stays frozen knows whole things better than parts of them."
    if strategy == "scratch" and images_a_class >= FEW:
        return "strong", f"strong: a network from random weights, with some {images_a_class:,.0f} images a class."
    return "standard", f"standard: layers below the head train, with some {images_a_class:,.0f} images a class."


def try_flip(
    features: np.ndarray,
    labels: np.ndarray,
    mirrored_features: Callable[[np.ndarray], np.ndarray],
    num_classes: int,
    seed: int = 0,
) -> FlipTest:
    """Tries whether a flip keeps the class: heads are fitted to plain images and judge mirror images of others.

    Args:
        features: What the frozen backbone gives for images, float (n, features).
        labels: Their classes, int (n,).
        mirrored_features: Gives the features of the mirror images of some rows, float (rows, features).
        num_classes: Number of classes.
        seed: Of the choice of images, where there are more than 1,000.

    Raises:
        InputError: There are fewer than two classes.
    """
    rows = np.random.default_rng(seed).permutation(len(labels))[:MOST_TRIED]
    plain, mirrored = features[rows], mirrored_features(rows)
    folds = _alternating(labels[rows])
    right = np.zeros((2, len(rows)))
    for fold in range(FOLDS):
        held_out = folds == fold
        if not held_out.any() or len(np.unique(labels[rows][~held_out])) < 2:
            continue
        parts = (plain[~held_out], labels[rows][~held_out], plain[held_out], labels[rows][held_out])
        head = fit_probe(*parts, num_classes=num_classes)
        for way, seen in enumerate((plain, mirrored)):
            answers = (seen[held_out] @ head.kernel + head.bias).argmax(axis=1)
            right[way, held_out] = answers == labels[rows][held_out]
    loss = right[0] - right[1]
    error = float(loss.std(ddof=1) / np.sqrt(len(loss))) if len(loss) > 1 else 1.0
    return FlipTest(len(rows), float(right[0].mean()), float(right[1].mean()), error)


def _alternating(labels: np.ndarray) -> np.ndarray:
    """Numbers the images of each class in turn, so that every fold has its share of each."""
    folds = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        folds[places] = np.arange(len(places)) % FOLDS
    return folds
