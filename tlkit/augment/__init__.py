"""Augmentation: presets of Keras layers, the layers themselves, and batches that go through them.

Names resolve when they are used: the layers need Keras alone, the batches what reads pictures, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlkit.lazy import attach

if TYPE_CHECKING:
    from tlkit.augment.batches import ArrayStore, AugmentedDataset
    from tlkit.augment.chain import Augment
    from tlkit.augment.colour import RandomColour
    from tlkit.augment.erasing import RandomErasing
    from tlkit.augment.layer import Augmentation
    from tlkit.augment.mixing import CutMix, MixUp
    from tlkit.augment.presets import PRESETS, preset
    from tlkit.augment.trivial import TrivialAugment
    from tlkit.augment.view import RandomView

_HOMES = {
    "batches": ("ArrayStore", "AugmentedDataset"),
    "chain": ("Augment",),
    "colour": ("RandomColour",),
    "erasing": ("RandomErasing",),
    "layer": ("Augmentation",),
    "mixing": ("CutMix", "MixUp"),
    "presets": ("PRESETS", "preset"),
    "trivial": ("TrivialAugment",),
    "view": ("RandomView",),
}

__all__ = [
    "PRESETS",
    "ArrayStore",
    "Augment",
    "Augmentation",
    "AugmentedDataset",
    "CutMix",
    "MixUp",
    "RandomColour",
    "RandomErasing",
    "RandomView",
    "TrivialAugment",
    "preset",
]

__getattr__, __dir__ = attach(__name__, _HOMES)
