"""EfficientNet-Lite0: the network of the reference implementation, with its weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from tlkit.backbones.imagenet import decode
from tlkit.backbones.packaged import STAGES, EfficientNetLite0
from tlkit.backbones.registry import get_backbone
from tlkit.errors import InputError

TOLERANCE = 1e-4
RELATIVE = 1e-5  # Features reach 37, where float32 sums in another order differ by 6e-5.
CORNER = numpy.s_[:, -4:, -4:, :8]  # what the goldens keep of a feature map


def pictures(size: int) -> numpy.ndarray:
    """China (a temple) and a flower, (2, size, size, 3), raw pixels."""
    images = [Image.fromarray(image) for image in load_sample_images().images]
    return numpy.stack([numpy.asarray(image.resize((size, size), Image.Resampling.BICUBIC)) for image in images])


def scaled(size: int) -> numpy.ndarray:
    """The pictures as the network takes them."""
    return (pictures(size).astype("float32") - 127) / 128


def run(model: keras.Model, inputs: numpy.ndarray) -> Any:
    """The model's outputs at inference; not `predict`, which compiles a function for every model of these tests."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(inputs, training=False))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return EfficientNetLite0()


@pytest.fixture(scope="module")
def untrained() -> keras.Model:
    return EfficientNetLite0(weights=None, include_top=False, input_shape=(64, 64, 3))


@pytest.fixture(scope="module")
def reference(goldens: Path) -> dict[str, numpy.ndarray]:
    with numpy.load(goldens / "efficientnet_lite0.npz") as archive:
        return dict(archive)


# 97 pixels are odd at every strided convolution, where "same" padding is another than at 96.
@pytest.mark.parametrize("size", [224, 96, 97])
def test_activations_are_those_of_the_reference(reference, size):
    model = EfficientNetLite0(input_shape=(size, size, 3), classifier_activation=None)
    outputs = {stage: model.get_layer(layer).output for stage, layer in STAGES}
    outputs |= {"pooled": model.get_layer("avg_pool").output, "logits": model.output}
    for name, output in run(keras.Model(model.input, outputs), scaled(size)).items():
        part = output[CORNER] if output.ndim == 4 else output
        numpy.testing.assert_allclose(part, reference[f"{name}_{size}"], RELATIVE, TOLERANCE, err_msg=name)


def test_head_names_the_pictures(model, reference):
    probabilities = model.predict(scaled(224), verbose=0)
    china, flower = decode(probabilities)
    assert (flower[0].class_index, flower[0].name) == (985, "daisy")
    assert [prediction.name for prediction in china[:4]] == ["bell_cote", "boathouse", "monastery", "palace"]
    five = [[prediction.class_index for prediction in picture] for picture in (china, flower)]
    numpy.testing.assert_array_equal(five, numpy.argsort(-reference["logits_224"])[:, :5])
    numpy.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


def test_has_the_parameters_of_the_paper(model, untrained):
    assert model.count_params() == 4_694_024  # 4.7 million in the table of the Lite models, moving statistics included
    assert untrained.count_params() == 3_413_024


def test_without_top_gives_the_same_features(model):
    inputs = scaled(224)
    expected = run(keras.Model(model.input, model.get_layer("top_activation").output), inputs)
    features = run(EfficientNetLite0(include_top=False), inputs)
    average = run(EfficientNetLite0(include_top=False, pooling="avg"), inputs)
    highest = run(EfficientNetLite0(include_top=False, pooling="max"), inputs)
    assert features.shape == (2, 7, 7, 1280)
    numpy.testing.assert_allclose(features, expected, rtol=0, atol=1e-5)
    numpy.testing.assert_allclose(average, expected.mean((1, 2)), rtol=0, atol=1e-5)
    numpy.testing.assert_allclose(highest, expected.max((1, 2)), rtol=0, atol=1e-5)


def test_builds_upon_a_tensor_and_stays_flat(model):
    image = keras.Input((224, 224, 3), name="image")
    upon = EfficientNetLite0(input_tensor=keras.layers.Rescaling(1 / 128, -127 / 128)(image))
    assert upon.input is image
    assert upon.name == "efficientnet_lite0"
    assert not [layer for layer in upon.layers if isinstance(layer, keras.Model)]
    with_pixels = run(upon, pictures(224).astype("float32"))
    numpy.testing.assert_allclose(with_pixels, run(model, scaled(224)), rtol=0, atol=1e-5)


def test_stages_end_at_cuts(untrained):
    assert STAGES == (
        ("stem", "stem_activation"),
        ("block1", "block1a_project_bn"),
        ("block2", "block2b_add"),
        ("block3", "block3b_add"),
        ("block4", "block4c_add"),
        ("block5", "block5c_add"),
        ("block6", "block6d_add"),
        ("block7", "block7a_project_bn"),
        ("top", "top_activation"),
    )
    registered = get_backbone("efficientnet_lite0").stages
    assert tuple((stage.name, stage.layer) for stage in registered) == STAGES
    inputs = numpy.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)).astype("float32")
    expected = run(untrained, inputs)
    for _, name in STAGES[:-1]:
        cut = untrained.get_layer(name).output
        features = run(keras.Model(untrained.input, cut), inputs)
        rest = run(keras.Model(cut, untrained.output), features)
        numpy.testing.assert_allclose(rest, expected, rtol=1e-4, atol=1e-5, err_msg=name)


def test_layer_names_are_unique_and_stages_in_order(untrained):
    names = [layer.name for layer in untrained.layers]
    assert len(set(names)) == len(names)
    positions = [names.index(layer) for _, layer in STAGES]
    assert positions == sorted(positions)
    assert positions[-1] == len(names) - 1


def test_drops_whole_branches_in_training_only(untrained):
    inputs = numpy.random.default_rng(0).uniform(-1, 1, (8, 64, 64, 3)).astype("float32")
    drop = keras.Model(untrained.input, untrained.get_layer("block6d_drop").output)
    branch = untrained.get_layer("block6d_project_bn").output
    numpy.testing.assert_array_equal(run(drop, inputs), run(keras.Model(untrained.input, branch), inputs))
    layer = untrained.get_layer("block6d_drop")
    dropped = keras.ops.convert_to_numpy(layer(numpy.ones((1000, 2, 2, 3), "float32"), training=True))
    by_image = dropped.reshape(1000, -1)
    assert (by_image == by_image[:, :1]).all()
    assert 0.8 < (by_image[:, 0] > 0).mean() < 0.9  # kept: 1 - 0.2 * 14 / 16


def test_loads_weights_from_a_file(untrained, tmp_path):
    path = tmp_path / "own.weights.h5"
    untrained.save_weights(path)
    for given in (path, str(path)):
        again = EfficientNetLite0(weights=given, include_top=False, input_shape=(64, 64, 3))
        for ours, theirs in zip(again.get_weights(), untrained.get_weights(), strict=True):
            numpy.testing.assert_array_equal(ours, theirs)


def test_saved_model_loads_again(model, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    inputs = scaled(224)
    numpy.testing.assert_array_equal(run(again, inputs), run(model, inputs))


def test_random_weights_take_other_channels_and_classes():
    model = EfficientNetLite0(
        weights=None, input_shape=(40, 48, 1), classes=7, classifier_activation="sigmoid", name="small"
    )
    assert model.name == "small"
    assert model.output_shape == (None, 7)
    outputs = model.predict(numpy.zeros((1, 40, 48, 1), "float32"), verbose=0)
    assert ((outputs > 0) & (outputs < 1)).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: EfficientNetLite0(classes=10), "classes=1000 .* Received: classes=10"),
        (lambda: EfficientNetLite0(weights="imagenette"), "Received: weights='imagenette'"),
        (lambda: EfficientNetLite0(weights=Path("absent.weights.h5")), r"Received: weights='absent\.weights\.h5'"),
        (lambda: EfficientNetLite0(pooling="mean"), "Received: pooling='mean'"),
        (lambda: EfficientNetLite0(input_shape=(31, 224, 3)), r"at least 32 .* \(31, 224, 3\)"),
        (lambda: EfficientNetLite0(input_shape=(224, 224)), r"Received: input shape \(224, 224\)"),
        (lambda: EfficientNetLite0(input_shape=(224, 224, 1)), r"3 channels .* \(224, 224, 1\)"),
    ],
)
def test_refuses_other_arguments(build: Callable[[], keras.Model], message: str):
    with pytest.raises(InputError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_refuses_channels_first():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(InputError, match="channels_last"):
            EfficientNetLite0(weights=None)
    finally:
        keras.config.set_image_data_format("channels_last")
