"""What a prediction needs, from a run folder or from a network with its ImageNet head."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import keras

from tlkit import run as run_folder
from tlkit.backbones.build import build_backbone
from tlkit.backbones.imagenet import class_names as imagenet_class_names
from tlkit.backbones.registry import get_backbone
from tlkit.config import DEFAULT_STORE_SCALE
from tlkit.console import OnProgress
from tlkit.data.transform import Transform
from tlkit.errors import InputError


@dataclass(frozen=True)
class Classifier:
    """What a prediction needs, and nothing else.

    Attributes:
        model: Takes raw pixels 0-255, gives probabilities of shape (batch, classes).
        class_names: In the order of the model's outputs.
        transform: From a picture file to the model's pixels.
        temperature: The model's calibration, fitted on the validation part; None where none was fitted.
        mirrored: Whether mirror images keep their class, as far as the run knows.
        notes: What the user should know, one line each.
    """

    model: keras.Model
    class_names: tuple[str, ...]
    transform: Transform
    temperature: float | None = None
    notes: tuple[str, ...] = field(default=())
    mirrored: bool = False


def load_run(path: str | Path) -> Classifier:
    """Loads the model, the class names, the transform and the temperature of a run folder.

    Raises:
        InputError: The folder is not a complete run, or its model cannot be loaded safely.
    """
    folder = run_folder.require_run(path, run_folder.MODEL, run_folder.LABELS, run_folder.TRANSFORM)
    transform, notes = load_transform(folder).here()
    model = load_model_file(folder / run_folder.MODEL)
    names = run_folder.read_labels(folder)
    if model.output_shape[-1] != len(names):
        raise InputError(
            f"Expected as many lines in {folder / run_folder.LABELS} as the model has classes, "
            f"{model.output_shape[-1]}. Received: {len(names)}."
        )
    return Classifier(model, names, transform, _temperature(folder), notes, _mirrored(folder))


def load_imagenet(backbone: str, weights: str | Path = "imagenet", on_progress: OnProgress | None = None) -> Classifier:
    """Builds a backbone with its original ImageNet head of 1,000 classes."""
    facts = get_backbone(backbone)
    size = facts.default_image_size
    model = build_backbone(facts.name, image_size=size, weights=weights, include_top=True, on_progress=on_progress)
    transform = Transform(image_size=size, store_size=round(size * DEFAULT_STORE_SCALE))
    return Classifier(model, imagenet_class_names(), transform, mirrored=True)


def load_model_file(path: str | Path) -> keras.Model:
    """Loads a `.keras` file of built-in layers and nothing else: code in the file is never run.

    Raises:
        InputError: The file is damaged, or holds a Lambda or a layer of someone's own.
    """
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError, ImportError, AttributeError) as error:
        raise InputError(_refusal(path, " ".join(str(error).split()))) from error


def _refusal(path: str | Path, told: str) -> str:
    if "ambda" in told:
        reason = "a Lambda, which would run code out of the file"
    elif re.search(r"Could not (locate|deserialize|import)|custom object|register", told):
        found = re.search(r"(?:class|object|function) '(\w+)'", told)
        reason = f"a layer or function that is not Keras's own{f', {found[1]}' if found else ''}"
    else:
        reason = told[:200]
    return f"Expected a model of Keras's built-in layers, as tlkit finetune saves it: {path}. Received: {reason}."


def load_transform(folder: Path) -> Transform:
    """Returns the transform that a run's images went through.

    Raises:
        InputError: The file does not hold one.
    """
    path = folder / run_folder.TRANSFORM
    try:
        return Transform.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, AttributeError) as error:
        raise InputError(f"Expected a run's transform in {path}. Received: {' '.join(str(error).split())}") from error


def _mirrored(folder: Path) -> bool:
    path = folder / run_folder.AUGMENTATION
    return path.exists() and bool(json.loads(path.read_text(encoding="utf-8")).get("flip"))


def _temperature(folder: Path) -> float | None:
    path = folder / run_folder.METRICS
    if not path.exists():  # A run that was ended before its evaluation.
        return None
    calibration = json.loads(path.read_text(encoding="utf-8")).get("calibration") or {}
    return calibration.get("temperature")
