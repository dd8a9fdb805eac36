"""Presets: each a list of Keras layers that can be printed, changed, saved and used alone."""

from __future__ import annotations

import keras

from tlkit.augment.colour import RandomColour
from tlkit.augment.erasing import RandomErasing
from tlkit.augment.layer import require_share
from tlkit.augment.mixing import CutMix, MixUp
from tlkit.augment.trivial import TrivialAugment
from tlkit.augment.view import RandomView
from tlkit.errors import InputError, unknown_name

PRESETS = ("none", "light", "standard", "strong")
LARGEST_STRENGTH = 2.0
SMALLEST_PART = 0.08  # Of the area, as in the recipe for ImageNet from scratch; less shows too little of a thing.
STRETCH = 4 / 3  # Width over height of the widest crop at strength 1, from the same recipe.
MIXED_SHARE = 0.25  # Of the pictures, by each of MixUp and CutMix in `strong`: all of them is for hundreds of epochs.
EVEN_SHARE = 0.5  # Of the pictures, by each, where both are asked for beside another preset.
STRONG_MIXUP, STRONG_CUTMIX = 0.2, 1.0


def preset(
    name: str,
    size: int | None = None,
    *,
    num_classes: int | None = None,
    strength: float = 1.0,
    flip: bool = True,
    mixup: float | None = None,
    cutmix: float | None = None,
) -> list[keras.layers.Layer]:
    """Returns the layers of a preset.

    Args:
        name: `none`: nothing. `light`: a small crop and a flip. `standard`: a random resized crop, a flip, colours.
            `strong`: a crop, a flip, TrivialAugment, erasing, MixUp and CutMix.
        size: Side of the pictures that come out, in pixels; as they are when None.
        num_classes: For MixUp and CutMix; without it there are none.
        strength: Factor of how far crops, colours and turns go, 0 (not at all) to 2; flips and mixing have no degrees.
        flip: Whether pictures may be mirrored left to right.
        mixup: MixUp's alpha, whatever the preset says; 0 leaves it out.
        cutmix: Likewise for CutMix.

    Raises:
        InputError: The name is unknown, or a value is out of range.

    Example:
        layers = preset("standard", 224, flip=False)
        model = keras.Sequential([keras.Input((256, 256, 3)), *layers, network])
    """
    if name == "auto":
        raise InputError(
            f"Expected a preset of fixed layers: {', '.join(PRESETS)}. Received: 'auto', which tlkit finetune decides "
            "by looking at features."
        )
    if name not in PRESETS:
        raise unknown_name("augmentation", name, PRESETS)
    require_share("strength", strength, LARGEST_STRENGTH)
    return [*_pictures(name, size, strength, flip), *_mixes(name, num_classes, mixup, cutmix)]


def _pictures(name: str, size: int | None, strength: float, flip: bool) -> list[keras.layers.Layer]:
    """Returns the layers that change each picture by itself."""
    if name == "none":
        return []
    if name == "light" or not strength:  # Even a little TrivialAugment has kinds of change without degrees.
        return [RandomView(size, _area(0.35 * strength), (1.0, 1.0), flip=flip)]
    if name == "standard":
        amount = min(0.2 * strength, 1.0)
        view = RandomView(size, _area(0.65 * strength), _ratio(strength), flip=flip)
        return [view, RandomColour(amount, amount, amount)]
    share = min(0.25 * strength, 1.0)
    view = RandomView(size, _area(0.5 * strength), _ratio(strength), flip=flip)
    return [view, TrivialAugment(strength), RandomErasing(share)]


def _area(cut: float) -> tuple[float, float]:
    """Returns the shares of the area that a crop may keep, where it may cut a given share away."""
    return max(1 - cut, SMALLEST_PART), 1.0


def _ratio(strength: float) -> tuple[float, float]:
    """Returns the shapes, width over height, that a crop may have."""
    widest = STRETCH**strength
    return 1 / widest, widest


def _mixes(name: str, num_classes: int | None, mixup: float | None, cutmix: float | None) -> list[keras.layers.Layer]:
    if num_classes is None:
        if mixup or cutmix:
            raise InputError("Expected num_classes for MixUp and CutMix. Received: None.")
        return []
    share = MIXED_SHARE if name == "strong" else 1.0
    if mixup and cutmix:
        share = min(share, EVEN_SHARE)
    own = (STRONG_MIXUP, STRONG_CUTMIX) if name == "strong" else (0.0, 0.0)
    alphas = [alpha if alpha is not None else mine for alpha, mine in zip((mixup, cutmix), own, strict=True)]
    return [kind(num_classes, alpha, share) for kind, alpha in zip((MixUp, CutMix), alphas, strict=True) if alpha]
