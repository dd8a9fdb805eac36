"""How much memory a training step takes, told beforehand, and how much there is."""

from __future__ import annotations

from pathlib import Path

import keras

BYTES = 4  # Of a float32.
# Copies of each trained weight while it trains: itself, gradient, two moments; the first, the best, and the last good
# weights with their moments.
COPIES_OF_WEIGHTS = 9
# Bytes a step takes an image over those of all layers' outputs, some of which are never kept: 0.42 was measured on
# efficientnet_lite0 and 0.30 on resnet50 (96 px, Keras 3.15, TensorFlow 2.21, `benchmarks/memory.py`); twice as much
# is reckoned with, for networks that are not measured.
OVERHEAD = 0.9
SHARE = 0.6  # Of the free memory: the rest is for reading data, and for other programs.


def available_bytes() -> int | None:
    """Returns the memory that this process may still take on the processor's side; None where that cannot be told."""
    limits = [_meminfo(), left_by_control_group()]
    return min((limit for limit in limits if limit is not None), default=None)


def _meminfo() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def left_by_control_group(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Returns what a container's limit leaves, in bytes; None where there is none."""
    try:
        left = int((folder / "memory.max").read_text()) - int((folder / "memory.current").read_text())
        counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return left + int(counts.get("inactive_file", 0))  # Of files that were read: given up when it is wanted.
    except (OSError, ValueError):  # No such file, or "max": no limit.
        return None


def step_bytes(part: keras.Model, batch_size: int) -> int:
    """Estimates the memory of one training step of a model or of a part of one.

    Args:
        part: Its `trainable` flags count: weights that do not train need no gradient.
        batch_size: Images in the step.
    """
    weights = sum(_elements(variable.shape) for variable in part.trainable_variables)
    outputs = 0
    for operation in part.operations:
        tensors = operation.output if isinstance(operation.output, list | tuple) else [operation.output]
        outputs += sum(_elements(tensor.shape[1:]) for tensor in tensors)
    return round(BYTES * (COPIES_OF_WEIGHTS * weights + OVERHEAD * outputs * batch_size))


def _elements(shape: tuple) -> int:
    product = 1
    for side in shape:
        product *= side or 1
    return product


def fitting_batch_size(part: keras.Model, wanted: int, available: int) -> int:
    """Returns the largest of wanted, wanted / 2, wanted / 4, ... whose step fits in the memory; at least 1.

    Args:
        part: The part that trains.
        wanted: Images in a step where memory is no matter.
        available: Bytes.
    """
    size = wanted
    while size > 1 and step_bytes(part, size) > SHARE * available:
        size = -(-size // 2)
    return size


def is_out_of_memory(error: BaseException) -> bool:
    """Tells whether an error of TensorFlow, JAX or PyTorch says that the device has no memory left."""
    name, text = type(error).__name__, str(error)
    return name in ("ResourceExhaustedError", "OutOfMemoryError") or "RESOURCE_EXHAUSTED" in text or "OOM when" in text
