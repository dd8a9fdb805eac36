"""Forward passes in inference mode, in order, over whatever `keras.Model.fit` takes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import keras
import numpy as np

from tlkit.console import OnProgress
from tlkit.errors import InputError

SMALLEST_BATCH = 16
AHEAD = 2
CHECKED_ROWS = 1024  # Of an array at a time.

T = TypeVar("T")


def prepare_inference(model: keras.Model) -> keras.Model:
    """Chooses how `model` is compiled for forward passes on this machine and returns it.

    XLA makes depthwise convolutions 10 to 15 times slower on CPU under TensorFlow, so it is left off there; JAX and
    PyTorch keep what Keras chooses.
    """
    if keras.backend.backend() == "tensorflow" and not has_accelerator():
        model.jit_compile = False
    return model


def has_accelerator() -> bool:
    """Tells whether Keras sees a GPU or TPU."""
    return any("gpu" in device.lower() or "tpu" in device.lower() for device in keras.distribution.list_devices())


def batches(data: Any, batch_size: int = 32, name: str = "") -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yields (inputs, labels) in order from anything that `keras.Model.fit` takes.

    Args:
        data: A `PyDataset`, a `tf.data.Dataset`, another iterable of batches, or a tuple of arrays `(x, y)`.
        batch_size: Used for arrays only; datasets bring their own batches.
        name: Of the data, for messages, such as `"training"`.

    Raises:
        InputError: Inputs of a dataset hold NaN or infinity, which layers such as ReLU6 would hide.
    """
    if isinstance(data, tuple) and len(data) >= 2 and hasattr(data[0], "shape"):
        for start in range(0, len(data[0]), batch_size):
            yield np.asarray(data[0][start : start + batch_size]), np.asarray(data[1][start : start + batch_size])
        return
    source: Iterable = (data[i] for i in range(len(data))) if isinstance(data, keras.utils.PyDataset) else data
    done = 0
    for batch in source:
        x, y, *_ = (*batch, None) if isinstance(batch, tuple | list) else (batch, None)
        inputs = np.asarray(x)
        check_finite(inputs, f"{name} image".lstrip(), done)
        done += len(inputs)
        yield inputs, None if y is None else np.asarray(y)


def check_finite(array: np.ndarray, name: str, first: int = 0) -> None:
    """Raises InputError where a float array holds NaN or infinity, with the first such row.

    Args:
        array: Of shape (rows, ...).
        name: Of a row, for the message.
        first: Number of the array's first row.
    """
    if array.dtype.kind != "f":
        return
    for start in range(0, len(array), CHECKED_ROWS):
        rows = array[start : start + CHECKED_ROWS]
        wrong = ~np.isfinite(rows.reshape(len(rows), -1).sum(axis=1, dtype="float64"))
        if wrong.any():
            row = first + start + wrong.argmax()
            raise InputError(f"Expected finite numbers. Received: NaN or infinity in {name} {row}.")


def predicted_batches(
    model: keras.Model, data: Any, batch_size: int = 32, on_progress: OnProgress | None = None, name: str = ""
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yields (outputs, labels) of `model` in inference mode, batch by batch, in order.

    Batches are filled up to a multiple of 16, the last one to the size of the first: results are bit-equal at batch
    sizes 16, 32 and 64 but differ in the last bits at odd ones, and a new size would be compiled anew.

    Args:
        model: A model with one input and one output.
        data: Anything `batches` takes.
        batch_size: Used for arrays only.
        on_progress: Called with (batches done, batches in all) where the number of batches is known.
        name: Of the data, for messages.

    Raises:
        InputError: There is no batch, or one holds NaN or infinity.
    """
    prepare_inference(model)
    total = _number_of_batches(data, batch_size)
    full = 0
    source = batches(data, batch_size, name)
    # A data set of ours can be read from any thread; others may be bound to this one.
    if isinstance(data, keras.utils.PyDataset):
        source = read_ahead(source)
    for done, (x, y) in enumerate(source, start=1):
        full = max(full, -(-len(x) // SMALLEST_BATCH) * SMALLEST_BATCH)
        yield np.asarray(model.predict_on_batch(padded(x, full)))[: len(x)], y
        if on_progress and total:
            on_progress(done, total)


def read_ahead(source: Iterable[T]) -> Iterator[T]:
    """Yields what `source` yields, which is read by a thread, two items ahead: reading and computing overlap."""
    end = object()
    iterator = iter(source)
    with ThreadPoolExecutor(1, "tlkit-read-ahead") as thread:
        pending = deque(thread.submit(next, iterator, end) for _ in range(AHEAD))
        while (item := pending.popleft().result()) is not end:
            pending.append(thread.submit(next, iterator, end))
            yield item  # type: ignore[misc]


def predict_in_order(
    model: keras.Model, data: Any, batch_size: int = 32, on_progress: OnProgress | None = None, name: str = ""
) -> tuple[np.ndarray, np.ndarray | None]:
    """Runs `model` over `data` as `predicted_batches` does and returns `(outputs, labels)`, labels None without any."""
    outputs, labels = [], []
    for output, y in predicted_batches(model, data, batch_size, on_progress, name):
        outputs.append(output)
        if y is not None:
            labels.append(y)
    if not outputs:
        raise InputError(f"Expected {f'{name} data'.lstrip()} with at least one batch. Received: none.")
    return np.concatenate(outputs), np.concatenate(labels) if labels else None


def predict_with_features(
    model: keras.Model, layer_name: str, data: Any, on_progress: OnProgress | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Runs a model over `data` once, for what it says and for what one of its layers gives on the way.

    Args:
        model: A functional model with one input, and one output of shape (n, outputs).
        layer_name: A layer.
        data: Anything `batches` takes.
        on_progress: As for `predicted_batches`.

    Returns:
        `(outputs, features)`, float32 (n, outputs) and (n, features).
    """
    tensors = [model.outputs[0], model.get_layer(layer_name).output]
    both = keras.Model(model.inputs[0], _SideBySide(name="tlkit_side_by_side")(tensors))
    found, _ = predict_in_order(both, data, on_progress=on_progress)
    width = model.output_shape[1]
    return found[:, :width], found[:, width:]


class _SideBySide(keras.layers.Layer):
    """Flattens its inputs and joins them: one layer with a name of its own, for Keras refuses a name met twice."""

    def call(self, inputs: list[Any]) -> Any:
        flat = [keras.ops.reshape(tensor, (-1, math.prod(tensor.shape[1:]))) for tensor in inputs]
        return keras.ops.concatenate([keras.ops.cast(tensor, "float32") for tensor in flat], axis=1)


def _number_of_batches(data: Any, batch_size: int) -> int:
    if isinstance(data, tuple):
        return -(-len(data[0]) // batch_size)
    try:
        return len(data)
    except TypeError:
        return 0


def padded(x: np.ndarray, size: int) -> np.ndarray:
    """Returns `x` with its last row repeated up to `size` rows."""
    if len(x) == size:
        return x
    return np.concatenate([x, np.repeat(x[-1:], size - len(x), axis=0)])
