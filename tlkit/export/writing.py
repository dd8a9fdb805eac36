"""Writing a float32 model in each format, by Keras's own exporters where there is one."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras

from tlkit.export.onnx_operations import in_onnx_operations


def write_keras(model: keras.Model, path: Path) -> None:
    """Writes a `.keras` file, which loads without tlkit."""
    model.save(path)


def write_savedmodel(model: keras.Model, path: Path) -> None:
    """Writes a TensorFlow SavedModel folder with the endpoint `serve`."""
    model.export(str(path), format="tf_saved_model", verbose=False)


def write_litert(model: keras.Model, path: Path) -> None:
    """Writes a `.tflite` file that needs LiteRT's built-in operations only."""
    import tensorflow as tf

    builtin = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    model.export(str(path), format="litert", verbose=False, target_spec=builtin)


def write_litert_float16(model: keras.Model, path: Path) -> None:
    """Writes a `.tflite` file whose weights are float16; LiteRT computes in float32 on a CPU, in float16 on a GPU."""
    import tensorflow as tf

    half = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS], "supported_types": [tf.float16]}
    optimizations = [tf.lite.Optimize.DEFAULT]
    model.export(str(path), format="litert", verbose=False, target_spec=half, optimizations=optimizations)


def write_onnx(model: keras.Model, path: Path) -> None:
    """Writes an `.onnx` file, and opens it: the converter itself lets operations pass that no runtime knows."""
    from tlkit.export.runtimes import open_onnx

    model = in_onnx_operations(model)
    model.export(str(path), format="onnx", verbose=False, input_signature=model.inputs)
    open_onnx(path)


def write_onnx_float16(model: keras.Model, path: Path) -> None:
    """Writes an `.onnx` file that computes in float16 between float32 pixels and float32 probabilities."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    write_onnx(model, path)
    onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), path)


def write_openvino(model: keras.Model, path: Path) -> None:
    """Writes an OpenVINO model: an `.xml` file and a `.bin` file."""
    model.export(str(path), format="openvino", verbose=False)


def write_openvino_float16(model: keras.Model, path: Path) -> None:
    """Writes an OpenVINO model whose weights are float16."""
    import openvino

    whole = path.parent / "float32"
    whole.mkdir()
    write_openvino(model, whole / path.name)
    openvino.save_model(openvino.Core().read_model(whole / path.name), path, compress_to_fp16=True)
    shutil.rmtree(whole)
