"""Head trials: convex heads on features that lie in memory, in a process that imports no backend.

The process is fed one trial a line, as JSON, and answers each in a line; see `head_worker.HeadWorker`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from scipy.special import softmax

from tlkit.environment import peak_memory_bytes
from tlkit.errors import InputError
from tlkit.logistic import Rotated, rotate
from tlkit.probe import HeadOptions, fit_head
from tlkit.search.objectives import measure

PARTS = ("train", "validation")
BACKENDS = ("keras", "tensorflow", "jax", "torch")


@lru_cache(maxsize=2)
def _parts(folder: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Features (images, average then maximum) and labels of both parts."""
    path = Path(folder)
    return {part: (np.load(path / f"{part}.npy"), np.load(path / f"{part}-labels.npy")) for part in PARTS}


def pooled(features: np.ndarray, pooling: str) -> np.ndarray:
    """Returns the features of one pooling, of those pooled both ways."""
    half = features.shape[1] // 2
    return {"avg": features[:, :half], "max": features[:, half:], "both": features}[pooling]


@lru_cache(maxsize=3)
def _rotated(folder: str, pooling: str) -> Rotated:
    return rotate(pooled(_parts(folder)["train"][0], pooling))


def fit_trial(task: dict[str, Any]) -> dict[str, Any]:
    """Runs one trial.

    Args:
        task: `features` (folder), `pooling`, `head`, `penalty`, `balance`, `classes`, and `probabilities`, the file
            for those of the validation images.

    Returns:
        `metrics`, `path` (a row for each penalty tried) and `seconds`.
    """
    began = time.monotonic()
    (train, labels), (validation, truth) = (_parts(task["features"])[part] for part in PARTS)
    seen = pooled(validation, task["pooling"])
    probe = fit_head(
        pooled(train, task["pooling"]),
        labels,
        seen,
        truth,
        num_classes=task["classes"],
        wanted=HeadOptions(task["head"], task["penalty"], task["balance"]),
        rotated=_rotated(task["features"], task["pooling"]),
    )
    probabilities = softmax(seen @ probe.kernel + probe.bias, axis=1).astype("float32")
    np.save(task["probabilities"], probabilities, allow_pickle=False)
    path = [vars(point) for point in probe.path]
    return {"metrics": measure(truth, probabilities), "path": path, "seconds": time.monotonic() - began}


def serve(lines: TextIO, answers: TextIO) -> None:
    """Answers trials until there are no more lines."""
    for line in lines:
        try:
            answer = fit_trial(json.loads(line))
        except InputError as error:
            answer = {"reason": "input", "message": str(error)}
        except MemoryError:
            answer = {"reason": "out of memory", "message": "The head does not fit in memory."}
        answer |= {"peak_memory_bytes": peak_memory_bytes(), "backends": sorted({*BACKENDS} & {*sys.modules})}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Serves standard input and output, which nothing else may write to."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, answers)
