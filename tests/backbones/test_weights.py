"""Where weights come from: the Keras cache, a server, a file; on networks of Keras Applications with random weights."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading

import keras
import numpy as np
import pytest

from tlkit.backbones.build import build_backbone, prepare_backbone
from tlkit.backbones.registry import WeightFile, get_backbone, register_backbone, unregister_backbone
from tlkit.backbones.weights import fetch_published, find_weights, keras_cache, published_file
from tlkit.errors import InputError

SIZE = 96
NO_TOP = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")


def randomised(model):
    """Weights near those of an initialisation, with BatchNormalization statistics of their own."""
    generator = np.random.default_rng(5)
    for layer in model.layers:
        values = [np.abs(weight) + generator.uniform(0.01, 0.05, weight.shape) for weight in layer.get_weights()]
        if layer.get_weights() and isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights(values)
    return model


@pytest.fixture(scope="module")
def mobilenet():
    return randomised(keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(SIZE, SIZE, 3)))


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype("float32")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    (tmp_path / "keras" / "models").mkdir(parents=True)
    return tmp_path / "keras" / "models"


PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for variable in PROXIES:
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)


@pytest.fixture
def no_network(monkeypatch):
    """Every download goes to a port where nobody listens."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")


def assert_same_features(model, reference, pixels, preprocess_input):
    received = keras.ops.convert_to_numpy(model(pixels, training=False))
    expected = keras.ops.convert_to_numpy(reference(preprocess_input(pixels.copy()), training=False))
    assert np.abs(received - expected).max() <= 1e-4 * np.abs(expected).max()


def test_keras_home_moves_the_cache(cache, monkeypatch):
    assert keras_cache() == cache
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", "/somewhere")
    assert str(keras_cache()).replace("\\", "/").endswith("/.keras/models")


@pytest.mark.parametrize(
    ("name", "image_size", "include_top", "expected"),
    [
        ("resnet50", 224, False, "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("resnet50", 96, True, "resnet50_weights_tf_dim_ordering_tf_kernels.h5"),
        ("mobilenetv2", 96, False, NO_TOP),
        ("mobilenetv2", 100, False, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"),
        ("mobilenet", 160, True, "mobilenet_1_0_160_tf.h5"),
        ("convnexttiny", 224, False, "convnext_tiny_notop.h5"),
    ],
)
def test_file_is_the_one_that_keras_uses(name, image_size, include_top, expected):
    assert published_file(get_backbone(name), image_size, include_top).name == expected


def test_file_in_the_keras_cache_is_used(cache, no_network, mobilenet, pixels):
    mobilenet.save(cache / NO_TOP)
    prepared = prepare_backbone("mobilenetv2", image_size=SIZE, weights="imagenet")
    assert_same_features(prepared.model, mobilenet, pixels, keras.applications.mobilenet_v2.preprocess_input)
    assert prepared.notes == ()


def test_wrong_file_in_the_cache_is_told(cache, no_network):
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(cache / NO_TOP)
    with pytest.raises(InputError, match=f"{NO_TOP}, which does not hold them. Delete it"):
        build_backbone("mobilenetv2", image_size=SIZE, weights="imagenet")


@pytest.mark.parametrize("damaged", [False, True])
def test_missing_weights_name_file_place_and_ways_on(cache, no_network, damaged):
    if damaged:
        (cache / "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(b"half a file")
    with pytest.raises(InputError) as caught:
        build_backbone("resnet50", weights="imagenet")
    message = str(caught.value)
    for part in (
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        str(cache),
        "https://storage.googleapis.com/",
        "--weights FILE",
        "--weights none",
        "--backbone efficientnet_lite0",
        "is there but damaged" if damaged else "is not there",
    ):
        assert part in message
    assert "\n" not in message
    assert not list(cache.glob("*.part"))


@pytest.fixture
def published(cache, tmp_path, mobilenet):
    """A backbone whose weights lie on a server of our own, under the digest of the very file."""
    folder = tmp_path / "server"
    folder.mkdir()
    mobilenet.save(folder / "served.h5")
    digest = hashlib.md5((folder / "served.h5").read_bytes()).hexdigest()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = WeightFile("served.h5", f"http://127.0.0.1:{server.server_port}/served.h5", digest, False, None)
        yield register_backbone(
            "servednet",
            "keras.applications:MobileNetV2",
            preprocessing="tf",
            weights="keras",
            weight_files=(file,),
        )
        unregister_backbone("servednet")
        server.shutdown()


def test_download_fills_the_cache_and_the_network(published, cache, mobilenet, pixels):
    calls = []
    model = build_backbone("servednet", image_size=SIZE, on_progress=lambda done, total: calls.append((done, total)))
    assert_same_features(model, mobilenet, pixels, keras.applications.mobilenet_v2.preprocess_input)
    size = (cache / "served.h5").stat().st_size
    assert calls[-1] == (size, size)
    (cache / "served.h5").write_bytes(b"damaged")
    fetch_published(published, published.weight_files[0])
    assert (cache / "served.h5").stat().st_size == size


def test_second_use_does_not_download(published, cache):
    fetch_published(published, published.weight_files[0])
    before = (cache / "served.h5").stat().st_mtime_ns
    fetch_published(published, published.weight_files[0], on_progress=lambda *_: pytest.fail("downloaded again"))
    assert (cache / "served.h5").stat().st_mtime_ns == before


def test_none_means_random():
    source = find_weights(get_backbone("resnet50"), "none", image_size=224)
    assert (source.kind, source.path) == ("none", None)


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ("imagnet", "Did you mean 'imagenet'"),
        ("missing.h5", "does not exist"),
        ("some/where", "does not exist"),
        (".", "a folder"),
    ],
)
def test_weights_that_are_neither_name_nor_file(weights, match):
    with pytest.raises(InputError, match=match):
        find_weights(get_backbone("resnet50"), weights, image_size=224)


def test_backbone_without_imagenet_weights():
    register_backbone("nakednet", "m:f", preprocessing="tf", weights="none")
    try:
        with pytest.raises(InputError, match="has no ImageNet weights"):
            find_weights(get_backbone("nakednet"), "imagenet", image_size=224)
    finally:
        unregister_backbone("nakednet")


def test_file_with_and_without_top_and_in_a_classifier(mobilenet, pixels, tmp_path):
    pooled = keras.layers.GlobalAveragePooling2D()(mobilenet.output)
    keras.Model(mobilenet.input, keras.layers.Dense(7, name="mine")(pooled)).save(tmp_path / "classifier.keras")
    prepared = prepare_backbone("mobilenetv2", image_size=SIZE, weights=tmp_path / "classifier.keras")
    assert_same_features(prepared.model, mobilenet, pixels, keras.applications.mobilenet_v2.preprocess_input)
    assert prepared.loaded.ignored == ("mine",)
    assert prepared.notes == (prepared.loaded.sentence(),)
    with pytest.raises(InputError, match="it has no layer 'predictions'"):
        build_backbone("mobilenetv2", image_size=SIZE, weights=tmp_path / "classifier.keras", include_top=True)


def test_file_of_a_deeper_sibling_is_refused(tmp_path):
    keras.applications.VGG19(weights=None, include_top=False, input_shape=(32, 32, 3)).save_weights(
        tmp_path / "vgg19.weights.h5"
    )
    with pytest.raises(InputError, match="its layer 'block3_conv4' has no place in vgg16"):
        build_backbone("vgg16", image_size=32, weights=tmp_path / "vgg19.weights.h5")


def test_file_for_colour_fills_a_network_for_one_channel(mobilenet, tmp_path):
    mobilenet.save_weights(tmp_path / "colour.weights.h5")
    model = build_backbone("mobilenetv2", image_size=SIZE, weights=tmp_path / "colour.weights.h5", input_channels=1)
    kernel = keras.ops.convert_to_numpy(mobilenet.get_layer("Conv1").kernel)
    assert np.allclose(model.get_layer("Conv1").get_weights()[0], kernel.sum(axis=2, keepdims=True), atol=1e-6)
    model.save_weights(tmp_path / "grey.weights.h5")
    again = build_backbone("mobilenetv2", image_size=SIZE, weights=tmp_path / "grey.weights.h5", input_channels=1)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True))
    with pytest.raises(InputError, match="Conv1"):
        build_backbone("mobilenetv2", image_size=SIZE, weights=tmp_path / "grey.weights.h5")


@pytest.mark.parametrize("kind", ["published", "file"])
def test_efficientnet_equals_keras_with_its_extra_rescaling(cache, pixels, monkeypatch, kind):
    """Keras adds a layer with `weights="imagenet"`; we fold it into the Normalization it corrects."""
    name = "efficientnetb0_notop.h5"
    source = randomised(keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(SIZE, SIZE, 3)))
    normalization = next(layer for layer in source.layers if isinstance(layer, keras.layers.Normalization))
    normalization.set_weights([np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]), np.array(1)])
    source.save(cache / name)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *arguments, **options: str(cache / name))
    reference = keras.applications.EfficientNetB0(include_top=False, input_shape=(SIZE, SIZE, 3))
    if kind == "file":
        model = build_backbone("efficientnetb0", image_size=SIZE, weights=cache / name)
    else:
        file = WeightFile(name, "http://127.0.0.1:9/", None, False, None)
        register_backbone(
            "b0_published",
            "keras.applications:EfficientNetB0",
            preprocessing="inside",
            family="EfficientNet",
            weights="keras",
            weight_files=(file,),
        )
        try:
            model = build_backbone("b0_published", image_size=SIZE)
        finally:
            unregister_backbone("b0_published")
    assert len(reference.layers) == len(model.layers) + 1
    assert_same_features(model, reference, pixels, lambda x: x)
    if kind == "file":
        grey = build_backbone("efficientnetb0", image_size=SIZE, weights=cache / name, input_channels=1)
        scale = grey.get_layer("preprocess_scale").scale
        assert scale == pytest.approx([np.mean([1 / (255 * std) for std in (0.229, 0.224, 0.225)])], rel=1e-4)


@pytest.mark.slow
def test_dropped_packets_end_within_thirty_seconds(cache):
    """A server that accepts and never answers stands for a network that drops packets; real time-outs."""
    import socket
    import time

    with socket.create_server(("127.0.0.1", 0)) as listener:
        file = WeightFile("x.h5", f"http://127.0.0.1:{listener.getsockname()[1]}/x.h5", None, False, None)
        start = time.monotonic()
        with pytest.raises(InputError, match="no answer within"):
            fetch_published(get_backbone("resnet50"), file)
        assert time.monotonic() - start < 25
