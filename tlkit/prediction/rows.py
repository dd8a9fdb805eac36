"""Predictions as lines of text, and reading back which pictures a file of them holds already."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tlkit.errors import InputError, unknown_name
from tlkit.prediction.outcome import Prediction
from tlkit.prediction.pictures import Picture
from tlkit.run import plain_cell, safe_cell

TEXT_FORMATS = ("csv", "jsonl")


@dataclass(frozen=True)
class RowFormat:
    """How predictions are written, one row each.

    Attributes:
        name: `"csv"` or `"jsonl"`.
        top: How many classes a row has room for.
    """

    name: str
    top: int

    def __post_init__(self) -> None:
        if self.name not in TEXT_FORMATS:
            raise unknown_name("format", self.name, TEXT_FORMATS)

    @property
    def header(self) -> str:
        """What stands before the first row, with its line feed."""
        if self.name == "jsonl":
            return ""
        ranks = [column for rank in range(1, self.top + 1) for column in (f"class_{rank}", f"probability_{rank}")]
        return _csv_line(["path", *ranks, "problem"])

    def line(self, prediction: Prediction) -> str:
        """Returns a prediction as a row, with its line feed."""
        if self.name == "jsonl":
            row = {"path": prediction.path, "classes": [vars(entry) for entry in prediction.classes]}
            return (
                json.dumps(row | ({"problem": prediction.problem} if prediction.problem else {}), ensure_ascii=False)
                + "\n"
            )
        ranked = ((safe_cell(entry.class_name), f"{entry.probability:.6f}") for entry in prediction.classes)
        cells = [cell for pair in ranked for cell in pair]
        empty = [""] * (2 * self.top - len(cells))
        return _csv_line([safe_cell(prediction.path), *cells, *empty, safe_cell(prediction.problem)])

    def parse(self, text: str) -> list[tuple[str, bool]]:
        """Returns the path of each row and whether its picture could be read.

        Raises:
            InputError: These are no rows of this format.
        """
        try:
            rows = self._parse_json(text) if self.name == "jsonl" else self._parse_csv(text)
        except (ValueError, TypeError, KeyError, csv.Error) as error:
            received = " ".join(str(error).split())
            raise InputError(
                f"Expected rows of predictions as {self.name}, with {self.top} classes each. Received: {received}."
            ) from error
        return rows

    def _parse_json(self, text: str) -> list[tuple[str, bool]]:
        rows = [json.loads(line) for line in text.split("\n")[:-1]]
        return [(row["path"], not row.get("problem")) for row in rows]

    def _parse_csv(self, text: str) -> list[tuple[str, bool]]:
        if not text.startswith(self.header):
            raise ValueError("another header")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))[1:]
        if any(len(row) != 2 * self.top + 2 for row in rows):
            raise ValueError("rows of another width")
        return [(plain_cell(row[0]), not row[-1]) for row in rows]


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


@dataclass
class PredictionFile:
    """A file of predictions that can be taken up where it ended.

    Attributes:
        path: The file; it need not exist.
        rows: The format of its rows.
        done: How often each picture is in it.
        whole: Its bytes that are whole rows; what an interrupted run left half written comes after them.
        first: Path of the first picture in it that could be read, and its row.
    """

    path: Path
    rows: RowFormat
    done: Counter[str] = field(default_factory=Counter)
    whole: int = 0
    first: tuple[str, str] | None = None

    def remaining(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Returns the pictures that are not in the file yet, in their order."""
        left = self.done.copy()
        missing = []
        for picture in pictures:
            if left[picture.name]:
                left[picture.name] -= 1
            else:
                missing.append(picture)
        return missing

    def require_same(self, predict_one: Callable[[str], Prediction | None]) -> None:
        """Raises InputError where the file's rows come from another model or from other options.

        Args:
            predict_one: Predicts the picture of a name anew, or returns None where there is no such picture now.
        """
        if self.first is None:
            return
        name, row = self.first
        again = predict_one(name)
        if again is not None and not again.problem and self.rows.line(again) != row:
            raise InputError(
                f"Expected {self.path} to hold predictions of this model with these options. Received: another "
                f"prediction of {name}. Choose another --output, or remove the file."
            )

    def append(self) -> io.TextIOWrapper:
        """Opens the file after its last whole row; a new one gets its header."""
        self.path.touch()
        os.truncate(self.path, self.whole)
        file = open(self.path, "a", encoding="utf-8", newline="")  # noqa: SIM115 - the caller closes it.
        if not self.whole:
            file.write(self.rows.header)
        return file


def open_prediction_file(path: Path, rows: RowFormat) -> PredictionFile:
    """Reads which pictures a file of predictions holds already.

    Raises:
        InputError: The file holds something else, or cannot be made.
    """
    found = PredictionFile(path, rows)
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"Expected a file in a folder that exists. Received: --output {path}.")
    data = path.read_bytes() if path.exists() else b""
    found.whole = data.rfind(b"\n") + 1
    if not found.whole:
        if data and not rows.header.encode().startswith(data):
            raise InputError(f"Expected rows of predictions in {path}. Received: something else.")
        return found
    try:
        text = data[: found.whole].decode("utf-8")
        parsed = rows.parse(text)
    except (InputError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error} Choose another --output.") from error
    found.done = Counter(name for name, _ in parsed)
    found.first = _first_readable(text.removeprefix(rows.header), parsed)
    return found


def _first_readable(text: str, parsed: Sequence[tuple[str, bool]]) -> tuple[str, str] | None:
    """Returns the first row of a picture that could be read, where rows and lines still correspond."""
    for line, (name, readable) in zip(text.splitlines(keepends=True), parsed, strict=False):
        if readable:
            return name, line
        if line.count('"') % 2:  # A name with a line feed in it: rows are no longer lines.
            return None
    return None
