"""From a run (or an ImageNet network) and pictures to predictions. Names resolve when used: listing loads no Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlkit.lazy import attach

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

__getattr__, __dir__ = attach(__name__, _HOMES)
