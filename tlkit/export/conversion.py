"""Running a converter: its chatter kept from the user, its refusals told in one line that names the layer."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import IO

import keras

from tlkit.errors import InputError

# How LiteRT, tf2onnx, ONNX Runtime and OpenVINO name the TensorFlow operations that they do not have.
COMPLAINTS = tuple(
    re.compile(pattern)
    for pattern in (
        r"'tf\.(\w+)' op is neither a custom op nor a flex op",
        r"Tensorflow op \[\S+: (\w+)\] is not supported",
        r"No Op registered for (\w+)",
        r"No conversion rule found for operations: ([\w, ]+)",
        r"Conversion is failed for: ([\w, ]+)",
    )
)
TOLD_CHARACTERS = 200


@contextlib.contextmanager
def converting(model: keras.Model, format_name: str) -> Iterator[None]:
    """Mutes what a converter prints, and turns what it raises into one line.

    Args:
        model: What is converted; its layers are looked for in what the converter says.
        format_name: For the message.

    Raises:
        InputError: The converter refused the model, or there is no room on the disk.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as spoken:
        try:
            with _muted(spoken), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except (InputError, KeyboardInterrupt):
            raise
        except OSError as error:
            raise InputError(f"Expected room for the {format_name} export. Received: {error}.") from error
        except Exception as error:  # Each converter has kinds of its own; all mean that the model cannot be held.
            spoken.seek(0)
            raise InputError(_refusal(model, format_name, f"{error}\n{spoken.read()}")) from error


@contextlib.contextmanager
def _muted(target: IO[str]) -> Iterator[None]:
    """Sends what Python, its loggers and C++ libraries print to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [(number, os.dup(number)) for number in (1, 2) if _is_open(number)]
    try:
        for number, _ in saved:
            os.dup2(target.fileno(), number)
        with contextlib.redirect_stdout(target), contextlib.redirect_stderr(target):
            yield
    finally:
        target.flush()
        for number, copy in saved:
            os.dup2(copy, number)
            os.close(copy)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _refusal(model: keras.Model, format_name: str, told: str) -> str:
    operations = {
        name for pattern in COMPLAINTS for found in pattern.findall(told) for name in re.findall(r"\w+", found)
    }
    expected = f"Expected a model that {format_name} can hold."
    if not operations:
        return f"{expected} Received one that its converter refuses: {' '.join(told.split())[:TOLD_CHARACTERS]}"
    named = " and ".join(sorted(operations))
    found = _part_that_uses(model, operations)
    where = f"{type(found).__name__} {found.name!r}, which needs" if found else "one that needs"
    return f"{expected} Received: {where} the operation {named} that {format_name} lacks. Choose another format."


def _part_that_uses(model: keras.Model, operations: set[str]) -> keras.Operation | None:
    """Returns the first layer or operation of a model that becomes one of these TensorFlow operations."""
    import tensorflow as tf

    signature = tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype)
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(signature).graph
    path = next((node.name for node in graph.get_operations() if node.type in operations), "")
    parts = {part.name: part for part in _all_parts(model)}
    names = [name for name in path.split("/") for name in (name, re.sub(r"_\d+$", "", name)) if name in parts]
    return parts[names[-1]] if names else None


def _all_parts(model: keras.Model) -> Iterator[keras.Operation]:
    for part in model.operations:
        yield part
        if isinstance(part, keras.Model):
            yield from _all_parts(part)
