"""A small run whose network was made, not trained: pictures of many sizes, and a head fitted on its features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from tlkit import run
from tlkit.config_files import config_to_toml, load_config
from tlkit.data import from_directory
from tlkit.data.manifest import Manifest
from tlkit.data.transform import Transform
from tlkit.export.sample import read_sample
from tlkit.graph import split_model

CLASSES = {"eins": 1, "null": 0, "zwei": 2}
TEMPERATURE = 1.7

FitHead = Callable[[keras.Model, Transform], None]
MakeRun = Callable[[Path, keras.Model, Transform], Path]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits in colour as PNG and JPEG files, from 17 to 150 pixels a side, seldom square."""
    folder = tmp_path_factory.mktemp("data") / "pictures"
    rng = np.random.default_rng(0)
    digits, labels = load_digits(return_X_y=True)
    for name, digit in CLASSES.items():
        (folder / name).mkdir(parents=True)
        for number, pixels in enumerate(digits[labels == digit][:40]):
            grey = pixels.reshape(8, 8, 1) * rng.uniform(8, 15.9, 3)
            width, height = (int(side) for side in rng.integers(17, 150, 2))
            picture = Image.fromarray(grey.astype("uint8")).resize((width, height), Image.Resampling.BICUBIC)
            picture.save(folder / name / f"{number:02d}.{'jpg' if number % 3 == 0 else 'png'}")
    return folder


def small_network(size: int, seed: int = 0) -> keras.Model:
    """A network like ours: convolutions with batch normalisation, pooled features, a head, a softmax."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1.0, name="preprocess_scale")(image)
    for block, filters in enumerate((16, 32, 64)):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"block{block}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block{block}_norm")(x)
        x = keras.layers.ReLU(6.0, name=f"block{block}_relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooled_features")(x)
    x = keras.layers.Dense(len(CLASSES), name="head")(x)
    return keras.Model(image, keras.layers.Activation("softmax", name="probabilities")(x), name="small")


@pytest.fixture(scope="session")
def manifest(pictures: Path) -> Manifest:
    """The pictures, split."""
    return from_directory(pictures).split(seed=0)


@pytest.fixture(scope="session")
def fit_head(manifest: Manifest) -> FitHead:
    """Gives a network a head fitted on the training pictures, so that its probabilities mean something."""

    def fit(model: keras.Model, transform: Transform) -> None:
        train = read_sample(manifest, "train", transform)
        _settle_norms(model, train.pixels)
        prefix, _ = split_model(model, "pooled_features")
        features = np.asarray(prefix(train.pixels.astype("float32"), training=False), "float64")
        centre = features.mean(axis=0)
        spread = features.std(axis=0) + 1e-2 * np.abs(features).max()  # Magnifies no rounding errors.
        fitted = LogisticRegression(C=0.03).fit((features - centre) / spread, train.labels)
        kernel = fitted.coef_.T / spread[:, None]
        model.get_layer("head").set_weights([kernel, fitted.intercept_ - centre @ kernel])

    return fit


def _settle_norms(model: keras.Model, pixels: np.ndarray) -> None:
    """Sets the statistics of batch normalisations, without which the signal of random weights dies away."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(pixels.astype("float32"), training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


@pytest.fixture(scope="session")
def make_run(pictures: Path, manifest: Manifest, fit_head: FitHead) -> MakeRun:
    """Writes a run folder for a network, its head fitted on the training pictures."""

    def make(folder: Path, model: keras.Model, transform: Transform) -> Path:
        fit_head(model, transform)
        folder.mkdir(parents=True, exist_ok=True)
        model.save(folder / run.MODEL)
        run.write_labels(folder, manifest.class_names)
        run.write_json(folder / run.TRANSFORM, transform.to_dict())
        run.write_json(folder / run.METRICS, {"calibration": {"temperature": TEMPERATURE}})
        run.write_text(folder / run.CONFIG, config_to_toml(load_config(None, {"data": str(pictures)})))
        manifest.write_csv(folder / run.MANIFEST)
        run.write_state(folder, "complete")
        return folder

    return make


@pytest.fixture(scope="session")
def small_run(make_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the small network at 32 pixels, with room for crops in its store."""
    return make_run(tmp_path_factory.mktemp("runs") / "small", small_network(32), Transform(32, 36))
