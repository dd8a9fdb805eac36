"""Every family of backbones in every format: the answers of Keras, to a ten-thousandth."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from tlkit.backbones.registry import get_backbone, list_backbones
from tlkit.classifier import build_classifier
from tlkit.data.manifest import Manifest
from tlkit.data.transform import Transform
from tlkit.export.conversion import converting
from tlkit.export.deployable import deployable_model
from tlkit.export.formats import FORMATS
from tlkit.export.parity import FLOAT32_LIMIT, compare, run_sample
from tlkit.export.sample import read_sample

FAST = ("efficientnet_lite0", "mobilenetv2")
FORMAT_NAMES = ["litert", "onnx", "openvino"]

FitHead = Callable[[keras.Model, Transform], None]


def smallest_of_each_family() -> list[str]:
    """Names the backbone with the fewest parameters of each family that the fast tests leave out."""
    found = {facts.family: facts.name for facts in sorted(list_backbones(), key=lambda facts: -facts.parameters)}
    return sorted(set(found.values()) - set(FAST))


@pytest.fixture(autouse=True)
def _forget_models() -> Iterator[None]:
    """Lets go of each network's graphs before the next is built."""
    yield
    keras.backend.clear_session()
    gc.collect()


def check_family(name: str, fit_head: FitHead, manifest: Manifest, folder: Path) -> None:
    """Builds a backbone with random weights and compares it, in every format, with itself in Keras."""
    size = max(get_backbone(name).min_image_size, 32)
    keras.utils.set_random_seed(0)
    model = build_classifier(name, 3, image_size=size, weights="none")
    fit_head(model, Transform(size, size))
    sample = read_sample(manifest, "validation", Transform(size, size))
    reference = np.asarray(model(sample.pixels.astype("float32"), training=False))
    assert reference.std() > 0.05
    model = deployable_model(model)
    for format_name in FORMAT_NAMES:
        found = FORMATS[format_name]
        with converting(model, format_name):
            found.write["float32"](model, folder / found.file)
            probabilities = run_sample(found.open(folder / found.file), sample, "resized")
        agreement = compare(reference, probabilities, sample.labels)
        assert agreement.top1_agreement == 1, format_name
        assert agreement.max_difference <= FLOAT32_LIMIT, format_name


@pytest.mark.parametrize("name", FAST)
def test_two_families(name: str, fit_head: FitHead, manifest: Manifest, tmp_path: Path) -> None:
    check_family(name, fit_head, manifest, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", smallest_of_each_family())
def test_every_family(name: str, fit_head: FitHead, manifest: Manifest, tmp_path: Path) -> None:
    check_family(name, fit_head, manifest, tmp_path)
