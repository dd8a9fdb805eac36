"""Predictions of pictures in the order given: files are decoded in threads while the network computes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlkit.calibration import apply_temperature
from tlkit.console import OnProgress
from tlkit.errors import InputError
from tlkit.features import predict_in_order
from tlkit.graph import feature_layer, split_model
from tlkit.prediction.averaging import looks
from tlkit.prediction.loading import Classifier
from tlkit.prediction.outcome import Prediction, Ranked, Wanted
from tlkit.prediction.pictures import Picture, find_pictures

BATCH_SIZE = 32
BATCHES_AHEAD = 3  # Decoded beforehand, so that neither the decoders nor the network wait for the other.


def predict(
    classifier: Classifier,
    paths: Iterable[str | Path],
    *,
    top: int = 5,
    threshold: float = 0.0,
    calibrated: bool = False,
    features: bool = False,
    averaged: bool = False,
    on_progress: OnProgress | None = None,
) -> Iterator[Prediction]:
    """Predicts pictures, in the order given; memory does not grow with what they hold.

    Args:
        classifier: From `load_run` or `load_imagenet`.
        paths: What `find_pictures` takes: files, folders, patterns, tables, lists, archives.
        top: How many classes to give for each picture, best first.
        threshold: Classes less probable than this are left out, 0 to 1.
        calibrated: Whether probabilities are those of the temperature fitted on the validation part.
        features: Whether each prediction also holds what the head sees.
        averaged: Whether probabilities are means over several looks at a picture: test-time augmentation.
        on_progress: Called with (pictures done, pictures in all).

    Yields:
        One `Prediction` a picture; one that cannot be read has a `problem` and no classes.

    Raises:
        InputError: A path does not exist, there is no file at all, or a value is out of range.

    Example:
        for prediction in tlkit.predict(tlkit.load_run("runs/demo"), ["new_pictures"]):
            print(prediction.path, prediction.classes[0].class_name)
    """
    wanted = Wanted(top, threshold, calibrated, features, averaged)
    return predict_pictures(classifier, find_pictures(paths), wanted, on_progress)


def predict_pictures(
    classifier: Classifier, pictures: Sequence[Picture], wanted: Wanted, on_progress: OnProgress | None = None
) -> Iterator[Prediction]:
    """Predicts pictures that have been found; see `predict`."""
    wanted.check(classifier)
    return _predict(classifier, pictures, wanted, on_progress)


def _predict(
    classifier: Classifier, pictures: Sequence[Picture], wanted: Wanted, on_progress: OnProgress | None
) -> Iterator[Prediction]:
    compute = _Network(classifier, wanted)
    waiting: list[_Decoded] = []
    done = 0
    for decoded in _decode(classifier.transform.stored if wanted.averaged else classifier.transform, pictures):
        waiting.append(decoded)
        readable = sum(one.pixels is not None for one in waiting)
        if readable < BATCH_SIZE and len(waiting) < BATCH_SIZE * BATCHES_AHEAD and done + len(waiting) < len(pictures):
            continue
        yield from compute(waiting)
        done += len(waiting)
        waiting = []
        if on_progress:
            on_progress(done, len(pictures))


@dataclass(frozen=True)
class _Decoded:
    name: str
    pixels: np.ndarray | None
    problem: str


Read = Callable[[bytes | np.ndarray], np.ndarray]


def _decode(transform: Read, pictures: Iterable[Picture]) -> Iterator[_Decoded]:
    """Yields pictures as the model sees them, or as they are stored, decoded in threads some way ahead."""
    pool = ThreadPoolExecutor(os.cpu_count())
    pending: deque[Future[_Decoded]] = deque()
    try:
        for picture in pictures:
            pending.append(pool.submit(_read, transform, picture))
            if len(pending) > BATCHES_AHEAD * BATCH_SIZE:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read(transform: Read, picture: Picture) -> _Decoded:
    try:
        return _Decoded(picture.name, transform(picture.read()), "")
    except OSError as error:
        return _Decoded(picture.name, None, error.strerror or str(error))
    except InputError as error:
        return _Decoded(picture.name, None, str(error))


class _Network:
    """The model with what is done to its output, for one batch at a time."""

    def __init__(self, classifier: Classifier, wanted: Wanted):
        self.classifier, self.wanted = classifier, wanted
        self.parts = [classifier.model]
        if wanted.features:
            self.parts = list(split_model(classifier.model, feature_layer(classifier.model)))

    def __call__(self, batch: Sequence[_Decoded]) -> Iterator[Prediction]:
        images = [one.pixels for one in batch if one.pixels is not None]
        rows = iter(zip(*self._outputs(np.stack(images)), strict=True)) if images else iter(())
        for one in batch:
            if one.pixels is None:
                yield Prediction(one.name, (), one.problem)
                continue
            features, probabilities = next(rows)
            yield Prediction(one.name, self._rank(probabilities), "", features if self.wanted.features else None)

    def _outputs(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns what the last part sees, of the middle where several looks are averaged, and what it gives."""
        if not self.wanted.averaged:
            features, outputs = self._one_look(images)
        else:
            size = self.classifier.transform.image_size
            found = [self._one_look(look) for look in looks(images, size, self.classifier.mirrored)]
            features, outputs = found[0][0], np.mean([one[1] for one in found], axis=0)
        if self.wanted.calibrated and self.classifier.temperature is not None:
            outputs = apply_temperature(outputs, self.classifier.temperature)
        return features, outputs

    def _one_look(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features, outputs = images, images
        for part in self.parts:
            features, outputs = outputs, predict_in_order(part, [(outputs, None)])[0]
        return features, outputs

    def _rank(self, probabilities: np.ndarray) -> tuple[Ranked, ...]:
        best = np.argsort(-probabilities, kind="stable")[: self.wanted.top]
        names = self.classifier.class_names
        ranked = (Ranked(int(index), names[index], float(probabilities[index])) for index in best)
        return tuple(entry for entry in ranked if entry.probability >= self.wanted.threshold)
