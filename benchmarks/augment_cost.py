"""What each layer and preset of augmentation takes of a training step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from augment_figures import BATCH, IMAGE, measured

STORED = 258  # Side of the stored pictures.
SECONDS = 1.5  # Of each timing.


def photographs(count: int, side: int) -> np.ndarray:
    """Parts of two photographs, uint8 (count, side, side, 3)."""
    from sklearn.datasets import load_sample_images

    pictures = load_sample_images().images
    rng = np.random.default_rng(0)
    parts = []
    for number in range(count):
        top, left = (int(rng.integers(0, length - side)) for length in pictures[0].shape[:2])
        parts.append(pictures[number % 2][top : top + side, left : left + side])
    return np.stack(parts)


def milliseconds(call: Callable[[], object]) -> float:
    """Returns the smallest time of a call, after two that are not counted: others use this machine, too."""
    call()
    call()
    start, taken = time.perf_counter(), []
    while len(taken) < 5 or time.perf_counter() - start < SECONDS:
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return 1000 * min(taken)


def cost_of(layers: list, stored: int = IMAGE) -> float:
    """Returns the milliseconds an image that layers take in an augmented data set, draws and rounding included."""
    from tlkit.augment import ArrayStore, AugmentedDataset
    from tlkit.data.loader import ImageDataset

    class Store(ArrayStore):
        def images(self, rows: np.ndarray) -> np.ndarray:
            edge = (stored - IMAGE) // 2
            return self.pixels(rows)[:, edge : edge + IMAGE, edge : edge + IMAGE]

    data = ImageDataset(Store(photographs(BATCH, stored)), np.arange(BATCH), np.arange(BATCH) % 10, BATCH)
    augmented = AugmentedDataset(data, layers)
    return milliseconds(lambda: augmented[0]) / BATCH


def our_layers() -> dict[str, Callable[[], tuple[list, int]]]:
    """Our layers and presets, by name: how to make them, and the side of the pictures that they get."""
    from tlkit.augment import CutMix, MixUp, RandomColour, RandomErasing, RandomView, TrivialAugment, preset

    single = {
        "nothing (draws, rounding)": lambda: ([], IMAGE),
        "RandomView, crop and flip": lambda: ([RandomView(IMAGE)], STORED),
        "RandomView, resized crop and flip": lambda: ([RandomView(IMAGE, (0.35, 1))], STORED),
        "RandomView, resized crop, flip, rotation": lambda: ([RandomView(IMAGE, (0.35, 1), rotation=15)], STORED),
        "RandomColour": lambda: ([RandomColour()], IMAGE),
        "RandomColour with hue": lambda: ([RandomColour(hue=0.1)], IMAGE),
        "TrivialAugment": lambda: ([TrivialAugment()], IMAGE),
        "RandomErasing": lambda: ([RandomErasing()], IMAGE),
        "MixUp": lambda: ([MixUp(10)], IMAGE),
        "CutMix": lambda: ([CutMix(10)], IMAGE),
    }
    presets = {
        f"preset {name}": lambda name=name: (preset(name, IMAGE, num_classes=10), STORED)
        for name in ("light", "standard", "strong")
    }
    return single | presets


def keras_layers() -> dict[str, Callable[[], Any]]:
    """Keras's own layers, at amounts like ours."""
    from keras import layers

    return {
        "RandomFlip": lambda: layers.RandomFlip("horizontal"),
        "RandomCrop": lambda: layers.RandomCrop(IMAGE, IMAGE),
        "RandomTranslation": lambda: layers.RandomTranslation(0.1, 0.1),
        "RandomRotation": lambda: layers.RandomRotation(0.05),
        "RandomZoom": lambda: layers.RandomZoom(0.3),
        "RandomShear": lambda: layers.RandomShear(0.2, 0.2),
        "RandomPerspective": lambda: layers.RandomPerspective(1.0, 0.3),
        "RandomBrightness": lambda: layers.RandomBrightness(0.2),
        "RandomContrast": lambda: layers.RandomContrast(0.2),
        "RandomSaturation": lambda: layers.RandomSaturation(0.2),
        "RandomHue": lambda: layers.RandomHue(0.1),
        "RandomColorJitter": lambda: layers.RandomColorJitter((0, 255), 0.2, 0.2, 0.2, 0.1),
        "RandomColorDegeneration": lambda: layers.RandomColorDegeneration(0.2),
        "RandomGrayscale": lambda: layers.RandomGrayscale(0.5),
        "RandomInvert": lambda: layers.RandomInvert(0.5),
        "RandomPosterization": lambda: layers.RandomPosterization(4),
        "RandomSharpness": lambda: layers.RandomSharpness(0.5),
        "RandomGaussianBlur": lambda: layers.RandomGaussianBlur(0.5),
        "RandomElasticTransform": lambda: layers.RandomElasticTransform(0.5),
        "RandomErasing": lambda: layers.RandomErasing(0.5),
        "Solarization": lambda: layers.Solarization(0.2, 0.5),
        "AutoContrast": lambda: layers.AutoContrast(),
        "Equalization": lambda: layers.Equalization(),
        "RandAugment": lambda: layers.RandAugment(),
        "AugMix": lambda: layers.AugMix(),
        "MixUp": lambda: layers.MixUp(),
        "CutMix": lambda: layers.CutMix(),
    }


def training_step() -> float:
    """Returns the milliseconds an image of a training step of all of MobileNetV2, at 224 pixels."""
    import keras

    from tlkit.classifier import build_classifier

    model = build_classifier("mobilenetv2", 10, weights="none")
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=keras.backend.backend() != "tensorflow")
    images, labels = photographs(BATCH, IMAGE).astype("float32"), np.arange(BATCH) % 10
    return milliseconds(lambda: model.train_on_batch(images, labels)) / BATCH


def told_problem(error: Exception) -> str:
    """Returns the first line of an error that says something."""
    lines = [line for line in str(error).splitlines() if line.strip() and "Exception encountered" not in line]
    return f"{type(error).__name__}: {(lines or ['no message'])[0].strip()[:150]}"


def keras_cost(make: Callable[[], Any]) -> Any:
    """Returns the milliseconds an image that a Keras layer takes, or what is wrong with it."""
    import keras

    layer, images = make(), photographs(BATCH, IMAGE)
    try:
        if isinstance(layer, keras.layers.MixUp | keras.layers.CutMix):
            return round(keras_mix_cost(layer, images), 3)
        return round(cost_of([layer]), 3)
    except Exception as error:  # The benchmark names what is broken, whatever it is.
        return told_problem(error)


def keras_mix_cost(layer: Any, images: np.ndarray) -> float:
    """Likewise for the mixes, which want one-hot labels: eagerly, as the tutorials use them."""
    data = {"images": images.astype("float32"), "labels": np.eye(10, dtype="float32")[np.arange(BATCH) % 10]}
    return milliseconds(lambda: np.asarray(layer(dict(data), training=True)["images"])) / BATCH


def measure_cost() -> None:
    """Measures the training step, our layers and presets, and Keras's layers, under this backend."""
    import keras

    backend = keras.backend.backend()
    measured(f"{backend}/load before", lambda: round(os.getloadavg()[0], 2))
    measured(f"{backend}/step", lambda: round(training_step(), 3))
    for name, make in our_layers().items():
        measured(f"{backend}/ours/{name}", lambda make=make: round(cost_of(*make()), 3))
    for name, make in keras_layers().items():
        measured(f"{backend}/keras/{name}", lambda make=make: keras_cost(make))
