"""All measurements in one go, and what is left out where a model does not allow it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from tlkit.analysis.layer_table import layer_table
from tlkit.analysis.measurements import Pictures, classification_loss, measure, stage_ends
from tlkit.errors import InputError

NAMES = tuple("0123456789")


def pictures(digits: tuple, n: int = 60) -> Pictures:
    return Pictures(digits[0][1200 : 1200 + n], digits[1][1200 : 1200 + n], NAMES)


def test_everything_is_measured_on_a_classifier(digits_model: keras.Model, digits: tuple) -> None:
    seen: list = []
    found = measure(
        digits_model, layer_table(digits_model), pictures(digits), on_progress=lambda *done: seen.append(done)
    )
    assert found.notes == []
    assert seen[-1] == (6, 6)
    assert found.layers == ("conv1", "conv2", "pool2", "features", "head")
    assert found.filters.layer == "conv1"
    assert [one.layer for one in found.effective] == ["conv1", "conv2", "pool2"]
    assert all(one.share_within(box) == pytest.approx(1) for one, box in zip(found.effective, found.boxes, strict=True))
    assert [one.maps.shape for one in found.maps] == [(8, 16, 16), (8, 8, 8), (8, 4, 4)]
    assert {one.layer for one in found.strongest} == {"conv2"}
    assert [one.layer for one in found.neighbourhoods] == ["pixels", *found.layers]
    assert found.verdict.kind == "healthy"
    assert found.symmetry[-1].agreement is not None


def test_a_layer_and_a_channel_of_ones_own(digits_model: keras.Model, digits: tuple) -> None:
    table = layer_table(digits_model)
    found = measure(digits_model, table, pictures(digits), layer="conv1", channel=3)
    assert [(one.layer, one.channel, len(one.values)) for one in found.strongest] == [("conv1", 3, 7)]
    with pytest.raises(InputError, match="Did you mean 'conv1'"):
        measure(digits_model, table, pictures(digits), layer="comv1")
    with pytest.raises(InputError, match="The nearest is 15"):
        measure(digits_model, table, pictures(digits), layer="conv1", channel=151)


def test_what_a_model_does_not_allow_is_told_and_the_rest_done(digits: tuple) -> None:
    inputs = keras.Input((16, 16, 1))
    model = keras.Model(inputs, layers.Dense(4, name="dense")(layers.Flatten(name="flat")(inputs)))
    found = measure(model, layer_table(model), pictures(digits, 20))
    assert len(found.notes) == 2
    assert "no convolution" in found.notes[0] or "which has none" in found.notes[0]
    assert "Gradients are not measured" in found.notes[1]
    assert found.filters is None
    assert found.flow is None
    assert [one.layer for one in found.neighbourhoods] == ["pixels", "flat", "dense"]


def test_models_of_something_else_are_refused(digits: tuple) -> None:
    a, b = keras.Input((16, 16, 1)), keras.Input((3,))
    model = keras.Model([a, b], layers.Concatenate()([layers.Flatten()(a), b]))
    with pytest.raises(InputError, match="a model of one image"):
        measure(model, layer_table(model), pictures(digits))
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Conv2D(2, 3)(inputs))
    with pytest.raises(InputError, match=r"Expected pictures of shape \(8, 8, 3\)"):
        measure(model, layer_table(model), pictures(digits))


def test_stage_ends_are_few_and_in_order() -> None:
    inputs = x = keras.Input((1024, 1024, 1))
    for index in range(10):
        x = layers.MaxPooling2D(name=f"pool_{index}")(x)
    x = layers.Dense(3, name="hidden")(layers.GlobalAveragePooling2D(name="mean")(x))
    table = layer_table(keras.Model(inputs, layers.Softmax(name="output")(x)))
    names = [row.name for row in stage_ends(table)]
    assert len(names) == 10
    assert names[0] == "pool_0"
    assert names[-2:] == ["hidden", "output"]


@pytest.mark.parametrize("end", ["softmax", "logits", "softmax layer"])
def test_the_loss_fits_what_the_model_puts_out(end: str) -> None:
    inputs = keras.Input((4,))
    x = layers.Dense(3, activation="softmax" if end == "softmax" else None)(inputs)
    model = keras.Model(inputs, layers.Softmax()(x) if end == "softmax layer" else x)
    data = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    outputs = keras.ops.convert_to_numpy(model(data))
    probabilities = outputs if end != "logits" else np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    labels = np.array([0, 1, 2, 0, 1, 2])
    expected = -np.log(probabilities[np.arange(6), labels])
    found = keras.ops.convert_to_numpy(classification_loss(model, 3)(labels, model(data)))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    with pytest.raises(InputError, match="5 classes of the data"):
        classification_loss(model, 5)
