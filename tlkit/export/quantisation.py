"""Models in 8-bit integers, quantised after training by each format's own tool on training pictures.

The pooling and the head stay in float: a head that was fitted as a convex problem weighs features of very different
sizes, and with eight bits for all of them the small ones are lost. On handwritten digits (EfficientNet-Lite0, 96 px,
frozen) accuracy fell from 94.8 to 45 % in all three formats with an 8-bit head, and to 93.3 % or better without.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit.export.writing import write_litert, write_onnx, write_openvino
from tlkit.graph import feature_layer, layers_after

CALIBRATION_IMAGES = 200
"""Pictures of the training part over which the range of each activation is measured."""


def layers_in_float(model: keras.Model) -> list[str]:
    """Names the layers that are not quantised: the pooling and what follows.

    Raises:
        InputError: The model has no pooling before its head.
    """
    features = model.get_layer(feature_layer(model))
    pooled = [features]
    if isinstance(features, keras.layers.Concatenate):  # Of more than one pooling.
        pooled += [tensor._keras_history.operation for tensor in features.input]
    return [layer.name for layer in (*pooled, *layers_after(model, features.name))]


def _pattern(names: Sequence[str]) -> str:
    """Returns a pattern for what converters make of layers' names: `model_1/head_1/MatMul`."""
    return rf"(^|/)({'|'.join(map(re.escape, names))})(_\d+)?(/|$)"


def quantise_litert(model: keras.Model, path: Path, images: np.ndarray) -> None:
    """Writes a `.tflite` file with float32 pixels and probabilities and integers between them.

    Args:
        model: Computes in float32.
        path: The file.
        images: For calibration, float32 (n, height, width, 3).
    """
    from ai_edge_quantizer import qtyping, quantizer, recipe

    whole = path.with_name(f"float32-{path.name}")
    write_litert(model, whole)
    tool = quantizer.Quantizer(str(whole), recipe.static_wi8_ai8())
    operations = qtyping.TFLOperationName
    for operation in (operations.INPUT, operations.OUTPUT, operations.SOFTMAX):
        tool.update_quantization_recipe(".*", operation, algorithm_key="no_quantize")
    kept = f".*{_pattern(layers_in_float(model))}.*"
    tool.update_quantization_recipe(kept, operations.ALL_SUPPORTED, algorithm_key="no_quantize")
    samples = [{model.inputs[0].name: image[None]} for image in images]
    tool.quantize(tool.calibrate({"serving_default": samples})).export_model(str(path))
    whole.unlink()


def quantise_onnx(model: keras.Model, path: Path, images: np.ndarray) -> None:
    """Writes an `.onnx` file with quantised convolutions, weights by channel; arguments as in `quantise_litert`."""
    import onnx
    from onnxruntime.quantization import QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    whole, prepared = (path.with_name(f"{stage}-{path.name}") for stage in ("float32", "prepared"))
    write_onnx(model, whole)
    quant_pre_process(whole, prepared, skip_symbolic_shape=True)  # The symbolic pass would need sympy.
    pattern = re.compile(_pattern(layers_in_float(model)))
    nodes = onnx.load(prepared).graph.node
    kept = [node.name for node in nodes if any(pattern.search(name) for name in (node.name, *node.output))]
    reader = _onnx_reader(model.inputs[0].name, images)
    quantize_static(prepared, path, reader, QuantFormat.QDQ, per_channel=True, nodes_to_exclude=kept)
    whole.unlink()
    prepared.unlink()


def _onnx_reader(name: str, images: np.ndarray) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        """Gives one picture at a time."""

        def __init__(self) -> None:
            self.remaining = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.remaining, None)
            return None if image is None else {name: image[None]}

    return Reader()


def quantise_openvino(model: keras.Model, path: Path, images: np.ndarray) -> None:
    """Writes an OpenVINO model quantised by NNCF; arguments as in `quantise_litert`."""
    import logging

    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    whole = path.with_name(f"float32-{path.name}")
    write_openvino(model, whole)
    read = openvino.Core().read_model(whole)
    pattern = re.compile(_pattern(layers_in_float(model)))
    operations = [node for node in read.get_ordered_ops() if node.get_type_name() not in ("Constant", "Result")]
    kept = [name for name in (node.get_friendly_name() for node in operations) if pattern.search(name)]
    made = nncf.quantize(
        read,
        nncf.Dataset([image[None] for image in images]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(names=kept, validate=False),
    )
    del read
    openvino.save_model(made, path, compress_to_fp16=False)
    whole.unlink()
    whole.with_suffix(".bin").unlink()
