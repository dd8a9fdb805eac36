"""The names of `tlkit.prediction` as the command line still imports them."""

from __future__ import annotations

from tlkit.prediction import Prediction, find_pictures, load_imagenet, load_run, predict

__all__ = ["Prediction", "expand", "load_imagenet", "load_run", "predict"]

expand = find_pictures
