"""Every form of weights file that Keras users have, for a small network; real ones of Keras 2 are in goldens/keras2."""

from __future__ import annotations

import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from tlkit.backbones.flatten import flatten
from tlkit.backbones.weight_matching import LoadedWeights, fill_from_file, storage_paths
from tlkit.errors import InputError

LAYERS = 5


def tiny(filters=4, deeper=False, named=False):
    """The network of `goldens/make_keras2_weights.py`; Keras makes up the names of three layers unless `named`."""
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(filters, 3, name="stem_conv")(image)
    x = layers.BatchNormalization(name="stem_bn" if named else None)(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    if deeper:
        x = layers.Conv2D(filters, 1, name="extra")(x)
    x = layers.BatchNormalization(name="bn" if named else None)(x)
    return keras.Model(image, layers.Conv2D(6, 1, name="top" if named else None)(x), name="tiny")


@pytest.fixture
def target():
    return flatten(tiny())


@pytest.fixture
def trained():
    model = tiny()
    generator = np.random.default_rng(3)
    model.set_weights([generator.uniform(0.1, 1, weight.shape) for weight in model.get_weights()])
    return model


def with_head(base, nested):
    image = keras.Input((16, 16, 3), name="pixels")
    x = base(layers.Rescaling(1 / 255)(image), training=False) if nested else base.output
    x = layers.Dense(2, name="scores")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image if nested else base.input, x)


def assert_filled(target, values):
    for received, expected in zip(target.get_weights(), values, strict=True):
        assert np.array_equal(received, expected)


def forget_names(path):
    """Makes of a Keras 3.15 file one of earlier Keras 3, which noted no names."""
    with h5py.File(path, "r+") as file:
        file.visititems(lambda _, item: item.attrs.pop("name", None) and None)


@pytest.mark.parametrize("form", ["flat.h5", "flat.weights.h5", "with_top.h5", "nested.h5", "nested.keras"])
def test_files_written_by_keras_2(target, goldens, form):
    loaded = fill_from_file(target, goldens / "keras2" / form)
    with np.load(goldens / "keras2" / "weights.npz") as stored:
        assert_filled(target, [stored[name] for name in stored])
    assert (loaded.filled, loaded.total, loaded.parameters) == (LAYERS, LAYERS, target.count_params())
    assert len(loaded.ignored) == (form == "with_top.h5")


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("form", ["model.weights.h5", "model.keras", "model.h5"])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_files_written_by_keras_3(target, trained, tmp_path, nested, form, named):
    whole, path = with_head(trained, nested), tmp_path / form
    whole.save_weights(path) if form.endswith(".weights.h5") else whole.save(path)
    if form == "model.weights.h5" and not named:
        forget_names(path)
    loaded = fill_from_file(target, path)
    assert_filled(target, trained.get_weights())
    assert loaded.ignored in ((), ("scores",), ("dense",))
    assert (loaded.ignored == ()) == nested


def test_nested_sequential_without_names(tmp_path):
    """As in ConvNeXt: the paths of the network as it was built lead to the layers of the flat one."""

    def build():
        image = keras.Input((16, 16, 3), name="image")
        x = keras.Sequential([layers.Conv2D(4, 4, strides=4, name="patch"), layers.LayerNormalization(name="norm")])(
            image
        )
        return keras.Model(image, layers.Conv2D(4, 1, name="mix")(x), name="patches")

    trained = build()
    trained.set_weights([np.random.default_rng(0).normal(size=weight.shape) for weight in trained.get_weights()])
    trained.save_weights(tmp_path / "sequential.weights.h5")
    forget_names(tmp_path / "sequential.weights.h5")
    network = build()
    target = flatten(network)
    loaded = fill_from_file(target, tmp_path / "sequential.weights.h5", storage_paths(network))
    assert loaded.filled == 3
    pixels = np.random.default_rng(1).normal(size=(2, 16, 16, 3)).astype("float32")
    assert np.array_equal(target.predict(pixels, verbose=0), trained.predict(pixels, verbose=0))


def test_bfloat16_weights(target, tmp_path):
    keras.config.set_dtype_policy("bfloat16")
    try:
        trained = tiny()
    finally:
        keras.config.set_dtype_policy("float32")
    trained.save_weights(tmp_path / "half.weights.h5")
    fill_from_file(target, tmp_path / "half.weights.h5")
    assert_filled(target, [np.asarray(keras.ops.cast(weight, "float32")) for weight in trained.weights])


def refuse(target, path, match):
    before = target.get_weights()
    with pytest.raises(InputError, match=match) as caught:
        fill_from_file(target, path)
    assert "\n" not in str(caught.value)
    assert_filled(target, before)


def test_other_widths_name_the_first_layer_that_differs(target, tmp_path):
    tiny(filters=8).save_weights(tmp_path / "wide.weights.h5")
    refuse(target, tmp_path / "wide.weights.h5", "layer 'stem_conv' is 3x3x3x4, 4, in the file .* 3x3x3x8, 8")


@pytest.mark.parametrize("form", ["deep.weights.h5", "deep.h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_deeper_network_of_the_same_names_is_not_taken_for_this_one(tmp_path, form):
    """As ResNet101 for ResNet50: every layer wanted is there, with the right shape."""
    deep = tiny(deeper=True, named=True)
    deep.save_weights(tmp_path / form) if form.endswith(".weights.h5") else deep.save(tmp_path / form)
    refuse(flatten(tiny(named=True)), tmp_path / form, "fills 5 of 5 layers: its layer 'extra' has no place in tiny")


def test_shallower_network_names_the_missing_layer(tmp_path):
    tiny(named=True).save_weights(tmp_path / "tiny.weights.h5")
    refuse(flatten(tiny(deeper=True, named=True)), tmp_path / "tiny.weights.h5", "it has no layer 'extra'")


@pytest.mark.parametrize(
    ("name", "content"),
    [("text.h5", b"no weights at all"), ("empty.weights.h5", b""), ("cut.h5", b"\x89HDF\r\n\x1a\n" + bytes(90))],
)
def test_files_that_are_no_weights(target, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refuse(target, tmp_path / name, "Expected a readable weights file")


def test_archive_without_weights(target, tmp_path):
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("readme.txt", "no model")
    refuse(target, tmp_path / "other.keras", "Expected a readable weights file")


def test_hdf5_without_layers(target, tmp_path):
    with h5py.File(tmp_path / "table.h5", "w") as file:
        file["numbers"] = np.arange(3)
    refuse(target, tmp_path / "table.h5", "Received: a file with none")


def test_truncated_file(target, trained, tmp_path):
    trained.save_weights(tmp_path / "whole.weights.h5")
    data = (tmp_path / "whole.weights.h5").read_bytes()
    (tmp_path / "half.weights.h5").write_bytes(data[: len(data) // 2])
    refuse(target, tmp_path / "half.weights.h5", "Expected a readable weights file")


def test_missing_file(target, tmp_path):
    refuse(target, tmp_path / "nowhere.h5", "does not exist")


def test_code_in_a_keras_file_is_never_run(target, trained, tmp_path):
    """The configuration of the archive is not even read; a Lambda layer in it does no harm."""
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Lambda(lambda pixels: pixels / 0, output_shape=(16, 16, 3))(image)
    keras.Model(image, trained(x)).save(tmp_path / "lambda.keras")
    assert fill_from_file(target, tmp_path / "lambda.keras").filled == LAYERS
    assert_filled(target, trained.get_weights())


def test_sentence_tells_what_was_filled_and_what_was_left(tmp_path):
    loaded = LoadedWeights(tmp_path / "mine.h5", 5, 5, 1234, ("scores",))
    assert loaded.sentence() == "mine.h5 filled 5 of 5 layers (1,234 parameters); not used from the file: scores."
