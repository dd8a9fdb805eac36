"""The run folder: the names of its files, and writes that are whole or not there at all."""

from __future__ import annotations

import json
import os
import shlex
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tlkit.errors import InputError

CONFIG = "config.toml"
ENVIRONMENT = "environment.json"
MANIFEST = "manifest.csv"
LABELS = "labels.txt"
AUDIT = "audit.json"
TRANSFORM = "transform.json"
HISTORY = "history.csv"
METRICS = "metrics.json"
PREDICTIONS = "predictions.csv"
PROBABILITIES = "probabilities.npy"
THUMBNAILS = "thumbnails"
MODEL = "model.keras"
REPORT = "report.html"
PHASES = "phases.csv"
GRADIENTS = "gradients.json"
TENSORBOARD = "tensorboard"
EVALUATION = "evaluation.json"
EXPLANATIONS = "explanations.json"
HEAT_MAPS = "explanations"
LABEL_ISSUES = "label_issues.csv"
EMBEDDING = "embedding.csv"
AUGMENTATION = "augmentation.json"
PREVIEW = "augmentation.jpg"
SYMMETRY = "symmetry.csv"
STATE = "state.json"
CHECKPOINT = "checkpoint"
LOCK = ".lock"

UNFINISHED = ("running", "interrupted", "failed")  # "running" is also what a killed process leaves.
WRITING = ".writing"  # Ending of files that are being written.
VERSION = 1  # Of the folder's layout; a reader that meets a higher one says so.


def default_folder(backbone: str, strategy: str) -> Path:
    """Returns `runs/DATE-TIME-BACKBONE-STRATEGY` under the working directory, a name not taken yet."""
    base = Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{backbone.replace(':', '-')}-{strategy}"
    taken = (base.with_name(f"{base.name}-{number}") for number in range(2, 1000))
    return base if not base.exists() else next(path for path in taken if not path.exists())


def require_free(path: Path) -> None:
    """Raises InputError where a run cannot be written to `path` without touching what is there."""
    if path.is_file():
        raise InputError(f"Expected a folder for the run. Received: {path}, which is a file. Choose another --output.")
    if (path / STATE).exists():
        raise InputError(
            f"Expected a new run folder. Received: {path}, which holds a run already. Choose another --output, "
            f"{_ways_on(path)}"
        )
    if path.is_dir() and any(found.name != LOCK for found in path.iterdir()):
        raise InputError(f"Expected an empty run folder. Received: {path}, which holds other files. Choose another.")
    _require_writable(path)


def _require_writable(path: Path) -> None:
    """Makes the folder and removes what it made: the one sure way to know that it can be made."""
    made = [parent for parent in (path, *path.absolute().parents) if not parent.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(
            f"Expected an output folder that can be written. Received: {path} ({error.strerror}). Choose another."
        ) from error
    finally:
        for folder in made:
            if folder.is_dir():
                folder.rmdir()


def write_state(path: Path, status: str) -> None:
    """Records how far the run is: `running`, `interrupted`, `failed` or `complete`."""
    write_json(path / STATE, {"status": status, "version": VERSION})


def require_run(path: str | Path, *needed: str) -> Path:
    """Returns `path` where it holds a run with the files named, and raises InputError where it does not."""
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"Expected a run folder. Received: {path}, which is not a folder.")
    for name in (STATE, *needed):
        if not (path / name).exists():
            if name != STATE and _read_state(path / STATE).get("status") in UNFINISHED:
                raise InputError(
                    f"Expected a finished run. Received: {path}, which has no {name}: it is still at work, or was "
                    f"interrupted. If so, {_ways_on(path)}"
                )
            raise InputError(f"Expected a run folder made by tlkit finetune. Received: {path}, which has no {name}.")
    version = _read_state(path / STATE)["version"]
    if version != VERSION:
        raise InputError(f"Expected a run folder of version {VERSION}. Received: {path} of version {version}.")
    return path


def resume_command(path: Path) -> str:
    """Returns the command that goes on with an unfinished run."""
    return f"tlkit finetune --resume {shlex.quote(str(path))}"


def _ways_on(path: Path) -> str:
    """Returns the end of a sentence: what can be done with the run that lies there."""
    remove = f"remove it with: tlkit clean {shlex.quote(str(path))}"
    unfinished = _read_state(path / STATE).get("status") in UNFINISHED
    return f"go on with: {resume_command(path)}, or {remove}" if unfinished else f"or {remove}"


def read_status(path: Path) -> str:
    """Returns what `write_state` has recorded.

    Raises:
        InputError: Nothing can be read.
    """
    return str(_read_state(path / STATE).get("status", ""))


def _read_state(state: Path) -> dict[str, Any]:
    try:
        found = json.loads(state.read_text(encoding="utf-8"))
        return {"version": found["version"], **found}
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"Expected a run folder made by tlkit finetune. Received: {state}, which is damaged. Train again, or "
            "restore it."
        ) from None


def folder_bytes(path: Path) -> int:
    """Returns the size of all files below `path`."""
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())


def read_labels(path: Path) -> tuple[str, ...]:
    """Returns the class names of a run, in the order of the model's outputs."""
    return tuple((path / LABELS).read_text(encoding="utf-8").split("\n")[:-1])


def write_labels(path: Path, class_names: tuple[str, ...]) -> None:
    """Writes one class name a line, in the order of the model's outputs."""
    write_text(path / LABELS, "".join(f"{name}\n" for name in class_names))


def write_bytes(path: str | Path, data: bytes, *, durable: bool = True) -> None:
    """Writes a file atomically: temporary file in the same folder, flushed to disk, renamed.

    Args:
        path: The file.
        data: Its content.
        durable: Whether to wait until it is on disk. Without that a power cut soon after may leave it empty, and
            hundreds of small pictures cost no hundreds of waits.
    """
    with atomic_file(path, durable=durable) as file:
        file.write(data)


def remove_unfinished(path: Path) -> None:
    """Removes what killed processes were writing into a folder that no process works on now."""
    for file in path.rglob(f".*{WRITING}"):
        file.unlink(missing_ok=True)


@contextmanager
def atomic_file(path: str | Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Opens a file that gets its name, and is on disk, when the block ends; where it fails, nothing has changed.

    Args:
        path: The file.
        durable: As for `write_bytes`.
    """
    path = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=WRITING, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes private files; a run folder is meant to be shared.
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text atomically, with line feeds as given on every platform."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Writes JSON atomically, keys in the order given, refusing NaN and infinities."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def safe_cell(text: str) -> str:
    """Returns a CSV cell that no spreadsheet takes for a formula; `plain_cell` gives the text back."""
    return f"'{text}" if text.startswith((*FORMULA_STARTS, "'")) else text


def plain_cell(cell: str) -> str:
    """Returns the text that `safe_cell` made safe."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*FORMULA_STARTS, "'")) else cell
