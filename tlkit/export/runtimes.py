"""Each format in its own runtime: a function from pixels to probabilities."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tlkit.features import prepare_inference
from tlkit.prediction import load_model_file

Runner = Callable[[np.ndarray], np.ndarray]
"""Takes float32 (n, height, width, 3), values 0 to 255, and returns float32 (n, classes)."""

OPENVINO_CONFIG = {"INFERENCE_PRECISION_HINT": "f32"}  # The default computes in bfloat16 where the processor can.


def run_model(model: keras.Model) -> Runner:
    """Runs a model that is in memory."""
    prepare_inference(model)
    return lambda pixels: np.asarray(model.predict_on_batch(pixels))


def open_keras(path: Path) -> Runner:
    """Opens a `.keras` file as a stranger would: with Keras alone."""
    return run_model(load_model_file(path))


def open_savedmodel(path: Path) -> Runner:
    """Opens a SavedModel folder in TensorFlow."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # Its variables live as long as it does.
    return lambda pixels: loaded.serve(tf.constant(pixels)).numpy()


def open_litert(path: Path) -> Runner:
    """Opens a `.tflite` file in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=os.cpu_count())
    taken = interpreter.get_input_details()[0]["index"]
    given = interpreter.get_output_details()[0]["index"]
    shape: tuple[int, ...] = ()

    def run(pixels: np.ndarray) -> np.ndarray:
        nonlocal shape
        if pixels.shape != shape:
            interpreter.resize_tensor_input(taken, pixels.shape)
            interpreter.allocate_tensors()
            shape = pixels.shape
        interpreter.set_tensor(taken, pixels)
        interpreter.invoke()
        return interpreter.get_tensor(given)

    return run


def open_onnx(path: Path) -> Runner:
    """Opens an `.onnx` file in ONNX Runtime, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pixels: session.run(None, {name: pixels})[0]


def open_openvino(path: Path) -> Runner:
    """Opens an OpenVINO model, on the CPU and in float32."""
    import openvino

    compiled = openvino.compile_model(path, "CPU", OPENVINO_CONFIG)
    return lambda pixels: compiled(pixels)[0]
