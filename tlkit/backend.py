"""Starting Keras: which backend, and without its chatter."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tlkit.allocation import keep_freed_memory
from tlkit.errors import InputError

BACKENDS = ("tensorflow", "jax", "torch")


def choose_backend() -> None:
    """Leaves a choice of backend that can be imported alone; else takes the first of the three that is installed.

    Keras reads `KERAS_BACKEND`, then `keras.json`, which it writes itself and where TensorFlow stands by default, also
    where it is not installed.
    """
    if "KERAS_BACKEND" in os.environ or find_spec(_configured_backend()):
        return
    installed = next((name for name in BACKENDS if find_spec(name)), None)
    if installed is not None:
        os.environ["KERAS_BACKEND"] = installed


def _configured_backend() -> str:
    file = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras.json"
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["backend"])
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow"


def start_keras(compute: bool = True) -> None:
    """Imports Keras and runs a first operation, keeping what the backend prints meanwhile out of sight.

    TensorFlow writes to standard error from C++ before any of its log levels take effect, and only once something is
    computed. What was written is shown after all where starting fails.

    Args:
        compute: Whether to run that operation, which takes hold of an accelerator.

    Raises:
        InputError: No backend is installed.
    """
    keep_freed_memory()
    if "keras" not in sys.modules:
        choose_backend()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _muted_standard_error():
        try:
            import keras
        except ModuleNotFoundError as error:
            raise InputError(
                f"Expected a backend of Keras: tensorflow, jax or torch. Received none that can be imported ({error}). "
                "Install one: pip install tensorflow"
            ) from error
        if compute:
            keras.ops.convert_to_numpy(keras.ops.zeros(1) + 1)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # Its advice on retracing is for authors of loops.


@contextmanager
def _muted_standard_error() -> Iterator[None]:
    """Sends file descriptor 2 to a temporary file, which is shown where the block fails."""
    try:
        saved = os.dup(2)
    except OSError:  # No standard error at all, as under some services.
        yield
        return
    with tempfile.TemporaryFile() as quiet:
        sys.stderr.flush()
        os.dup2(quiet.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            if failed:
                quiet.seek(0)
                sys.stderr.write(quiet.read().decode("utf-8", "replace"))
