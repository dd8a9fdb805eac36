"""The verb `predict`: finds the pictures, predicts them and prints or writes what comes out, row by row."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tlkit import console
from tlkit.backend import start_keras
from tlkit.errors import InputError, unknown_name

if TYPE_CHECKING:
    from tlkit.prediction import Classifier, Picture, Prediction, Wanted
    from tlkit.prediction.rows import PredictionFile, RowFormat

FORMATS = ("table", "csv", "jsonl")
REDRAW_SECONDS, LINE_SECONDS = 0.2, 10.0  # Between two tellings of the progress: on a terminal, and in a log.


@dataclass(frozen=True)
class Telling:
    """How predictions are told.

    Attributes:
        format: `"table"`, `"csv"` or `"jsonl"`; None takes it from the ending of `output`, else a table.
        output: File for the rows, taken up where it ended; None prints them.
        embed: File (.npy) for what the head sees, float32 (pictures, features), NaN where a picture cannot be read.
    """

    format: str | None = None
    output: Path | None = None
    embed: Path | None = None

    @property
    def name(self) -> str:
        """The format's name.

        Raises:
            InputError: There is no such format, or it cannot be written to a file.
        """
        by_ending = self.output.suffix.lower().removeprefix(".") if self.output else "table"
        name = self.format or by_ending
        choices = FORMATS[1:] if self.output else FORMATS
        if name not in choices:
            raise unknown_name("format", name, choices)
        return name


def predict(
    run: str | None, paths: Sequence[str], *, imagenet: str | None, weights: str, wanted: Wanted, telling: Telling
) -> None:
    """Predicts pictures and tells the result on standard output or in a file, progress on standard error.

    Args:
        run: Run folder; not looked at with `imagenet`.
        paths: What `find_pictures` takes.
        imagenet: Name of a backbone whose ImageNet classes are predicted, instead of a run's.
        weights: With `imagenet`: `"imagenet"` or a weights file.
        wanted: What of each prediction.
        telling: How and where.

    Raises:
        InputError: A path, a name or a value cannot be used, or not one of the pictures can be read.
    """
    from tlkit.prediction.pictures import STANDARD_INPUT, find_pictures
    from tlkit.prediction.rows import RowFormat, open_prediction_file

    format_name = telling.name
    wanted.check()
    pictures = find_pictures(paths, sys.stdin.buffer.read() if STANDARD_INPUT in map(str, paths) else None)
    rows = None if format_name == "table" else RowFormat(format_name, wanted.top)
    file = open_prediction_file(telling.output, rows) if telling.output and rows else None
    remaining = file.remaining(pictures) if file else pictures
    _check_embedding(telling, file)
    classifier = _load(run, imagenet, weights)
    wanted.check(classifier)
    if file:
        file.require_same(lambda name: _predict_one(classifier, pictures, name, wanted))
    if not remaining:
        console.console_for_errors().print(f"All {len(pictures):,} pictures are in {telling.output} already.")
        return
    with _progress(len(remaining), quiet=rows is not None and file is None and sys.stdout.isatty()) as on_progress:
        from tlkit.prediction import predict_pictures

        predictions = predict_pictures(classifier, remaining, wanted, on_progress)
        with _embedded(telling.embed, predictions, len(remaining)) as kept, _interruptible(telling):
            readable = _tell_rows(kept, rows, file) if rows else _tell_table(kept, wanted.top)
    if 0 < readable < len(remaining):
        console.console_for_errors().print(
            f"{len(remaining) - readable:,} of {len(remaining):,} pictures could not be read; their rows tell why.",
            highlight=False,
        )
    if not readable and not (file and file.first):
        raise InputError("Expected at least one picture that can be read. Received none; see the problems above.")


def _load(run: str | None, imagenet: str | None, weights: str) -> Classifier:
    with console.quiet_step("Loading the model"):
        start_keras()
        from tlkit.prediction import load_imagenet, load_run

        if imagenet is None and run is None:
            raise InputError("Expected a run folder, or --imagenet with a backbone. Received neither.")
        classifier = load_imagenet(imagenet, weights) if imagenet else load_run(str(run))
    for note in classifier.notes:
        console.console_for_errors().print(note, markup=False, soft_wrap=True)
    return classifier


def _predict_one(classifier: Classifier, pictures: Sequence[Picture], name: str, wanted: Wanted) -> Prediction | None:
    from tlkit.prediction import predict_pictures

    picture = next((picture for picture in pictures if picture.name == name), None) or _picture_of_before(name)
    if picture is None:
        console.console_for_errors().print(
            f"{name}, the first picture in the file, is not here: whether its rows are of this model was not checked.",
            markup=False,
            soft_wrap=True,
        )
    return None if picture is None else next(predict_pictures(classifier, [picture], wanted))


def _picture_of_before(name: str) -> Picture | None:
    """Returns a picture by the name that a row has, where it is still there."""
    from tlkit.prediction.pictures import find_pictures

    try:
        return next((picture for picture in find_pictures([name]) if picture.name == name), None)
    except InputError:
        return None


@contextmanager
def _interruptible(telling: Telling) -> Iterator[None]:
    """Says where the rows are that an interruption leaves."""
    try:
        yield
    except KeyboardInterrupt:
        if telling.output and not telling.embed:
            note = f"The rows so far are in {telling.output}: the same command goes on."
            console.console_for_errors().print(note, markup=False, soft_wrap=True)
        raise


def _tell_rows(predictions: Iterable[Prediction], rows: RowFormat, file: PredictionFile | None) -> int:
    """Writes each prediction as it comes; returns how many pictures could be read."""
    if file is None:
        sys.stdout.write(rows.header)
        return _write_rows(predictions, rows, sys.stdout)
    with closing(file.append()) as stream:
        return _write_rows(predictions, rows, stream)


def _write_rows(predictions: Iterable[Prediction], rows: RowFormat, stream: IO[str]) -> int:
    readable = 0
    for prediction in predictions:
        stream.write(rows.line(prediction))
        stream.flush()  # What is told is there, should the power go.
        readable += not prediction.problem
    return readable


def _tell_table(predictions: Iterable[Prediction], top: int) -> int:
    found = list(predictions)
    rows = []
    for one in found:
        ranked = [f"{entry.class_name} {entry.probability:.1%}" for entry in one.classes]
        told = ranked or [f"({one.problem or 'no class is probable enough'})"]
        rows.append([one.path, *told, *[""] * (top - len(told))])
    console.table("", ["Picture", *(f"Top {rank}" for rank in range(1, top + 1))], rows)
    return sum(not one.problem for one in found)


# --- embeddings ---


def _check_embedding(telling: Telling, file: PredictionFile | None) -> None:
    if telling.embed is None:
        return
    if telling.embed.suffix != ".npy" or not telling.embed.parent.is_dir():
        raise InputError(f"Expected a file ending in .npy in a folder that exists. Received: --embed {telling.embed}.")
    if file and file.done:
        raise InputError(
            f"Expected a new --output with --embed, so that both have the same rows. Received: {telling.output}, "
            f"which holds {file.done.total():,} rows."
        )


@contextmanager
def _embedded(path: Path | None, predictions: Iterator[Prediction], count: int) -> Iterator[Iterable[Prediction]]:
    """Passes predictions on and keeps their features, which become a file once all are there."""
    if path is None:
        yield predictions
        return
    from tlkit.prediction.embedding import EmbeddingFile

    with EmbeddingFile(path, count) as file:
        yield file.keep(predictions)


# --- progress ---


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[console.OnProgress | None]:
    """Tells on standard error how far the predictions are: in place on a terminal, a line now and then in a log."""
    if quiet:  # The rows themselves run over the same screen.
        yield None
        return
    in_place = sys.stderr.isatty()
    interval = REDRAW_SECONDS if in_place else LINE_SECONDS
    start = told = time.monotonic()

    def on_progress(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < interval or done == total:
            return
        told = now
        text = f"Predicting: {done:,} of {total:,} pictures, {(now - start) * (total - done) / done:,.0f} s left"
        sys.stderr.write(f"\r{text}\x1b[K" if in_place else f"{text}\n")
        sys.stderr.flush()

    try:
        yield on_progress
    finally:
        if in_place:
            sys.stderr.write("\r\x1b[K")
