from __future__ import annotations

import keras
import pytest

from tlkit.backbones.measure import measure_backbone
from tlkit.backbones.registry import get_backbone
from tlkit.errors import InputError


def test_figures_of_one_backbone():
    calls = []
    measured = measure_backbone(
        "mobilenetv2", 64, batch_size=2, repetitions=3, on_progress=lambda done, total: calls.append((done, total))
    )
    facts = get_backbone("mobilenetv2")
    assert measured["name"] == "mobilenetv2"
    assert measured["image_size"] == 64
    assert measured["parameters"] == facts.parameters
    assert measured["megabytes"] == facts.megabytes
    assert [row["name"] for row in measured["stages"]] == [stage.name for stage in facts.stages]
    assert sum(row["parameters"] for row in measured["stages"]) == facts.parameters
    assert measured["stages"][-1]["output_shape"] == [2, 2, 1280]
    assert 0 < measured["milliseconds_lowest"] <= measured["milliseconds_per_image"] <= measured["milliseconds_highest"]
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_saved_model(tmp_path):
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(image))
    keras.Model(image, keras.layers.Flatten()(x)).save(tmp_path / "mine.keras")
    measured = measure_backbone(str(tmp_path / "mine.keras"), batch_size=1, repetitions=1)
    assert (measured["name"], measured["image_size"], measured["parameters"]) == ("mine", 16, 112)


def test_size_too_small():
    with pytest.raises(InputError, match="at least 32"):
        measure_backbone("mobilenetv2", 16)
