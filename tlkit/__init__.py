"""tlkit: transfer learning with Keras, from a folder of images to a model its owner can trust.

Names are resolved when first used: importing tlkit loads no Keras.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tlkit.errors import InputError
from tlkit.version import __version__

if TYPE_CHECKING:
    from tlkit import augment, data, models, search
    from tlkit.backbones.registry import Backbone, get_backbone, list_backbones, register_backbone
    from tlkit.classifier import build_classifier
    from tlkit.distribution import all_devices
    from tlkit.evaluation import evaluate_probabilities
    from tlkit.export import export_run
    from tlkit.phases import Phase, describe
    from tlkit.prediction import load_imagenet, load_run, predict
    from tlkit.strategies import phases_for
    from tlkit.training import Recipe, Saving, evaluate, find_learning_rate, fine_tune

_HOMES = {
    "Backbone": "tlkit.backbones.registry",
    "get_backbone": "tlkit.backbones.registry",
    "list_backbones": "tlkit.backbones.registry",
    "register_backbone": "tlkit.backbones.registry",
    "all_devices": "tlkit.distribution",
    "build_classifier": "tlkit.classifier",
    "evaluate": "tlkit.training",
    "evaluate_probabilities": "tlkit.evaluation",
    "export_run": "tlkit.export",
    "fine_tune": "tlkit.training",
    "load_imagenet": "tlkit.prediction",
    "load_run": "tlkit.prediction",
    "predict": "tlkit.prediction",
    "Phase": "tlkit.phases",
    "Recipe": "tlkit.training",
    "Saving": "tlkit.training",
    "describe": "tlkit.phases",
    "find_learning_rate": "tlkit.training",
    "phases_for": "tlkit.strategies",
}

__all__ = [
    "Backbone",
    "InputError",
    "Phase",
    "Recipe",
    "Saving",
    "__version__",
    "all_devices",
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
    "list_backbones",
    "load_imagenet",
    "load_run",
    "models",
    "phases_for",
    "predict",
    "register_backbone",
    "search",
]


def __getattr__(name: str) -> Any:
    if name in ("augment", "data", "models", "search"):
        return importlib.import_module(f"tlkit.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tlkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
