from __future__ import annotations

import zipfile

import keras
import numpy as np
import pytest
from keras import layers

from tlkit.backbones.build import build_backbone, prepare_backbone
from tlkit.errors import InputError

SIZE = 32


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (8, SIZE, SIZE, 3)).astype("float32")


def run(model, pixels):
    return keras.ops.convert_to_numpy(model(pixels, training=False))


def body(x):
    """Two resolutions, a residual sum and a squeeze-and-excite block, whose pooling is no place to cut."""
    x = layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(x)
    x = layers.BatchNormalization(name="stem_bn")(x)
    squeezed = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    x = layers.Multiply(name="excite")([x, layers.Conv2D(8, 1, activation="sigmoid", name="gate")(squeezed)])
    x = x + layers.Conv2D(8, 3, padding="same", name="block")(x)
    x = layers.Conv2D(16, 3, strides=2, padding="same", name="down")(x)
    return layers.ReLU(name="last")(x)


def head(x):
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return layers.Dense(3, activation="softmax", name="scores")(layers.Dropout(0.3, name="drop")(x))


def functional(scaled=True, size=SIZE, channels=3):
    image = keras.Input((size, size, channels), name="photo")
    x = layers.Rescaling(1 / 255, name="own_scale")(image) if scaled else image
    return keras.Model(image, head(body(x)), name="mine")


def nested(scaled=True):
    inner_image = keras.Input((SIZE, SIZE, 3))
    inner = keras.Model(inner_image, body(inner_image), name="inner")
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Rescaling(1 / 255, name="own_scale")(image) if scaled else image
    return keras.Model(image, head(inner(x, training=False)), name="outer")


def sequential():
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, name="conv"),
            layers.Flatten(),
            layers.Dense(2),
        ],
        name="stack",
    )


def traced():
    """As in Keras's guide: `preprocess_input` called on the symbolic input leaves bare operations in the graph."""
    image = keras.Input((SIZE, SIZE, 3))
    return keras.Model(image, head(body(keras.applications.mobilenet_v2.preprocess_input(image))))


def save(model, folder, name="mine.keras"):
    generator = np.random.default_rng(1)
    model.set_weights([value + generator.uniform(0, 0.1, value.shape) for value in model.get_weights()])
    model.save(folder / name)
    return folder / name


@pytest.mark.parametrize("build", [functional, nested, traced])
def test_feature_map_of_the_saved_model(tmp_path, pixels, build):
    saved = build()
    prepared = prepare_backbone(save(saved, tmp_path))
    model = prepared.model
    classified = head_of(saved, run(model, pixels).mean(axis=(1, 2)))
    assert np.abs(classified - run(saved, pixels)).max() < 1e-5
    assert model.output.shape == (None, 8, 8, 16)
    assert model.input.name == "image"
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert prepared.backbone.preprocessing == "inside"
    assert "cut off at 'pool'; left out: pool, drop, scores." in prepared.notes[0]


def head_of(saved, pooled):
    kernel, bias = saved.get_layer("scores").get_weights()
    return keras.ops.convert_to_numpy(keras.ops.softmax(pooled @ kernel + bias))


def test_sequential_with_flatten(tmp_path):
    prepared = prepare_backbone(save(sequential(), tmp_path))
    assert prepared.model.output.shape == (None, 30, 30, 4)
    assert "at 'flatten'" in prepared.notes[0]


def test_headless_model_is_taken_whole(tmp_path):
    image = keras.Input((SIZE, SIZE, 3))
    prepared = prepare_backbone(save(keras.Model(image, body(layers.Rescaling(1 / 255)(image))), tmp_path))
    assert prepared.model.layers[-1].name == "last"
    assert len(prepared.notes) == 1


def test_scaling_is_asked_for_and_put_in_front(tmp_path, pixels):
    saved = functional(scaled=False)
    path = save(saved, tmp_path)
    with pytest.raises(InputError, match="Expected --preprocessing for"):
        build_backbone(path)
    with pytest.raises(InputError, match="Did you mean 'torch'"):
        build_backbone(path, preprocessing="tourch")
    model = build_backbone(path, preprocessing="unit")
    classified = head_of(saved, run(model, pixels).mean(axis=(1, 2)))
    assert np.abs(classified - run(saved, pixels / 255)).max() < 1e-5
    raw = build_backbone(path, preprocessing="inside")
    assert np.abs(run(raw, pixels / 255) - run(model, pixels)).max() < 1e-5
    assert np.abs(run(raw, pixels) - run(model, pixels)).max() > 1


def test_scaling_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"scales its input itself \(own_scale\).*would scale twice"):
        build_backbone(save(functional(), tmp_path), preprocessing="tf")


def test_other_sizes_and_channels(tmp_path):
    path = save(functional(), tmp_path)
    assert build_backbone(path, image_size=48).output.shape == (None, 12, 12, 16)
    assert build_backbone(path, input_channels=1).input.shape == (None, SIZE, SIZE, 1)
    grey = save(functional(channels=1), tmp_path, "grey.keras")
    assert build_backbone(grey, input_channels=1).input.shape == (None, SIZE, SIZE, 1)
    with pytest.raises(InputError, match="3 channels"):
        build_backbone(grey)


def test_model_of_any_size_gets_the_default(tmp_path):
    image = keras.Input((None, None, 3))
    path = save(keras.Model(image, head(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(image)))), tmp_path)
    assert build_backbone(path).input.shape == (None, 224, 224, 3)


def test_size_that_the_model_cannot_take(tmp_path):
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Reshape((16, 64, 3))(layers.Rescaling(1 / 255)(image))
    path = save(keras.Model(image, head(layers.Conv2D(4, 3)(x))), tmp_path)
    with pytest.raises(InputError, match=r"it was made for 32 x 32. Received: 40"):
        build_backbone(path, image_size=40)


def test_stages_end_where_the_feature_map_shrinks(tmp_path):
    backbone = prepare_backbone(save(functional(), tmp_path)).backbone
    assert [stage.layer for stage in backbone.stages][-2:] == ["add", "last"]
    assert (backbone.name, backbone.family, backbone.default_image_size) == ("mine", "saved model", SIZE)


def two_inputs():
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    return keras.Model([left, right], layers.Flatten()(layers.Add()([left, right])))


def two_outputs():
    image = keras.Input((8, 8, 3))
    return keras.Model(image, [layers.Flatten()(image), layers.ReLU()(image)])


def table():
    return keras.Sequential([keras.Input((4,)), layers.Dense(2)])


def without_pooling():
    image = keras.Input((8, 8, 3))
    return keras.Model(image, layers.Reshape((8, 24))(layers.Rescaling(1 / 255)(image)))


def with_lambda():
    image = keras.Input((8, 8, 3))
    return keras.Model(image, layers.Flatten()(layers.Lambda(lambda x: x / 255, output_shape=(8, 8, 3))(image)))


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (two_inputs, r"one input. Received: .* with 2 \(left, right\)"),
        (two_outputs, "one output"),
        (table, "a model of images"),
        (without_pooling, "global pooling or Flatten"),
        (with_lambda, "without code of its own"),
    ],
)
def test_models_that_do_not_fit(tmp_path, build, match):
    build().save(tmp_path / "odd.keras")
    with pytest.raises(InputError, match=match) as caught:
        build_backbone(tmp_path / "odd.keras")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no archive", "zip"])
def test_files_that_are_no_models(tmp_path, content):
    path = tmp_path / "broken.keras"
    if content == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match="Expected a saved Keras model") as caught:
        build_backbone(path)
    assert "\n" not in str(caught.value)


def test_imagenet_head_of_a_saved_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="registered backbone for its ImageNet head"):
        build_backbone(save(functional(), tmp_path), include_top=True)
