"""tlkit: transfer learning with Keras, from a folder of images to a model its owner can trust.

Names are resolved when first used: importing tlkit loads no Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlkit.errors import InputError
from tlkit.lazy import attach
from tlkit.version import __version__

if TYPE_CHECKING:
    from tlkit import analysis, augment, data, models, recipes, screening, search
    from tlkit.allocation import keep_freed_memory
    from tlkit.backbones.registry import Backbone, get_backbone, list_backbones, register_backbone
    from tlkit.classifier import build_classifier
    from tlkit.distribution import all_devices
    from tlkit.evaluation import evaluate_probabilities
    from tlkit.export import export_run
    from tlkit.phases import Phase, describe
    from tlkit.prediction import load_imagenet, load_run, predict
    from tlkit.strategies import phases_for, stages_of
    from tlkit.training import Recipe, Saving, evaluate, find_learning_rate, fine_tune

_HOMES = {
    "allocation": ("keep_freed_memory",),
    "backbones.registry": ("Backbone", "get_backbone", "list_backbones", "register_backbone"),
    "classifier": ("build_classifier",),
    "distribution": ("all_devices",),
    "evaluation": ("evaluate_probabilities",),
    "export": ("export_run",),
    "phases": ("Phase", "describe"),
    "prediction": ("load_imagenet", "load_run", "predict"),
    "strategies": ("phases_for", "stages_of"),
    "training": ("Recipe", "Saving", "evaluate", "find_learning_rate", "fine_tune"),
}

PACKAGES = ("analysis", "augment", "data", "models", "recipes", "screening", "search")

__all__ = [
    "Backbone",
    "InputError",
    "Phase",
    "Recipe",
    "Saving",
    "__version__",
    "all_devices",
    "analysis",
    "augment",
    "build_classifier",
    "data",
    "describe",
    "evaluate",
    "evaluate_probabilities",
    "export_run",
    "find_learning_rate",
    "fine_tune",
    "get_backbone",
    "keep_freed_memory",
    "list_backbones",
    "load_imagenet",
    "load_run",
    "models",
    "phases_for",
    "predict",
    "recipes",
    "register_backbone",
    "screening",
    "search",
    "stages_of",
]

__getattr__, __dir__ = attach(__name__, _HOMES, PACKAGES, ("InputError", "__version__"))
