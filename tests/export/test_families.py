"""Every family of backbones in every format: the answers of Keras, to a ten-thousandth."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from tlkit.backbones.registry import list_backbones
from tlkit.classifier import build_classifier
from tlkit.data.transform import Transform
from tlkit.export import export_run

FAST = ("efficientnet_lite0", "mobilenetv2")
FORMATS = ["litert", "onnx", "openvino"]


def smallest_of_each_family() -> list[str]:
    """Names the backbone with the fewest parameters of each family that the fast tests leave out."""
    found = {facts.family: facts.name for facts in sorted(list_backbones(), key=lambda facts: -facts.parameters)}
    return sorted(set(found.values()) - set(FAST))


def export_family(name: str, make_run, folder: Path) -> None:
    facts = next(facts for facts in list_backbones(name) if facts.name == name)
    size = max(facts.min_image_size, 32)
    keras.utils.set_random_seed(0)
    model = build_classifier(name, 3, image_size=size, weights="none")
    run = make_run(folder, model, Transform(size, size))
    made = export_run(run, FORMATS)
    for one in made.made:
        assert one.agreement.top1_agreement == 1, one.name
        assert one.agreement.max_difference <= 1e-4, one.name


@pytest.mark.parametrize("name", FAST)
def test_two_families(name: str, make_run, tmp_path: Path) -> None:
    export_family(name, make_run, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("name", smallest_of_each_family())
def test_every_family(name: str, make_run, tmp_path: Path) -> None:
    export_family(name, make_run, tmp_path / "run")
