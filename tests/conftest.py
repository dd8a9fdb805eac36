"""What every test shares: a cache of its own, and a backend that keeps quiet."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or fills the user's cache; weights are converted once a session."""
    os.environ["TLKIT_CACHE"] = str(tmp_path_factory.mktemp("tlkit-cache"))


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Folder of the figures that published or reference implementations gave."""
    return Path(__file__).parent / "goldens"


@pytest.fixture(scope="session")
def write_threes_and_eights() -> Callable[[Path, int], None]:
    """Writes sixty threes and sixty eights of scikit-learn's digits into folders by class, as square PNG files."""
    from PIL import Image
    from sklearn.datasets import load_digits

    def write(root: Path, size: int) -> None:
        x, y = load_digits(return_X_y=True)
        for digit in (3, 8):
            (root / str(digit)).mkdir(parents=True)
            for number, row in enumerate(x[y == digit][:60]):
                picture = Image.fromarray((row.reshape(8, 8) * 15.9).astype(np.uint8))
                picture.resize((size, size)).save(root / str(digit) / f"{number}.png")

    return write


@pytest.fixture(scope="session")
def settle() -> Callable[[Any, np.ndarray], None]:
    """Gives random weights BatchNormalization statistics that let rounding errors stay as small as they are.

    As built, 0 and 1, statistics would hide what mixes them up, and activations would grow from block to block. Those
    of a few images themselves would magnify what little differs between them until rounding decides.
    """
    import keras

    def set_and_call(layer: Any, random: np.random.Generator, inputs: Any, **ignored: Any) -> Any:
        values = keras.ops.convert_to_numpy(inputs)
        layer.moving_mean.assign(values.mean(tuple(range(values.ndim - 1))) / 10)
        layer.moving_variance.assign(np.square(values).mean() * random.uniform(0.5, 1.5, values.shape[-1]))
        return type(layer).call(layer, inputs, training=False)

    def settle(model: Any, pixels: np.ndarray) -> None:
        random = np.random.default_rng(2)
        normalizations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
        for layer in normalizations:
            layer.call = functools.partial(set_and_call, layer, random)
        model(pixels, training=False)
        for layer in normalizations:
            del layer.call

    return settle


@pytest.fixture(scope="session")
def standardised() -> Callable[[np.ndarray], np.ndarray]:
    """Features less their means, over deviations whose squares are shrunk to their mean as if 50 more images had it."""

    def standardised(x: np.ndarray, given: np.ndarray | None = None) -> np.ndarray:
        scale = np.sqrt((len(x) * x.var(axis=0) + 50 * x.var(axis=0).mean()) / (len(x) + 50))
        return ((x if given is None else given) - x.mean(axis=0)) / scale

    return standardised
