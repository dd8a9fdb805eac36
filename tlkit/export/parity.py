"""How far an exported model agrees with the model it was made from, on real pictures, in its own runtime."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tlkit.export.runtimes import Runner
from tlkit.export.sample import Sample

FLOAT32_LIMIT = 1e-4
"""In float32 no probability may differ by more: enough for another order of summation, not for another graph."""
BATCHES = (1, 32)
LEAST_REPEATS, LEAST_SECONDS = 5, 0.2  # Of each timing, after one unmeasured run.


class ParityError(RuntimeError):
    """A float32 export does not give the answers of the model it was made from."""


@dataclass(frozen=True)
class Agreement:
    """Two sets of probabilities of the same pictures compared.

    Attributes:
        top1_agreement: Share of the pictures with the same most probable class, 0 to 1.
        max_difference: Largest difference of a probability.
        mean_difference: Mean absolute difference.
        accuracy: Of the export, 0 to 1.
        accuracy_drop: Accuracy of the original less that of the export.
    """

    top1_agreement: float
    max_difference: float
    mean_difference: float
    accuracy: float
    accuracy_drop: float


@dataclass(frozen=True)
class Parity:
    """One export measured.

    Attributes:
        name: Folder of the export under `export`.
        format: Such as `"onnx"`.
        precision: Such as `"float32"`.
        input: `"resized"` or `"raw"`.
        temperature: That the logits are divided by; None where they are not.
        bytes: Size on disk of the model.
        agreement: With the same graph in Keras.
        store_agreement: With raw input, the share of the pictures whose most probable class is that of the run's own
            path of decoding and resizing; None with resized input.
        milliseconds: Median time of one call, by batch size.
    """

    name: str
    format: str
    precision: str
    input: str
    temperature: float | None
    bytes: int
    agreement: Agreement
    store_agreement: float | None
    milliseconds: dict[int, float]

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as they stand in parity.json."""
        fields = asdict(self)
        milliseconds = {f"milliseconds_batch_{batch}": value for batch, value in fields.pop("milliseconds").items()}
        return fields | fields.pop("agreement") | milliseconds

    def check(self) -> None:
        """Raises ParityError where a float32 export differs from the same graph in Keras."""
        found = self.agreement
        if self.precision != "float32":
            return
        if found.top1_agreement < 1 or not found.max_difference <= FLOAT32_LIMIT:
            raise ParityError(
                f"the {self.name} export gives other answers than the model in Keras: top-1 agreement "
                f"{found.top1_agreement:.2%}, largest difference {found.max_difference:.2g} (expected 100 % and at "
                f"most {FLOAT32_LIMIT:g}); nothing of it was kept"
            )


def compare(reference: np.ndarray, probabilities: np.ndarray, labels: np.ndarray) -> Agreement:
    """Compares probabilities, float (n, classes), with those of the original; labels int (n,)."""
    own, original = probabilities.argmax(axis=1), reference.argmax(axis=1)
    difference = np.abs(probabilities.astype(np.float64) - reference)
    accuracy = float((own == labels).mean())
    return Agreement(
        top1_agreement=float((own == original).mean()),
        max_difference=float(difference.max()) if np.isfinite(probabilities).all() else float("inf"),
        mean_difference=float(difference.mean()) if np.isfinite(probabilities).all() else float("inf"),
        accuracy=accuracy,
        accuracy_drop=float((original == labels).mean()) - accuracy,
    )


def run_sample(run: Runner, sample: Sample, input_kind: str) -> np.ndarray:
    """Returns the probabilities of all pictures, float32 (n, classes)."""
    if input_kind == "raw":  # One by one: they differ in size.
        return np.concatenate([np.array(run(picture)) for picture in sample.decoded()])
    size = BATCHES[-1]
    starts = range(0, len(sample), size)
    return np.concatenate([np.array(run(sample.pixels[start : start + size].astype("float32"))) for start in starts])


def measure_milliseconds(run: Runner, sample: Sample, input_kind: str) -> dict[int, float]:
    """Returns the median time of one call in milliseconds, by batch size."""
    one = next(sample.decoded()) if input_kind == "raw" else sample.pixels[:1].astype("float32")
    return {batch: _median_milliseconds(run, np.repeat(one, batch, axis=0)) for batch in BATCHES}


def _median_milliseconds(run: Runner, pixels: np.ndarray) -> float:
    run(pixels)
    times: list[float] = []
    while len(times) < LEAST_REPEATS or sum(times) < LEAST_SECONDS:
        start = time.perf_counter()
        run(pixels)
        times.append(time.perf_counter() - start)
    return round(1000 * statistics.median(times), 3)
