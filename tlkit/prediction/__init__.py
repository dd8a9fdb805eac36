"""From a run (or an ImageNet network) and pictures to predictions. Names resolve when used: listing loads no Keras."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlkit.prediction.computing import predict, predict_pictures
    from tlkit.prediction.loading import Classifier, load_imagenet, load_model_file, load_run, load_transform
    from tlkit.prediction.outcome import Prediction, Ranked, Wanted
    from tlkit.prediction.pictures import Picture, find_pictures

_HOMES = {
    "computing": ("predict", "predict_pictures"),
    "loading": ("Classifier", "load_imagenet", "load_model_file", "load_run", "load_transform"),
    "outcome": ("Prediction", "Ranked", "Wanted"),
    "pictures": ("Picture", "find_pictures"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Classifier",
    "Picture",
    "Prediction",
    "Ranked",
    "Wanted",
    "find_pictures",
    "load_imagenet",
    "load_model_file",
    "load_run",
    "load_transform",
    "predict",
    "predict_pictures",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(f"tlkit.prediction.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'tlkit.prediction' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
