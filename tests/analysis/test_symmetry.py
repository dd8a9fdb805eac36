"""Moving pictures exactly, and what is known of convolution and pooling under shifts, turns and flips."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from tlkit.analysis.symmetry import default_transformations, symmetry_errors
from tlkit.analysis.warp import Grid, Transformation, transform
from tlkit.errors import InputError


def pictures(n: int = 6, size: int = 24, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, size, size, channels)).astype("float32")


@given(st.integers(-9, 9))
@settings(max_examples=10, deadline=None)
def test_whole_shifts_are_exact(pixels: int) -> None:
    images = pictures(1, 10)
    moved, inside = transform(images, Transformation("shift", pixels), (10, 10))
    kept = np.roll(images, pixels, axis=2)
    np.testing.assert_array_equal(moved[:, inside], kept[:, inside])
    assert inside.sum() == 10 * (10 - abs(pixels))


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (-90, 3), (360, 0)])
def test_right_angles_and_flips_are_exact(degrees: float, turns: int) -> None:
    images = pictures(2, 9, 3)
    moved, inside = transform(images, Transformation("rotation", degrees), (9, 9))
    np.testing.assert_allclose(moved, np.rot90(images, turns, axes=(1, 2)), atol=1e-6)
    assert inside.all()
    np.testing.assert_array_equal(transform(images, Transformation("flip"), (9, 9))[0], images[:, :, ::-1])


def test_scaling_there_and_back() -> None:
    rows, columns = np.mgrid[0:33, 0:33]
    ramp = (2 * rows + 3 * columns).astype("float32")[None, ..., None]
    large, _ = transform(ramp, Transformation("scale", 2), (33, 33))
    np.testing.assert_allclose(large[0, ..., 0], 2 * (16 + (rows - 16) / 2) + 3 * (16 + (columns - 16) / 2), atol=1e-4)
    small, inside = transform(large, Transformation("scale", 0.5), (33, 33))
    np.testing.assert_allclose(small[0, inside], ramp[0, inside], atol=1e-4)


def test_a_map_moves_as_the_picture_does() -> None:
    """A map of every fourth pixel, from pixel 2 on: eight pixels in the picture are two places on it."""
    maps = pictures(1, 6)
    moved, inside = transform(maps, Transformation("shift", 8), (24, 24), Grid((2, 2), (4, 4)))
    np.testing.assert_array_equal(moved[0, :, 2:], maps[0, :, :-2])
    assert inside.sum() == 6 * 4


def convolution(kernel: np.ndarray | None = None, *, stride: int = 1, padding: str = "same") -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((24, 24, 1))
    x = layers.Conv2D(4, 3, strides=stride, padding=padding, activation="relu", name="conv")(inputs)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(inputs, x)
    if kernel is not None:
        model.get_layer("conv").kernel.assign(np.repeat(kernel[:, :, None, None], 4, axis=3).astype("float32"))
    return model


def errors(model: keras.Model, transformation: Transformation) -> dict:
    found = symmetry_errors(model, pictures(), ["conv", "pool", "mean"], [transformation])
    return {one.layer: one for one in found}


@pytest.mark.parametrize(("stride", "padding"), [(1, "same"), (2, "same"), (1, "valid"), (3, "valid")])
def test_convolution_moves_along_with_shifts(stride: int, padding: str) -> None:
    model = convolution(stride=stride, padding=padding)
    found = errors(model, Transformation("shift", 6))["conv"]
    assert found.equivariance == pytest.approx(0, abs=1e-5)
    assert found.invariance > 0.8


def test_turning_needs_a_filter_with_that_symmetry() -> None:
    turn, flip = Transformation("rotation", 90), Transformation("flip")
    plain = errors(convolution(), turn)["conv"]
    assert plain.equivariance > 0.3
    round_filter = np.array([[1, 2, 1], [2, -12, 2], [1, 2, 1]])
    assert errors(convolution(round_filter), turn)["conv"].equivariance == pytest.approx(0, abs=1e-5)
    upright = np.array([[1, 5, 1], [0, 0, 0], [-1, -5, -1]])  # Looks for horizontal edges: left and right are alike.
    assert errors(convolution(upright), flip)["conv"].equivariance == pytest.approx(0, abs=1e-5)
    assert errors(convolution(upright), turn)["conv"].equivariance > 0.3


def test_pooling_gives_local_invariance() -> None:
    """Single dots moved by one pixel are elsewhere; pooled over 4 pixels, three quarters of each patch stay."""
    dots = (np.random.default_rng(0).uniform(size=(40, 24, 24, 1)) < 0.01).astype("float32")
    inputs = keras.Input((24, 24, 1))
    x = layers.Activation("relu", name="conv")(inputs)
    x = layers.MaxPooling2D(4, 1, padding="same", name="pool")(x)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D(name="mean")(x))
    plain, pooled, mean = symmetry_errors(model, dots, ["conv", "pool", "mean"], [Transformation("shift", 1)])
    assert plain.invariance == pytest.approx(1, abs=0.05)
    assert pooled.invariance == pytest.approx(0.5, abs=0.05)
    assert mean.invariance < 0.3
    assert pooled.equivariance == pytest.approx(0, abs=1e-5)


def test_answers_of_the_whole_net(digits_model: keras.Model, digits: tuple) -> None:
    images = digits[0][:64]
    found = {
        (one.layer, one.transformation.label): one
        for one in symmetry_errors(digits_model, images, ["conv1", "head"], default_transformations(16))
    }
    assert found["head", "shift 1 px"].agreement > found["head", "rotation 90°"].agreement
    assert found["head", "shift 1 px"].invariance < found["head", "shift 4 px"].invariance
    assert found["head", "shift 1 px"].equivariance is None
    assert found["conv1", "shift 4 px"].equivariance < 0.02
    assert found["conv1", "rotation 90°"].equivariance > 0.2
    labels = {label for _, label in found}
    assert {"flip", "scale 1.25", "rotation 180°"} <= labels


def test_mistakes_are_told(digits_model: keras.Model, digits: tuple) -> None:
    with pytest.raises(InputError, match="Did you mean 'rotation'"):
        Transformation("rotatoin", 3)
    with pytest.raises(InputError, match="above 0"):
        Transformation("scale", 0)
    with pytest.raises(InputError, match="at least two images"):
        symmetry_errors(digits_model, digits[0][:1], ["conv1"], [Transformation("flip")])
