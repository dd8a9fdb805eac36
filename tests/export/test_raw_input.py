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


def photograph(height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(load_sample_images().images[0]).resize((width, height)))


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda found: f"{found.geometry}-{found.store_size}")
def test_pixels_are_within_one_level_of_the_transform(transform: Transform) -> None:
    model = with_raw_input(nothing(transform.image_size), transform)
    for size in [*SIZES, (2001, 3000)]:
        pixels = photograph(*size)
        made = np.asarray(model(pixels[None].astype("float32")))[0]
        assert np.abs(made - transform(pixels)).max() <= 1, size
        assert np.array_equal(made, made.round())


def test_noise_is_within_one_level_but_for_odd_pixels() -> None:
    transform = Transform(96, 110, "squash")
    model = with_raw_input(nothing(96), transform)
    for size in SIZES:
        pixels = noise(*size)
        difference = np.abs(np.asarray(model(pixels[None].astype("float32")))[0] - transform(pixels))
        assert difference.max() <= 2
        assert (difference > 1).mean() < 1e-3


@pytest.mark.parametrize("name", ["keras", "litert", "onnx", "openvino"])
def test_every_runtime_gives_the_same_pixels(name: str, tmp_path: Path) -> None:
    transform = Transform(64, 80, "pad")
    model = with_raw_input(nothing(64), transform)
    found = FORMATS[name]
    with converting(model, name):
        found.write["float32"](model, tmp_path / found.file)
        run = found.open(tmp_path / found.file)
        for size in SIZES:
            for pixels in (photograph(*size), noise(*size)):
                batch = pixels[None].astype("float32")
                assert np.array_equal(run(batch), np.asarray(model(batch))), size


def test_other_filters_are_refused() -> None:
    with pytest.raises(InputError, match=r"bilinear filter.*lanczos"):
        with_raw_input(nothing(32), Transform(32, 32, resampler="lanczos"))
