"""One contract for every backbone of the registry: the smallest of each family here, all of them under `slow`.

Under JAX the saved models are read by the interpreter named in TLKIT_JAX_PYTHON, or by this one where jax is installed.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from tlkit.backbones.build import build_backbone
from tlkit.backbones.flatten import canonical_names
from tlkit.backbones.registry import get_backbone, list_backbones
from tlkit.graph import cut_points
from tlkit.strategies import Phase, apply_phase

IMAGES = 4


def _parameters():
    """Every backbone; the smallest of each family is fast."""
    families = set()
    for backbone in list_backbones():
        large = backbone.from_scratch and (backbone.parameters or 0) > 3_000_000
        fast = backbone.family not in families and not large
        families.add(backbone.family)
        yield pytest.param(backbone.name, marks=() if fast else pytest.mark.slow, id=backbone.name)


def image_size(backbone):
    """Small, and a multiple of 32 so that no family pads differently from what it was made for."""
    if backbone.from_scratch and backbone.default_image_size < 64:
        return backbone.default_image_size  # Fully connected layers are made for one size.
    return max(64, -(-backbone.min_image_size // 32) * 32)


@pytest.fixture(scope="module", params=_parameters())
def backbone(request):
    yield get_backbone(request.param)
    keras.backend.clear_session()
    gc.collect()


@pytest.fixture(scope="module")
def pixels(backbone):
    size = image_size(backbone)
    return np.random.default_rng(1).integers(0, 256, (IMAGES, size, size, 3)).astype("float32")


@pytest.fixture(scope="module")
def model(backbone, pixels, settle):
    """Random weights that let rounding errors stay small."""
    model = build_backbone(backbone.name, image_size=image_size(backbone), weights="none")
    settle(model, pixels)
    return model


@pytest.fixture(scope="module")
def features(model, pixels):
    return run(model, pixels)


def run(model, pixels):
    return keras.ops.convert_to_numpy(model(pixels, training=False))


def fingerprints(model):
    """Digests in place of copies: the largest network takes 1.3 GB."""
    return [hashlib.sha256(np.ascontiguousarray(weight).tobytes()).hexdigest() for weight in model.get_weights()]


def assert_close(received, expected, tolerance):
    assert received.shape == expected.shape
    assert np.isfinite(received).all()
    assert np.abs(received - expected).max() <= tolerance * np.abs(expected).max()


def test_facts_equal_the_model(backbone, model):
    assert model.count_params() == backbone.parameters
    assert model.output.shape[-1] == model.layers[-1].output.shape[-1]
    with pytest.raises(ValueError, match="Expected an image size of at least"):
        build_backbone(backbone.name, image_size=backbone.min_image_size - 1, weights="none")


@pytest.mark.slow
def test_smallest_size_is_accepted(backbone):
    model = build_backbone(backbone.name, image_size=backbone.min_image_size, weights="none")
    assert all(side >= 1 for side in model.output.shape[1:])


@pytest.mark.slow
def test_head_of_imagenet(backbone):
    made_for_one_size = backbone.from_scratch or backbone.family == "VGG"
    size = backbone.default_image_size if made_for_one_size else image_size(backbone)
    model = build_backbone(backbone.name, image_size=size, weights="none", include_top=True)
    assert model.count_params() == backbone.parameters_with_top
    assert model.output.shape in ((None, 1000), (None, 10) if backbone.from_scratch else ())


def test_graph_is_flat_with_unique_names(model):
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    names = [operation.name for operation in model.operations]
    assert len(set(names)) == len(names)
    assert names[0] == model.input.name == "image"
    others = [operation.name for operation in model.operations if not isinstance(operation, keras.Layer)]
    assert set(others) <= {"preprocess_flip", "preprocess_grey"}
    keras.Model(model.input, [layer.output for layer in model.layers])  # Raises where one cannot be tapped.


def test_names_are_those_of_a_fresh_process(model):
    """Stages and weights are found by name, whatever was built before in the process (here: most of the registry)."""
    assert all(new == old for old, new in canonical_names(model).items())


def test_equals_the_family_on_its_own_preprocessing(backbone, model, pixels, features):
    """Our graph on raw pixels is the family's model on what its `preprocess_input` makes of them."""
    if backbone.weights != "keras":
        pytest.skip("not of Keras Applications; see test_packaged.py")
    function = getattr(keras.applications, backbone.build.partition(":")[2])
    module = importlib.import_module(function.__module__)
    reference = function(weights=None, include_top=False, input_shape=pixels.shape[1:])
    pairs = zip(model.get_weights(), reference.get_weights(), strict=True)
    # ConvNeXt's convolutions are depthwise here: the last two axes of their kernels stand in the other order.
    reference.set_weights([own if own.shape == its.shape else np.swapaxes(own, 2, 3) for own, its in pairs])
    for layer in reference.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    expected = module.preprocess_input(pixels.copy())
    ours = [operation for operation in model.operations if operation.name.startswith("preprocess_")]
    assert bool(ours) == (backbone.preprocessing != "inside")
    if ours:
        assert np.abs(run(keras.Model(model.input, ours[-1].output), pixels) - expected).max() <= 1e-5
    assert_close(features, run(reference, expected), 1e-3)


def test_stage_boundaries_are_legal_cuts(backbone, model):
    cuts = set(cut_points(model)) | {model.layers[-1].name}
    counted = -1
    for stage in backbone.stages:
        assert stage.layer in cuts
        tensor = model.get_layer(stage.layer).output
        before = keras.Model(model.input, tensor).count_params()
        last = tensor is model.output
        after = 0 if last else keras.Model(tensor, model.output).count_params()  # Raises where paths run past the cut.
        assert before + after == backbone.parameters
        assert before > counted
        counted = before
    assert backbone.stages[-1].layer == model.layers[-1].name


def test_nasnet_has_no_cut_within_its_cells(backbone, model):
    """Each cell reads the two before it, so that two tensors cross every place but the very last."""
    if backbone.family != "NASNet":
        pytest.skip("about NASNet alone")
    names = [layer.name for layer in model.layers]
    start, end = (names.index(stage.layer) for stage in backbone.stages)
    assert [name for name in cut_points(model) if start < names.index(name) < end] == [names[end - 1]]


def test_nothing_frozen_moves_under_fit(backbone, model, pixels, features):
    """Weights, BatchNormalization statistics and drop rates, after a step with only the head trainable."""
    x = keras.layers.GlobalAveragePooling2D(name="pooled_features")(model.output)
    classifier = keras.Model(model.input, keras.layers.Dense(2, activation="softmax", name="head")(x))
    before = fingerprints(model)
    rates = [layer.get_config().get("rate") for layer in model.layers]
    apply_phase(classifier, Phase("head"))
    classifier.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    head = classifier.get_layer("head").get_weights()
    classifier.fit(pixels, np.arange(IMAGES) % 2, batch_size=IMAGES, verbose=0)
    assert not np.array_equal(classifier.get_layer("head").get_weights()[0], head[0])
    assert fingerprints(model) == before
    assert rates == [layer.get_config().get("rate") for layer in model.layers]
    assert np.array_equal(run(model, pixels), features)
    model.trainable = True


READER = """
import sys
sys.modules["tlkit"] = None
import keras
import numpy as np
print("ready", keras.config.backend(), flush=True)
for line in sys.stdin:
    model_path, pixels_path, features_path = line.rstrip("\\n").split("\\t")
    try:
        model = keras.saving.load_model(model_path, safe_mode=True)
        np.save(features_path, keras.ops.convert_to_numpy(model(np.load(pixels_path), training=False)))
        names = ",".join(layer.name for layer in model.layers)
        del model
        keras.backend.clear_session()
    except Exception as error:
        names = "failed: " + repr(error)[:2000].replace("\\n", " ")
    print("answer", names, flush=True)
"""


class Reader:
    """A process without tlkit that loads saved models, one after the other: starting a backend takes seconds."""

    def __init__(self, python, backend):
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self.process = subprocess.Popen(
            [python, "-c", READER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**environment, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        assert self._line("ready") == backend

    def _line(self, start):
        for line in self.process.stdout:
            if line.startswith(start):
                return line[len(start) :].strip()
        raise AssertionError(f"the reading process ended with {self.process.wait()}")

    def read(self, model_path, pixels, folder):
        np.save(folder / "pixels.npy", pixels)
        print(model_path, folder / "pixels.npy", folder / "features.npy", sep="\t", file=self.process.stdin, flush=True)
        names = self._line("answer")
        assert not names.startswith("failed"), names
        return names.split(","), np.load(folder / "features.npy")

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def plain_reader():
    reader = Reader(sys.executable, keras.config.backend())
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def jax_reader():
    python = os.environ.get("TLKIT_JAX_PYTHON") or (sys.executable if importlib.util.find_spec("jax") else None)
    if python is None:
        pytest.skip("no interpreter with jax: install jax here or name one in TLKIT_JAX_PYTHON")
    reader = Reader(python, "jax")
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    yield path
    path.unlink()


def test_loads_exactly_where_tlkit_is_not_installed(saved, model, pixels, features, plain_reader):
    names, received = plain_reader.read(saved, pixels, saved.parent)
    assert names == [layer.name for layer in model.layers]
    assert np.array_equal(received, features)


@pytest.mark.slow
def test_loads_under_jax(saved, pixels, features, jax_reader):
    _, received = jax_reader.read(saved, pixels, saved.parent)
    assert_close(received, features, 1e-3)


def test_all_forty_keras_applications_are_registered():
    functions = {name.lower() for name in dir(keras.applications) if name[0].isupper()}
    assert {backbone.name for backbone in list_backbones() if backbone.weights == "keras"} == functions


def _downloads(function, include_top, size, monkeypatch):
    """Asks Keras which file it would fetch, and stops it there."""

    class FetchError(Exception):
        pass

    def stop(name, origin=None, **options):
        raise FetchError(name, origin, options.get("file_hash"))

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", stop)
    with pytest.raises(FetchError) as caught:
        function(weights="imagenet", include_top=include_top, input_shape=(size, size, 3))
    return caught.value.args


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
def test_weight_files_are_those_of_the_installed_keras(backbone, monkeypatch):
    if backbone.weights != "keras":
        pytest.skip("its weights are not downloaded")
    function = getattr(keras.applications, backbone.build.partition(":")[2])
    for file in backbone.weight_files:
        size = file.image_size or backbone.default_image_size
        assert _downloads(function, file.top, size, monkeypatch) == (file.name, file.url, file.digest)
