"""From a run (or an ImageNet network) and pictures to predictions, through the run's own transform."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import keras
import numpy as np

from tlkit import run as run_folder
from tlkit.backbones.build import build_backbone
from tlkit.backbones.imagenet import class_names as imagenet_class_names
from tlkit.backbones.registry import get_backbone
from tlkit.console import OnProgress
from tlkit.data.transform import Transform
from tlkit.errors import InputError
from tlkit.features import predict_in_order

BATCH_SIZE = 32
PASSED_OVER = {"Thumbs.db", "desktop.ini", "__MACOSX"}


@dataclass(frozen=True)
class Classifier:
    """What a prediction needs, and nothing else.

    Attributes:
        model: Takes raw pixels 0-255, gives probabilities of shape (batch, classes).
        class_names: In the order of the model's outputs.
        transform: From a picture file to the model's pixels.
    """

    model: keras.Model
    class_names: tuple[str, ...]
    transform: Transform


@dataclass(frozen=True)
class Ranked:
    """One class of a prediction."""

    class_index: int
    class_name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one picture, best first; or why there are none."""

    path: str
    classes: tuple[Ranked, ...]
    problem: str = ""


def load_run(path: str | Path) -> Classifier:
    """Loads the model, the class names and the transform of a run folder.

    Raises:
        InputError: The folder is not a complete run.
    """
    folder = run_folder.require_run(path, run_folder.MODEL, run_folder.LABELS, run_folder.TRANSFORM)
    transform = Transform.from_dict(json.loads((folder / run_folder.TRANSFORM).read_text(encoding="utf-8")))
    model = keras.models.load_model(folder / run_folder.MODEL, compile=False, safe_mode=True)
    return Classifier(model, run_folder.read_labels(folder), transform)


def load_imagenet(backbone: str, weights: str | Path = "imagenet", on_progress: OnProgress | None = None) -> Classifier:
    """Builds a backbone with its original ImageNet head of 1,000 classes."""
    facts = get_backbone(backbone)
    size = facts.default_image_size
    model = build_backbone(facts.name, image_size=size, weights=weights, include_top=True, on_progress=on_progress)
    return Classifier(model, imagenet_class_names(), Transform(image_size=size))


def predict(
    classifier: Classifier,
    paths: Iterable[str | Path],
    *,
    top: int = 5,
    on_progress: OnProgress | None = None,
) -> Iterator[Prediction]:
    """Predicts pictures, in the order given; memory does not grow with their number.

    Args:
        classifier: From `load_run` or `load_imagenet`.
        paths: Files, and folders whose files are all taken, in order of their names.
        top: How many classes to give for each picture, best first.
        on_progress: Called with (pictures done, pictures in all).

    Yields:
        One `Prediction` a picture; one that cannot be read has a `problem` and no classes.

    Raises:
        InputError: A path does not exist, or there is no file at all.
    """
    files = expand(paths)
    if top < 1:
        raise InputError(f"Expected top to be at least 1. Received: {top}.")
    return _predict_files(classifier, files, min(top, len(classifier.class_names)), on_progress)


def _predict_files(
    classifier: Classifier, files: Sequence[Path], top: int, on_progress: OnProgress | None
) -> Iterator[Prediction]:
    remaining = iter(files)
    done = 0
    while chunk := list(islice(remaining, BATCH_SIZE)):
        read = [_read(classifier.transform, path) for path in chunk]
        images = [pixels for pixels, _ in read if pixels is not None]
        probabilities = iter(_probabilities(classifier.model, images))
        for path, (pixels, problem) in zip(chunk, read, strict=True):
            classes = () if pixels is None else _rank(next(probabilities), classifier.class_names, top)
            yield Prediction(str(path), classes, problem)
        done += len(chunk)
        if on_progress:
            on_progress(done, len(files))


def _read(transform: Transform, path: Path) -> tuple[np.ndarray | None, str]:
    try:
        return transform(path.read_bytes()), ""
    except OSError as error:
        return None, error.strerror or str(error)
    except InputError as error:
        return None, str(error)


def _probabilities(model: keras.Model, images: list[np.ndarray]) -> np.ndarray:
    if not images:
        return np.empty((0, 0), "float32")
    stacked = np.stack(images)
    return predict_in_order(model, [(stacked, None)])[0]


def _rank(probabilities: np.ndarray, names: Sequence[str], top: int) -> tuple[Ranked, ...]:
    best = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(Ranked(int(index), names[index], float(probabilities[index])) for index in best)


def expand(paths: Iterable[str | Path]) -> list[Path]:
    """Returns the files named, and those below the folders named; hidden and system files are passed over."""
    files: list[Path] = []
    given = [Path(path) for path in paths]
    for path in given:
        if path.is_dir():
            files += sorted(file for file in path.rglob("*") if file.is_file() and not _passed_over(file, path))
        elif path.exists():
            files.append(path)
        else:
            raise InputError(f"Expected a picture or a folder of pictures. Received: {path}, which does not exist.")
    if not files:
        named = ", ".join(map(str, given)) or "no path"
        raise InputError(f"Expected at least one picture. Received: {named}, with no file in it.")
    return files


def _passed_over(file: Path, root: Path) -> bool:
    return any(part.startswith(".") or part in PASSED_OVER for part in file.relative_to(root).parts)
