"""OpenVINO as an engine on processors: a network exported by Keras's exporter, several batches in flight."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit import cache
from tlkit.engines.keras_engine import parts_of
from tlkit.errors import InputError
from tlkit.export.conversion import converting
from tlkit.export.portable import in_portable_operations
from tlkit.export.writing import write_openvino
from tlkit.features import padded
from tlkit.fingerprints import graph_digests

KIND, FILE = "engines", "network.xml"
BATCH_SIZE = 16
PRECISIONS = {"openvino": "f32", "openvino-bfloat16": "bf16"}  # OpenVINO's own default depends on the processor.


def available() -> bool:
    """Tells whether OpenVINO is installed and Keras runs on the backend that it is exported from: TensorFlow."""
    return keras.backend.backend() == "tensorflow" and find_spec("openvino") is not None


def require_available(name: str) -> None:
    """Raises InputError where `available` is false."""
    if not available():
        raise InputError(
            f"Expected OpenVINO and Keras on TensorFlow for engine={name!r}. Received: an installation without them. "
            "Install them (pip install 'tlkit[fast]'), or choose engine keras."
        )


class OpenVinoEngine:
    """Runs an exported model with as many batches in flight as the processor has room for.

    Args:
        model: With one input and one output; exported once, the export is kept in the cache.
        name: `"openvino"` computes in float32, `"openvino-bfloat16"` in bfloat16.
        dtype: Type of the arrays that will be given: uint8 for pixels, float32 for rows.
        batch_size: Images a batch.

    Raises:
        InputError: OpenVINO is not there, or cannot hold the model.
    """

    def __init__(self, model: keras.Model, name: str, dtype: np.dtype, batch_size: int = BATCH_SIZE):
        require_available(name)
        self.name, self.batch_size = name, batch_size
        with exported(model) as path:
            self._compiled = _compile(path, PRECISIONS[name], np.dtype(dtype), batch_size)
        count = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._idle = [self._compiled.create_infer_request() for _ in range(count + 1)]  # One is filled meanwhile.

    def run(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields what the model makes of each block, in order: float32 (n, ...)."""
        flying: deque[tuple[Any, int, bool]] = deque()
        landed: list[np.ndarray] = []

        def land() -> np.ndarray | None:
            request, count, ends_block = flying.popleft()
            request.wait()
            landed.append(np.array(request.get_output_tensor().data[:count], np.float32))
            self._idle.append(request)
            return _joined(landed) if ends_block else None

        try:
            for block in blocks:
                parts = list(parts_of(block, self.batch_size))
                for number, part in enumerate(parts, start=1):
                    if not self._idle and (rows := land()) is not None:
                        yield rows
                    request = self._idle.pop()
                    request.start_async([padded(part, self.batch_size)])
                    flying.append((request, len(part), number == len(parts)))
            while flying:
                if (rows := land()) is not None:
                    yield rows
        finally:
            while flying:  # Where the caller stopped early.
                land()


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    rows = np.concatenate(parts)
    parts.clear()
    return rows


@contextmanager
def exported(model: keras.Model) -> Iterator[Path]:
    """Gives the file of a model exported to OpenVINO: from the cache, or where that has no room, a temporary one.

    Raises:
        InputError: OpenVINO cannot hold the model.
    """
    key = graph_digests(model)[model.outputs[0]._keras_history.operation.name]
    size = 4 * model.count_params() + 2**20
    try:
        while (hold := cache.hold(KIND, key)) is None:
            with cache.build(KIND, key, size, details={"model": model.name, "format": "openvino"}) as folder:
                if cache.find(KIND, key) is None:
                    _export(model, folder / FILE)
        with hold as folder:
            yield folder / FILE
    except cache.CacheError:
        with tempfile.TemporaryDirectory() as folder:
            _export(model, Path(folder) / FILE)
            yield Path(folder) / FILE


def _export(model: keras.Model, path: Path) -> None:
    with converting(model, "OpenVINO"):
        write_openvino(in_portable_operations(model), path)


def _compile(path: Path, precision: str, dtype: np.dtype, batch_size: int) -> Any:
    import openvino
    from openvino.preprocess import PrePostProcessor

    core = openvino.Core()
    network = core.read_model(path)
    network.reshape([batch_size, *(axis.get_length() for axis in network.input().get_partial_shape()[1:])])
    steps = PrePostProcessor(network)
    steps.input().tensor().set_element_type(openvino.Type(dtype))
    config = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "THROUGHPUT"}
    return core.compile_model(steps.build(), "CPU", config)
