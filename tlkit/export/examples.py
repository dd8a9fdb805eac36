"""The example beside every export: a script of ten lines or so that needs the format's own runtime and Pillow."""

from __future__ import annotations

from tlkit.data.transform import Transform

RUNTIMES = {
    "keras": (
        ["import keras"],
        [
            'model = keras.saving.load_model(here / "model.keras", compile=False)',
            "probabilities = model.predict(pixels, verbose=0)[0]",
        ],
    ),
    "savedmodel": (
        ["import tensorflow as tf"],
        ['model = tf.saved_model.load(str(here / "model"))', "probabilities = model.serve(pixels).numpy()[0]"],
    ),
    "litert": (
        ["from ai_edge_litert.interpreter import Interpreter"],
        [
            'run = Interpreter(str(here / "model.tflite")).get_signature_runner()',
            'probabilities = run(image=pixels)["output_0"][0]',
        ],
    ),
    "onnx": (
        ["import onnxruntime"],
        [
            'session = onnxruntime.InferenceSession(here / "model.onnx")',
            'probabilities = session.run(None, {"image": pixels})[0][0]',
        ],
    ),
    "openvino": (
        ["import openvino"],
        [
            'model = openvino.compile_model(here / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})',
            "probabilities = model(pixels)[0][0]",
        ],
    ),
}


def example_script(format_name: str, transform: Transform, input_kind: str) -> str:
    """Returns the text of a script that tells the class of a picture with an exported model.

    Args:
        format_name: Name of the format.
        transform: How pictures become pixels.
        input_kind: `"resized"` puts the resizing into the script; with `"raw"` it is in the graph.
    """
    imports, runs = RUNTIMES[format_name]
    lines = [
        '"""Tells the class of a picture: python example.py picture.jpg"""',
        "",
        "import sys",
        "from pathlib import Path",
        "",
        "import numpy as np",
        "from PIL import Image, ImageOps",
        *imports,
        "",
        "here = Path(__file__).parent",
        'picture = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB")',
        *(_resizing(transform) if input_kind == "resized" else []),
        'pixels = np.asarray(picture, "float32")[None]',
        *runs,
        'label = (here / "labels.txt").read_text("utf-8").split("\\n")[probabilities.argmax()]',
        'print(label, f"{probabilities.max():.6f}")',
    ]
    return "\n".join(lines) + "\n"


def _resizing(transform: Transform) -> list[str]:
    """Returns the lines that resize as the run did; see `Transform`."""
    size, store = transform.image_size, transform.store_size
    margin = (store - size) // 2
    how = "Image.Resampling.BILINEAR"
    if transform.geometry == "pad":
        return [
            f"scale = {size} / max(picture.size)",
            f"small = picture.resize([max(round(side * scale), 1) for side in picture.size], {how}, reducing_gap=3.0)",
            f'picture = Image.new("RGB", ({size}, {size}))',
            f"picture.paste(small, tuple(({store} - side) // 2 - {margin} for side in small.size))",
        ]
    lines = []
    box = "None"
    if transform.geometry == "crop":
        box = "box"
        lines = [
            "(width, height), side = picture.size, min(picture.size)",
            "box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)",
        ]
    lines.append(f"picture = picture.resize(({store}, {store}), {how}, {box}, reducing_gap=3.0)")
    if margin:
        lines.append(f"picture = picture.crop(({margin}, {margin}, {margin + size}, {margin + size}))")
    return lines
