"""The zoo's networks against what was published of them, and their common signature."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest

from tlkit import models
from tlkit.errors import InputError
from tlkit.models.network import Network

NAMES = [name for name in models.__all__ if isinstance(getattr(models, name), Network) and name != "Network"]


def kernels(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights if len(weight.shape) > 1)


def trained(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.fixture(autouse=True)
def _forget():
    yield
    keras.backend.clear_session()


def test_mnist_networks_have_the_lectures_weights_and_signals():
    cnn, ffnn = models.MnistCNN(), models.MnistFFNN()
    assert (kernels(cnn), kernels(ffnn)) == (11_665, 210_240)
    assert [kernels(keras.Sequential([layer])) for layer in cnn.layers if layer.weights] == [225, 3_600, 7_840]
    signals = [int(np.prod(cnn.get_layer(name).output.shape[1:])) for name in ("conv1", "conv2")]
    assert signals == [7_056, 3_136]
    assert [kernels(keras.Sequential([layer])) for layer in ffnn.layers if layer.weights] == [176_400, 32_400, 1_440]


def test_lenet_has_the_papers_layers():
    lenet = models.LeNet5()
    assert lenet.count_params() == 61_706
    counts = {layer.name: layer.count_params() for layer in lenet.layers if layer.weights}
    assert (counts["c1"], counts["c5"], counts["f6"]) == (156, 48_120, 10_164)
    assert lenet.get_layer("s4").output.shape == (None, 5, 5, 16)


def test_alexnet_has_sixty_million_weights():
    """60,965,224 is the count of the paper's grouped network; its first layer has 55 x 55 x 96 neurons."""
    alexnet = models.AlexNet()
    assert alexnet.count_params() == 60_965_224
    first = alexnet.get_layer("conv1")
    assert int(np.prod(first.output.shape[1:])) == 290_400
    assert first.count_params() == 34_944
    assert first.count_params() - 96 == 96 * 363


def test_vgg_configuration_a_has_133_million_weights():
    assert models.VGG11().count_params() == 132_863_336
    assert models.SmallVGG().count_params() == 1_250_858


def test_googlenet_with_and_without_its_auxiliary_classifiers():
    plain = models.GoogLeNet()
    assert plain.count_params() == 6_998_552
    whole = models.with_auxiliary_heads(plain, 1000)
    assert whole.count_params() == 13_378_280
    assert [output.shape for output in whole.outputs] == [(None, 1000)] * 3
    assert whole.get_layer("auxiliary1_pool").output.shape == (None, 4, 4, 512)
    assert whole.get_layer("auxiliary2_pool").output.shape == (None, 4, 4, 528)


@pytest.mark.parametrize(
    ("name", "weights"), [("ResNet18", 11_689_512), ("ResNet34", 21_797_672), ("ResNet18Cifar", 11_173_962)]
)
def test_residual_networks_have_the_published_weights(name, weights):
    assert trained(getattr(models, name)()) == weights


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (56, 0.85)])
def test_narrow_residual_networks_have_the_papers_weights(depth, millions):
    residual, plain = (getattr(models, f"{kind}{depth}")() for kind in ("ResNet", "Plain"))
    assert abs(trained(residual) / 1e6 - millions) < 0.01
    weighted = [layer for layer in plain.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]
    assert len(weighted) == depth


@pytest.mark.parametrize(("plain", "residual"), [("Plain18", "ResNet18"), ("Plain34Cifar", "ResNet34Cifar")])
def test_plain_twins_lack_the_shortcuts_alone(plain, residual):
    without, with_shortcuts = getattr(models, plain)(), getattr(models, residual)()
    plain_names, residual_names = (
        {layer.name for layer in model.layers if not layer.name.startswith("input_layer")}
        for model in (without, with_shortcuts)
    )
    assert plain_names < residual_names
    assert all("shortcut" in name or name.endswith("_add") for name in residual_names - plain_names)


def test_unet_has_23_convolutions_and_gives_388_pixels_of_572():
    unet = models.UNet()
    convolutions = [layer for layer in unet.layers if isinstance(layer, keras.layers.Conv2D)]
    enlarging = [layer for layer in unet.layers if isinstance(layer, keras.layers.Conv2DTranspose)]
    assert len(set(convolutions) | set(enlarging)) == 23
    assert unet.output.shape == (None, 388, 388, 2)
    widths = [(1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    widths += [(512, 1024), (1024, 1024)]
    widths += [(1024, 512), (512, 512), (512, 256), (256, 256), (256, 128), (128, 128), (128, 64), (64, 64)]
    by_hand = sum(9 * before * after + after for before, after in widths)
    by_hand += sum(4 * 2 * width * width + width for width in (512, 256, 128, 64)) + 64 * 2 + 2
    assert unet.count_params() == by_hand


def test_fcn8s_has_134_million_weights():
    fcn = models.FCN8s()
    assert round(fcn.count_params() / 1e6) == 134
    base = sum(layer.count_params() for layer in fcn.layers if layer.name.startswith(("block", "fc")))
    assert base == 134_260_544  # VGG-16 without its last layer.
    assert fcn.output.shape == (None, 224, 224, 21)


def test_fastnet_has_the_papers_weights():
    assert round(trained(models.FastNet()) / 1e6, 2) == 1.97


@pytest.mark.parametrize("name", NAMES)
def test_signature_is_that_of_keras_applications(name):
    ours = list(inspect.signature(getattr(models, name)).parameters)
    theirs = list(inspect.signature(keras.applications.ResNet50).parameters)
    assert ours == theirs


@pytest.mark.parametrize(
    "name", ["MnistCNN", "LeNet5", "SmallVGG", "ResNet20", "FastNetSmall", "SmallUNet", "SmallFCN8s"]
)
def test_arguments_do_what_they_say(name, tmp_path):
    network = getattr(models, name)
    size = max(network.smallest, 32)
    image = keras.Input((size, size, 3))
    body = network(include_top=False, input_tensor=keras.layers.Rescaling(1 / 255)(image), name="body")
    assert body.name == "body"
    assert body.input is image
    assert len(body.output.shape) == 4
    assert network(include_top=False, input_shape=(size, size, 3), pooling="max").output.shape == (
        None,
        body.output.shape[-1],
    )
    model = network(input_shape=(size, size, 3), classes=7)
    assert model.output.shape[-1] == 7
    x = np.random.default_rng(0).random((2, size, size, 3), "float32")
    probabilities = np.asarray(model(x))
    assert np.allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
    model.save_weights(tmp_path / "some.weights.h5")
    again = network(
        weights=tmp_path / "some.weights.h5", input_shape=(size, size, 3), classes=7, classifier_activation=None
    )
    assert np.allclose(np.asarray(keras.ops.softmax(again(x))), probabilities, atol=1e-5)
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == len(names)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (16, 16, 1)}, "at least 32 pixels"),
        ({"pooling": "average"}, "Did you mean 'avg'|Expected one of"),
        ({"weights": "imagenet"}, "has no trained ones"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        models.LeNet5(include_top=False, **arguments)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'LeNet6'"):
        _ = models.LeNet6
