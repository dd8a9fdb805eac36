"""From a run to exports that have been proved: written beside, compared, and only then put in their place."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit import run as run_folder
from tlkit.calibration import apply_temperature
from tlkit.errors import InputError
from tlkit.export import parity
from tlkit.export.conversion import converting
from tlkit.export.deployable import computes_in_float32, deployable_model, in_float32
from tlkit.export.examples import example_script
from tlkit.export.formats import Format, choose_formats
from tlkit.export.parity import Parity
from tlkit.export.quantisation import CALIBRATION_IMAGES
from tlkit.export.raw_input import with_raw_input
from tlkit.export.runtimes import run_model
from tlkit.export.sample import Sample, open_manifest, read_sample
from tlkit.features import predict_in_order
from tlkit.prediction import Classifier, load_run

FOLDER, PARITY, EXAMPLE = "export", "parity.json", "example.py"
ROOM = 4  # A conversion holds this many times the model's size on the disk for a while.

Step = Callable[[str], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Exports:
    """What an export gave.

    Attributes:
        folder: Where the exports lie.
        original: The run's own model measured on the same pictures.
        made: The exports of this call, in the order asked for.
        max_drop: Accuracy that a reduced precision may lose.
        images: Pictures compared.
        notes: What the user should know, one line each.
    """

    folder: Path
    original: Parity
    made: tuple[Parity, ...]
    max_drop: float
    images: int
    notes: tuple[str, ...] = ()

    @property
    def dropped(self) -> tuple[Parity, ...]:
        """The exports that lose more accuracy than `max_drop`."""
        return tuple(one for one in self.made if one.agreement.accuracy_drop > self.max_drop)


def export_run(
    path: str | Path,
    formats: Sequence[str],
    *,
    precision: str = "float32",
    input_kind: str = "resized",
    temperature: bool = False,
    max_drop: float = 0.01,
    step: Step | None = None,
) -> Exports:
    """Exports the model of a run, and compares each export with it on the run's validation pictures.

    Each export becomes a folder `export/NAME` in the run, with the model, `labels.txt`, `transform.json` and
    `example.py`; `export/parity.json` holds the comparisons. A folder is there only when its export was proved.

    Args:
        path: The run folder.
        formats: Of keras, savedmodel, litert, onnx and openvino.
        precision: `"float32"`, `"float16"` or `"int8"` (quantised on pictures of the training part).
        input_kind: `"resized"` takes what `transform.json` says; `"raw"` takes decoded pictures of any size.
        temperature: Whether the probabilities are calibrated ones: the run's temperature becomes part of the graph.
        max_drop: Accuracy that a reduced precision may lose before `Exports.dropped` names it, 0 to 1.
        step: Makes a context for each step, given its name, for showing it.

    Returns:
        The exports with their comparisons.

    Raises:
        InputError: A name or value cannot be used, a package is missing, the run's pictures are gone, there is no
            room, or a format cannot hold the model.
        ParityError: A float32 export gives other answers than the model in Keras.

    Example:
        made = tlkit.export_run("runs/demo", ["onnx", "litert"], precision="int8").made
    """
    step = step or (lambda _: contextlib.nullcontext())
    folder = run_folder.require_run(path, run_folder.MODEL, run_folder.LABELS, run_folder.TRANSFORM, run_folder.CONFIG)
    chosen = choose_formats(list(formats), precision, input_kind)
    if not 0 <= max_drop <= 1:
        raise InputError(f"Expected max_drop to be from 0 to 1. Received: {max_drop:g}.")
    _require_room(folder)
    with step("Loading the run"):
        job = _prepare(folder, precision, input_kind, temperature)
    with step("Measuring the run's own model"):
        original = job.measure_original()
    made = []
    for each in chosen:
        with step(f"Exporting and comparing {job.name_of(each)}"):
            made.append(job.export(each))
            _write_parity(folder / FOLDER, job.sample, original, made[-1])
    return Exports(folder / FOLDER, original, tuple(made), max_drop, len(job.sample), job.notes)


def _require_room(folder: Path) -> None:
    needed = ROOM * (folder / run_folder.MODEL).stat().st_size
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"Expected {needed / 1e6:,.0f} MB of room in {folder} for an export. Received: {free / 1e6:,.0f} MB free."
        )


def _prepare(folder: Path, precision: str, input_kind: str, temperature: bool) -> _Job:
    classifier = load_run(folder)
    if temperature and classifier.temperature is None:
        raise InputError(f"Expected a run with a temperature in metrics.json. Received: {folder}, which has none.")
    applied = classifier.temperature if temperature else None
    manifest = open_manifest(folder)
    split = "validation" if len(manifest.indices("validation")) else "test"
    sample = read_sample(manifest, split, classifier.transform)
    calibration = None
    if precision == "int8":
        calibration = read_sample(manifest, "train", classifier.transform, CALIBRATION_IMAGES).pixels.astype("float32")
    model = deployable_model(classifier.model, applied)
    if input_kind == "raw":
        model = with_raw_input(model, classifier.transform)
    notes = list(classifier.notes)
    if not computes_in_float32(classifier.model):
        notes.append("The run's model computes in mixed precision; exports are made from its weights in float32.")
    return _Job(folder, classifier, model, applied, precision, input_kind, sample, calibration, tuple(notes))


@dataclass(frozen=True)
class _Job:
    folder: Path
    classifier: Classifier
    model: keras.Model
    temperature: float | None
    precision: str
    input_kind: str
    sample: Sample
    calibration: np.ndarray | None
    notes: tuple[str, ...]

    def name_of(self, found: Format) -> str:
        """Returns the folder's name of an export."""
        parts = [found.name, *(["raw"] if self.input_kind == "raw" else [])]
        parts += ["calibrated"] if self.temperature is not None else []
        return "-".join([*parts, *([self.precision] if self.precision != "float32" else [])])

    def measure_original(self) -> Parity:
        """Measures model.keras on the run's own path, rebuilt in float32 where it is of mixed precision."""
        model = in_float32(self.classifier.model)
        run = run_model(model)
        found = parity.compare(self._own_path, self._own_path, self.sample.labels)
        size = (self.folder / run_folder.MODEL).stat().st_size
        speed = parity.measure_milliseconds(run, self.sample, "resized")
        return Parity(run_folder.MODEL, "keras", "float32", "resized", self.temperature, size, found, None, speed)

    @functools.cached_property
    def _own_path(self) -> np.ndarray:
        """Probabilities of the pictures as the run evaluates them."""
        model = in_float32(self.classifier.model)
        probabilities = predict_in_order(model, (self.sample.pixels, self.sample.labels))[0]
        return probabilities if self.temperature is None else apply_temperature(probabilities, self.temperature)

    @functools.cached_property
    def _reference(self) -> np.ndarray:
        """Probabilities that a float32 export has to give."""
        if self.input_kind == "resized":
            return self._own_path
        return parity.run_sample(run_model(self.model), self.sample, "raw")

    def export(self, found: Format) -> Parity:
        """Writes one export, compares it and puts it in its place."""
        name = self.name_of(found)
        with _replacing(self.folder / FOLDER / name) as folder:
            path = folder / found.file
            with converting(self.model, found.name):
                self._write(found, path)
                size = run_folder.folder_bytes(folder)
                run = found.open(path)
                probabilities = parity.run_sample(run, self.sample, self.input_kind)
                speed = parity.measure_milliseconds(run, self.sample, self.input_kind)
            agreement = parity.compare(self._reference, probabilities, self.sample.labels)
            store = None
            if self.input_kind == "raw":
                store = float((probabilities.argmax(axis=1) == self._own_path.argmax(axis=1)).mean())
            made = Parity(
                name, found.name, self.precision, self.input_kind, self.temperature, size, agreement, store, speed
            )
            made.check()
            self._write_companions(found, folder)
        return made

    def _write(self, found: Format, path: Path) -> None:
        if self.precision == "int8" and found.quantise is not None and self.calibration is not None:
            found.quantise(self.model, path, self.calibration)
        else:
            found.write[self.precision](self.model, path)

    def _write_companions(self, found: Format, folder: Path) -> None:
        transform = self.classifier.transform
        run_folder.write_labels(folder, self.classifier.class_names)
        run_folder.write_json(folder / run_folder.TRANSFORM, transform.to_dict())
        run_folder.write_text(folder / EXAMPLE, example_script(found.name, transform, self.input_kind))


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Gives a new folder that takes the place of `target` when the block ends without an error."""
    parent = target.parent
    was_there = parent.exists()
    try:
        parent.mkdir(exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
    except OSError as error:
        raise InputError(f"Expected a run folder that can be written to. Received: {parent} ({error}).") from error
    try:
        new, old = work / "new", work / "old"
        new.mkdir()
        yield new
        if target.exists():
            target.rename(old)
        new.rename(target)
    finally:
        shutil.rmtree(work)
        if not was_there and not any(parent.iterdir()):
            parent.rmdir()


def _write_parity(folder: Path, sample: Sample, original: Parity, made: Parity) -> None:
    """Adds a comparison to parity.json, in place of an older one of the same name."""
    path = folder / PARITY
    before = json.loads(path.read_text(encoding="utf-8"))["exports"] if path.exists() else []
    kept = [entry for entry in before if entry["name"] != made.name and (folder / entry["name"]).is_dir()]
    images = {"split": sample.split, "compared": len(sample), "of": sample.of}
    found = {"images": images, "original": original.to_dict(), "exports": [*kept, made.to_dict()]}
    run_folder.write_json(path, found)
