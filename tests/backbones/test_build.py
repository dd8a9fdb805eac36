from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from tlkit.backbones.applications import build_network
from tlkit.backbones.build import build_backbone, prepare_backbone
from tlkit.backbones.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from tlkit.backbones.registry import get_backbone, register_backbone, unregister_backbone
from tlkit.errors import InputError


def run(model, pixels):
    return keras.ops.convert_to_numpy(model(pixels, training=False))


def test_input_and_output():
    model = build_backbone("MobileNet-V2", image_size=96, weights="none")
    assert (model.name, model.input.name) == ("mobilenetv2", "image")
    assert (model.input.shape, model.input.dtype) == ((None, 96, 96, 3), "float32")
    assert model.output.shape == (None, 3, 3, 1280)


def test_default_size_is_the_backbones_own():
    assert build_backbone("mobilenetv2", weights="none").input.shape == (None, 224, 224, 3)


def test_head_of_imagenet_gives_probabilities():
    model = build_backbone("mobilenetv2", image_size=96, weights="none", include_top=True)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 96, 96, 3)).astype("float32")
    probabilities = run(model, pixels)
    assert probabilities.shape == (2, 1000)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_names_do_not_depend_on_what_was_built_before():
    first = build_backbone("mobilenetv3small", image_size=64, weights="none")
    keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(2.0), layers.ReLU(), layers.Activation("relu")])
    second = build_backbone("mobilenetv3small", image_size=64, weights="none")
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]


def test_efficientnet_scales_pixels_whatever_its_weights():
    """Keras leaves its Normalization at mean 0 and variance 1 unless it loads ImageNet weights."""
    model = build_backbone("efficientnetb0", image_size=64, weights="none")
    scaled = keras.Model(model.input, model.get_layer("normalization").output)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    expected = (pixels / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    assert np.abs(run(scaled, pixels) - expected).max() < 1e-5


def test_packaged_weights_are_the_default():
    model = build_backbone("efficientnet_lite0", image_size=96)
    random = build_backbone("efficientnet_lite0", image_size=96, weights="none")
    assert model.count_params() == random.count_params()
    statistics = [network.get_layer("stem_bn").get_weights()[2] for network in (model, random)]
    assert statistics[0].any()
    assert not statistics[1].any()


def test_mixed_precision_keeps_the_preprocessing_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_backbone("mobilenetv2", image_size=64, weights="none")
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("preprocess_scale").compute_dtype == "float32"
    assert model.get_layer("Conv1").compute_dtype == "bfloat16"


@pytest.mark.parametrize(
    ("name", "arguments", "match"),
    [
        ("resnet5o", {}, "Did you mean 'resnet50'"),
        ("xception", {"image_size": 70}, "at least 71 for xception. Received: 70"),
        ("vgg16", {"image_size": 64, "include_top": True}, "image size 224 for vgg16 with its ImageNet head"),
        ("resnet50", {"input_channels": 0}, "input_channels to be at least 1. Received: 0"),
        ("resnet50", {"preprocessing": "tf"}, r"resnet50 brings its own \(caffe\)"),
        ("resnet50", {"weights": "imagenett"}, "Did you mean 'imagenet'"),
        ("nowhere.keras", {"weights": "imagenet"}, "does not exist"),
        ("nowhere.keras", {"weights": "none"}, "Expected no --weights with a saved model"),
    ],
)
def test_bad_input_is_one_clear_line(name, arguments, match):
    with pytest.raises(InputError, match=match) as caught:
        build_backbone(name, **{"weights": "none", **arguments})
    assert "\n" not in str(caught.value)


def test_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(InputError, match="channels_last"):
            build_backbone("resnet50", image_size=64, weights="none")
    finally:
        keras.config.set_image_data_format("channels_last")


def TinyNet(include_top=True, weights="imagenet", input_tensor=None):
    """A network of a user's own, residual sum and nested block and all."""
    x = layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(input_tensor)
    x = x + keras.Sequential([layers.Conv2D(8, 3, padding="same"), layers.ReLU()])(x)
    if include_top:
        x = layers.Dense(1000, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x)


@pytest.fixture
def tinynet():
    yield register_backbone("tinynet", TinyNet, preprocessing="unit", default_image_size=32, stages=[("stem", "stem")])
    unregister_backbone("tinynet")


def test_registered_network_is_built_like_the_others(tinynet):
    model = build_backbone("tinynet", weights="none")
    assert model.input.shape == (None, 32, 32, 3)
    assert [layer.name for layer in model.layers][:3] == ["image", "preprocess_scale", "stem"]
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert build_backbone("tinynet", weights="none", include_top=True).output.shape == (None, 1000)
    assert build_backbone("tinynet", weights="none", input_channels=1).input.shape == (None, 32, 32, 1)
    assert prepare_backbone("tinynet", weights="none").backbone is tinynet


def test_registered_function_that_cannot_be_imported():
    register_backbone("farnet", "no_such_module:FarNet", preprocessing="tf")
    try:
        with pytest.raises(InputError, match="no_such_module:FarNet to build farnet"):
            build_backbone("farnet", weights="none")
    finally:
        unregister_backbone("farnet")


def test_network_before_it_is_flat_still_takes_preprocessed_pixels():
    image = keras.Input((64, 64, 3), name="image")
    network = build_network(get_backbone("mobilenetv2"), image, include_top=False)
    assert network.inputs[0] is image
