"""The formats a model can be exported to: what each needs, what it can hold, how it is written and opened."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from tlkit.errors import InputError, unknown_name
from tlkit.export import quantisation, runtimes, writing
from tlkit.export.runtimes import Runner

PRECISIONS = ("float32", "float16", "int8", "bfloat16")
INPUTS = ("resized", "raw")


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: As the user names it.
        file: Name of the model's file or folder.
        packages: The modules it takes beside Keras, each with the package to install.
        write: By precision, writes a float32 model to a path.
        open: Opens what was written in the format's own runtime.
        quantise: Writes a float32 model in 8-bit integers, given a path and pictures for calibration.
        raw: Precisions that can hold the resizing of raw input.
        refused: By precision, why there is no such export.
    """

    name: str
    file: str
    packages: Mapping[str, str]
    write: Mapping[str, Callable[[keras.Model, Path], None]]
    open: Callable[[Path], Runner]
    quantise: Callable[[keras.Model, Path, np.ndarray], None] | None = None
    raw: tuple[str, ...] = ("float32",)
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions that it can be written in."""
        return (*self.write, *(("int8",) if self.quantise else ()))

    def problems(self, precision: str, input_kind: str) -> list[str]:
        """Returns what stands against an export, one line each."""
        found = []
        if precision not in self.precisions:
            reason = self.refused.get(precision, f"which {self.name} is not written in")
            choices = " or ".join(self.precisions)
            found.append(f"Expected precision {choices} for {self.name}. Received: {precision}, {reason}.")
        elif input_kind == "raw" and precision not in self.raw:
            reason = "whose rounding the resizing in the graph would not survive"
            found.append(
                f"Expected precision {' or '.join(self.raw)} for {self.name} with raw input. Received: {precision}, "
                f"{reason}. Use resized input."
            )
        missing = [package for module, package in self.packages.items() if importlib.util.find_spec(module) is None]
        if missing:
            found.append(
                f"Expected the packages {', '.join(missing)} for {self.name}. Received: an environment without. "
                "Install them: pip install 'tlkit[export]'"
            )
        if self.name != "keras" and keras.backend.backend() != "tensorflow":
            found.append(
                f"Expected Keras on TensorFlow to export {self.name}. Received: {keras.backend.backend()}. "
                "Set KERAS_BACKEND=tensorflow."
            )
        return found


FORMATS = {
    found.name: found
    for found in (
        Format("keras", "model.keras", {}, {"float32": writing.write_keras}, runtimes.open_keras),
        Format(
            "savedmodel",
            "model",
            {"tensorflow": "tensorflow"},
            {"float32": writing.write_savedmodel},
            runtimes.open_savedmodel,
        ),
        Format(
            "litert",
            "model.tflite",
            {"ai_edge_litert": "ai-edge-litert", "ai_edge_quantizer": "ai-edge-quantizer"},
            {"float32": writing.write_litert, "float16": writing.write_litert_float16},
            runtimes.open_litert,
            quantisation.quantise_litert,
            raw=("float32", "float16"),
        ),
        Format(
            "onnx",
            "model.onnx",
            {"onnx": "onnx", "tf2onnx": "tf2onnx", "onnxruntime": "onnxruntime"},
            {"float32": writing.write_onnx, "float16": writing.write_onnx_float16},
            runtimes.open_onnx,
            quantisation.quantise_onnx,
            refused={"bfloat16": "which ONNX Runtime does not load"},
        ),
        Format(
            "openvino",
            "model.xml",
            {"openvino": "openvino", "nncf": "nncf"},
            {"float32": writing.write_openvino, "float16": writing.write_openvino_float16},
            runtimes.open_openvino,
            quantisation.quantise_openvino,
            raw=("float32", "float16"),
        ),
    )
}


def choose_formats(names: list[str], precision: str, input_kind: str) -> list[Format]:
    """Returns the formats of these names, each once.

    Raises:
        InputError: A name, the precision or the input is unknown, or an export is not to be had: every problem at once.
    """
    problems = [
        str(unknown_name(kind, received, choices))
        for kind, received, choices in (
            *(("format", name, FORMATS) for name in names),
            ("precision", precision, PRECISIONS),
            ("input", input_kind, INPUTS),
        )
        if received not in choices
    ]
    chosen = [FORMATS[name] for name in dict.fromkeys(names) if name in FORMATS]
    if not problems:
        problems = [problem for found in chosen for problem in found.problems(precision, input_kind)]
    if problems:
        raise InputError("\n".join(problems))
    if not chosen:
        raise InputError(f"Expected at least one format: {', '.join(FORMATS)}. Received none.")
    return chosen
