"""Grad-CAM and occlusion: what decides the class lights up, and what the model has not learnt shows nothing."""

from __future__ import annotations

import gc
import importlib.util
import os
import subprocess
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tlkit.analysis.gradcam import grad_cam
from tlkit.analysis.gradients import loss_and_gradients, model_loss, value_and_gradients
from tlkit.analysis.heat_maps import HeatMaps
from tlkit.analysis.occlusion import occlusion
from tlkit.backbones.build import build_backbone
from tlkit.backbones.registry import get_backbone, list_backbones
from tlkit.classifier import add_head
from tlkit.errors import InputError

SIZE, PATCH = 48, 12
COLOURS = np.array([[220, 60, 60], [60, 200, 60], [70, 70, 230]])
DRAW_MAPS = Path(__file__).with_name("draw_maps.py")


def planted(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise with one square whose colour alone decides the class: images, classes, (top, left) of the squares."""
    generator = np.random.default_rng(seed)
    images = generator.normal(128, 40, (count, SIZE, SIZE, 3)).clip(0, 255)
    classes = generator.integers(3, size=count)
    places = generator.integers(0, SIZE - PATCH, size=(count, 2))
    for image, colour, (top, left) in zip(images, COLOURS[classes], places, strict=True):
        image[top : top + PATCH, left : left + PATCH] = colour
    return images.astype(np.uint8), classes, places


def untrained(head: str = "softmax") -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Rescaling(1 / 127.5, -1)(inputs)
    for number, width in enumerate((16, 24, 32)):
        x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"conv{number}")(x)
        x = layers.MaxPooling2D(name=f"pool{number}")(x)
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    if head == "softmax":
        outputs = layers.Dense(3, activation="softmax", name="head")(x)
    else:
        outputs = layers.Dense(3, name="head")(x)
        outputs = layers.Activation("softmax", name="probabilities")(outputs) if head == "activation" else outputs
    return keras.Model(inputs, outputs, name="squares")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A small network that has learnt to tell the squares apart."""
    keras.utils.set_random_seed(0)
    model = untrained()
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    images, classes, _ = planted(600, 0)
    model.fit(images, classes, batch_size=32, epochs=10, verbose=0)
    return model


@pytest.fixture(scope="module")
def seen(model: keras.Model) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images that the network was not trained on and names right."""
    images, classes, places = planted(40, 1)
    right = model.predict(images, verbose=0).argmax(axis=1) == classes
    assert right.sum() >= 32
    return images[right][:32], classes[right][:32], places[right][:32]


def share_on_square(maps: HeatMaps, places: np.ndarray, margin: int) -> np.ndarray:
    """Share of each map's heat that lies on the square and `margin` pixels around it."""
    drawn = maps.resized(SIZE, SIZE)
    shares = []
    for heat, (top, left) in zip(drawn, places, strict=True):
        rows, columns = (slice(max(at - margin, 0), at + PATCH + margin) for at in (top, left))
        shares.append(heat[rows, columns].sum() / heat.sum())
    return np.array(shares)


def likeness(first: HeatMaps, second: HeatMaps) -> float:
    """Mean rank correlation of two sets of maps."""

    def ranks(maps: HeatMaps) -> np.ndarray:
        ranked = maps.resized(SIZE, SIZE).reshape(len(maps.maps), -1).argsort(axis=1).argsort(axis=1)
        return ranked - ranked.mean(axis=1, keepdims=True)

    a, b = ranks(first), ranks(second)
    return float(np.mean((a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))))


@pytest.mark.parametrize("method", [grad_cam, occlusion])
def test_the_square_that_decides_lights_up(model: keras.Model, seen: tuple, method) -> None:
    images, classes, places = seen
    count = 32 if method is grad_cam else 8
    maps = method(model, images[:count])
    assert np.array_equal(maps.classes, classes[:count])
    area = (PATCH + 8) ** 2 / SIZE**2
    shares = share_on_square(maps, places[:count], margin=4)
    assert np.median(shares) > 3 * area
    assert (shares > area).mean() > 0.9


@pytest.mark.parametrize("method", [grad_cam, occlusion])
def test_with_randomised_weights_the_map_is_another(model: keras.Model, seen: tuple, method) -> None:
    images, classes, places = seen[0][:8], seen[1][:8], seen[2][:8]
    keras.utils.set_random_seed(7)
    random = untrained()
    learnt, blank = (method(one, images, classes) for one in (model, random))
    assert likeness(learnt, blank) < 0.5
    assert likeness(learnt, method(model, images, classes)) > 0.999
    blank_shares = share_on_square(blank, places, 4) if (blank.maps.max(axis=(1, 2)) > 0).all() else np.zeros(8)
    assert np.median(share_on_square(learnt, places, 4)) > np.median(blank_shares) + 0.2


def test_another_class_gives_another_map(model: keras.Model, seen: tuple) -> None:
    images, classes, places = (one[:16] for one in seen)
    true, false = grad_cam(model, images, classes), grad_cam(model, images, (classes + 1) % 3)
    shown = false.maps.max(axis=(1, 2)) > 0
    assert np.median(share_on_square(true, places, 4)) > 0.5
    assert shown.sum() < 16 or np.median(share_on_square(false, places, 4)) < 0.3


def test_one_linear_layer_after_pooling_gives_class_activation_maps(model: keras.Model, seen: tuple) -> None:
    images, classes = seen[0][:6], seen[1][:6]
    features = keras.Model(model.input, model.get_layer("pool2").output).predict(images, verbose=0)
    kernel = model.get_layer("head").get_weights()[0]
    expected = np.maximum((features * kernel[:, classes].T[:, None, None]).sum(axis=-1), 0) / (6 * 6)
    found = grad_cam(model, images)
    assert found.layer == "pool2"
    np.testing.assert_allclose(found.maps, expected, rtol=1e-4, atol=1e-5)


def test_all_three_kinds_of_head_give_one_map(model: keras.Model, seen: tuple) -> None:
    images = seen[0][:6]
    maps = grad_cam(model, images).maps
    for head in ("activation", "logits"):
        other = untrained(head)
        other.set_weights(model.get_weights())
        np.testing.assert_allclose(grad_cam(other, images).maps, maps, rtol=1e-5, atol=1e-6)


def test_a_sure_prediction_still_has_a_map(model: keras.Model, seen: tuple) -> None:
    sure = untrained()
    sure.set_weights([*model.get_weights()[:-2], *(50 * weight for weight in model.get_weights()[-2:])])
    assert (sure.predict(seen[0][:8], verbose=0).max(axis=1) == 1).all()
    np.testing.assert_allclose(grad_cam(sure, seen[0][:8]).maps, 50 * grad_cam(model, seen[0][:8]).maps, rtol=1e-3)


def test_batches_do_not_matter_and_are_counted(model: keras.Model, seen: tuple) -> None:
    calls: list[tuple[int, int]] = []
    one = grad_cam(model, seen[0][:10], batch_size=4, on_progress=lambda done, total: calls.append((done, total)))
    np.testing.assert_allclose(one.maps, grad_cam(model, seen[0][:10]).maps, rtol=1e-4, atol=1e-6)
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_nothing_in_the_model_changes(model: keras.Model, seen: tuple) -> None:
    before = [weight.copy() for weight in model.get_weights()]
    flags = [layer.trainable for layer in model.layers]
    grad_cam(model, seen[0][:4])
    occlusion(model, seen[0][:1])
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert flags == [layer.trainable for layer in model.layers]


def test_a_nested_model_is_opened(model: keras.Model, seen: tuple) -> None:
    base = keras.Model(model.input, model.get_layer("pool2").output, name="base")
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.GlobalAveragePooling2D()(base(inputs, training=False))
    nested = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Dropout(0.5)(x)))
    nested.layers[-1].set_weights(model.get_layer("head").get_weights())
    stacked = keras.Sequential([keras.Input((SIZE, SIZE, 3)), base, layers.GlobalAveragePooling2D(), nested.layers[-1]])
    expected = grad_cam(model, seen[0][:4]).maps
    for wrapped in (nested, stacked):
        np.testing.assert_allclose(grad_cam(wrapped, seen[0][:4]).maps, expected, rtol=1e-4, atol=1e-6)


def test_two_classes_with_one_output(seen: tuple) -> None:
    keras.utils.set_random_seed(0)
    base = untrained("logits")
    single = keras.Model(base.input, layers.Dense(1, activation="sigmoid")(base.get_layer("pooled").output))
    images = seen[0][:6]
    second, first = grad_cam(single, images, np.ones(6, int)), grad_cam(single, images, np.zeros(6, int))
    assert not ((second.maps > 0) & (first.maps > 0)).any()
    named = (single.predict(images, verbose=0)[:, 0] > 0.5).astype(int)
    assert np.array_equal(grad_cam(single, images).classes, named)
    assert np.array_equal(occlusion(single, images).classes, named)


def test_a_layer_of_choice_and_one_that_is_not_there(model: keras.Model, seen: tuple) -> None:
    assert grad_cam(model, seen[0][:2], layer="conv1").maps.shape == (2, SIZE // 2, SIZE // 2)
    with pytest.raises(InputError, match="Did you mean 'conv1'"):
        grad_cam(model, seen[0][:2], layer="conv_1")


def test_a_model_without_a_feature_map_is_refused_and_occluded_all_the_same(seen: tuple) -> None:
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Dense(8, activation="relu")(layers.Flatten()(layers.Rescaling(1 / 255)(inputs)))
    flat = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    with pytest.raises(InputError, match="occlusion explains any model"):
        grad_cam(flat, seen[0][:2])
    assert occlusion(flat, seen[0][:2], window=24).maps.shape == (2, SIZE, SIZE)


@pytest.mark.parametrize(
    ("images", "classes", "named"),
    [
        (np.zeros((0, SIZE, SIZE, 3)), None, "n > 0"),
        (np.zeros((SIZE, SIZE, 3)), None, "shape"),
        (np.zeros((2, SIZE, SIZE, 3)), [0, 3], "0 to 2"),
        (np.zeros((2, SIZE, SIZE, 3)), [0], "each of 2 images"),
    ],
)
@pytest.mark.parametrize("method", [grad_cam, occlusion])
def test_wrong_input_is_told(model: keras.Model, method, images: np.ndarray, classes: list, named: str) -> None:
    with pytest.raises(InputError, match=named):
        method(model, images, classes)


@pytest.mark.parametrize("given", [{"window": 0}, {"window": SIZE + 1}, {"window": 8, "stride": 9}, {"stride": 0}])
def test_squares_that_do_not_fit_are_told(model: keras.Model, seen: tuple, given: dict) -> None:
    with pytest.raises(InputError, match="window of 1 to 48"):
        occlusion(model, seen[0][:1], **given)


def test_maps_are_drawn_at_the_size_of_the_image() -> None:
    maps = HeatMaps("grad-cam", "x", np.zeros(2, np.int64), np.float32([[[0, 2], [0, 0]], [[0, 0], [0, 0]]]))
    drawn = maps.resized(8, 12)
    assert drawn.shape == (2, 8, 12)
    assert drawn[0].max() == drawn[0, 0, -1] == 1
    assert drawn[0, -1, 0] == 0
    assert not drawn[1].any()


@pytest.mark.slow
def test_64_images_take_at_most_twice_their_forward_and_backward_pass() -> None:
    model = add_head(build_backbone("mobilenetv2", image_size=96, weights="none"), 10)
    images = np.random.default_rng(0).integers(0, 255, (64, 96, 96, 3)).astype(np.float32)
    labels = np.arange(64) % 10
    differentiated = value_and_gradients(
        model_loss(model, keras.losses.sparse_categorical_crossentropy, training=False)
    )

    def seconds(work) -> float:
        work()
        times = []
        for _ in range(3):
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
        return min(times)

    passes = seconds(lambda: loss_and_gradients(differentiated, model, images, labels))
    assert seconds(lambda: grad_cam(model, images, labels)) < 2 * passes


FAST = ("efficientnet_lite0", "mobilenetv2")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(one.name, marks=() if one.name in FAST else pytest.mark.slow, id=one.name)
        for one in list_backbones()
    ],
)
def test_every_backbone_of_the_registry_has_maps(name: str) -> None:
    size = max(64, -(-get_backbone(name).min_image_size // 32) * 32)
    keras.utils.set_random_seed(0)
    base = build_backbone(name, image_size=size, weights="none")
    model = add_head(base, 3)
    head = model.get_layer("head")
    head.set_weights([np.random.default_rng(0).normal(size=head.kernel.shape), np.zeros(3)])
    images = np.random.default_rng(1).integers(0, 255, (2, size, size, 3)).astype(np.float32)
    maps = grad_cam(model, images)
    last = base.output_shape[1:3]
    # A map of one place tells nothing of where: the larger one before it is taken.
    assert maps.maps.shape == (2, *last) if last != (1, 1) else maps.maps[0].size > 1
    assert np.isfinite(maps.maps).all()
    keras.backend.clear_session()
    gc.collect()


@pytest.mark.slow
def test_maps_do_not_depend_on_the_backend(model: keras.Model, seen: tuple, tmp_path: Path) -> None:
    interpreter = os.environ.get("TLKIT_JAX_PYTHON")
    if not interpreter:
        pytest.skip("TLKIT_JAX_PYTHON names no Python that has JAX")
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", seen[0][:6])
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": str(DRAW_MAPS.parents[2]),
        "JAX_PLATFORMS": "cpu",
    }
    files = [str(tmp_path / name) for name in ("model.keras", "images.npy", "maps.npz")]
    subprocess.run([interpreter, str(DRAW_MAPS), *files], env=environment, check=True, capture_output=True)
    specification = importlib.util.spec_from_file_location("draw_maps", DRAW_MAPS)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    theirs = np.load(files[-1])
    assert theirs["backend"] == "jax"
    for name, maps in module.draw_maps(model, seen[0][:6]).items():
        np.testing.assert_allclose(theirs[name], maps.maps, rtol=1e-3, atol=1e-4 * maps.maps.max())
