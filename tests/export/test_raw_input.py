"""Resizing in the graph: the pixels that Pillow gives, to one grey level, and the very same in every runtime."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from tlkit.data.transform import Transform
from tlkit.errors import InputError
from tlkit.export.conversion import converting
from tlkit.export.formats import FORMATS
from tlkit.export.raw_input import with_raw_input

SIZES = [(1, 1), (7, 5), (1, 50), (96, 96), (101, 60), (60, 101), (427, 640), (640, 640), (1200, 901)]
TRANSFORMS = [
    Transform(96, 96),
    Transform(96, 110),
    Transform(64, 96, "pad"),
    Transform(96, 96, "pad"),
    Transform(96, 110, "squash"),
]


def nothing(size: int) -> keras.Model:
    """A network that returns its pixels."""
    image = keras.Input((size, size, 3), name="image")
    return keras.Model(image, keras.layers.Activation("linear")(image))


def picture(height: int, width: int) -> np.ndarray:
    """A part of a photograph, or noise where the seed says so."""
    photograph = Image.fromarray(load_sample_images().images[(height + width) % 2])
    if (height * width) % 3 == 0:
        return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
    return np.asarray(photograph.resize((width, height)))


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda found: f"{found.geometry}-{found.store_size}")
def test_pixels_are_within_one_level_of_the_transform(transform: Transform) -> None:
    model = with_raw_input(nothing(transform.image_size), transform)
    for size in SIZES:
        pixels = picture(*size)
        made = np.asarray(model(pixels[None].astype("float32")))[0]
        assert np.abs(made - transform(pixels)).max() <= 1, size
        assert np.array_equal(made, made.round())


def test_a_photograph_taken_down_to_a_twentieth() -> None:
    transform = Transform(96, 96)
    pixels = np.asarray(Image.fromarray(load_sample_images().images[0]).resize((3000, 2001)))
    made = np.asarray(with_raw_input(nothing(96), transform)(pixels[None].astype("float32")))[0]
    difference = np.abs(made - transform(pixels))
    assert difference.max() <= 1
    assert difference.mean() < 0.3


@pytest.mark.parametrize("name", ["keras", "litert", "onnx", "openvino"])
def test_every_runtime_gives_the_same_pixels(name: str, tmp_path: Path) -> None:
    transform = Transform(64, 80, "pad")
    model = with_raw_input(nothing(64), transform)
    found = FORMATS[name]
    with converting(model, name):
        found.write["float32"](model, tmp_path / found.file)
        run = found.open(tmp_path / found.file)
        for size in SIZES:
            pixels = picture(*size)[None].astype("float32")
            assert np.array_equal(run(pixels), np.asarray(model(pixels))), size


def test_other_filters_are_refused() -> None:
    with pytest.raises(InputError, match=r"bilinear filter.*lanczos"):
        with_raw_input(nothing(32), Transform(32, 32, resampler="lanczos"))
