"""The published examples of the lectures, and agreement with Keras's own layers on any configuration."""

from __future__ import annotations

from itertools import pairwise

import keras
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tlkit.analysis import arithmetic
from tlkit.errors import InputError

CONVOLUTIONS = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: keras.layers.Conv3D}
TRANSPOSED = {1: keras.layers.Conv1DTranspose, 2: keras.layers.Conv2DTranspose, 3: keras.layers.Conv3DTranspose}
POOLING = {1: keras.layers.MaxPooling1D, 2: keras.layers.AveragePooling2D, 3: keras.layers.MaxPooling3D}


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "expected"),
    [
        (5, 3, 2, 0, 2),
        (256, 3, 2, 1, 128),
        (128, 4, 1, 0, 125),
        (4, 3, 1, 0, 2),
        (28, 5, 1, "same", 28),
        (227, 11, 4, 0, 55),
    ],
)
def test_sizes_of_the_lectures(size: int, kernel: int, stride: int, padding: int | str, expected: int) -> None:
    assert arithmetic.output_size(size, kernel, stride, padding) == expected


def test_cross_correlation_by_hand() -> None:
    rows = ["100000", "110110", "000011", "000100", "100100", "110100"]
    image = np.array([[int(pixel) for pixel in row] for row in rows])
    kernel = np.array([[0, 0, 1]] * 3)
    result = arithmetic.cross_correlate(image, kernel)
    assert ["".join(map(str, row)) for row in result] == ["0121", "0221", "0211", "0300"]


def test_parameters_of_the_lectures() -> None:
    assert arithmetic.convolution_parameters(3, 1, (3, 3)) == 28
    assert arithmetic.convolution_parameters(7, 11, (5,)) == 7 * 11 * 5 + 11
    assert arithmetic.convolution_parameters(1, 1, (500, 500), bias=False) * 3 == 750_000
    assert arithmetic.convolution_parameters(3, 1, (224, 224), bias=False) == 150_528


def test_first_layer_of_alexnet_with_and_without_sharing() -> None:
    side = arithmetic.output_size(227, 11, 4)
    assert (side, side * side * 96) == (55, 290_400)
    one_neuron = arithmetic.convolution_parameters(3, 1, (11, 11))
    assert one_neuron == 364
    assert arithmetic.unshared_parameters(side * side, 96 * one_neuron) == 105_705_600
    assert arithmetic.convolution_parameters(3, 96, (11, 11), bias=False) == 34_848


def test_mnist_network_and_its_fully_connected_rival() -> None:
    convolutions = arithmetic.convolution_parameters(1, 9, (5, 5), bias=False)
    second = arithmetic.convolution_parameters(1, 16, (5, 5), bias=False) * 9
    dense = arithmetic.convolution_parameters(16, 10, (7, 7), bias=False)
    assert (convolutions, second, dense) == (225, 3_600, 7_840)
    assert convolutions + second + dense == 11_665
    sizes = (784, 225, 144, 10)
    rival = [arithmetic.convolution_parameters(a, b, (), bias=False) for a, b in pairwise(sizes)]
    assert rival == [176_400, 32_400, 1_440]
    assert sum(rival) == 210_240


def test_the_fixed_filter_finds_the_angle() -> None:
    """The toy set of the lecture: 0.9 on the anti-diagonal, 0.1 elsewhere, the largest value over positions."""
    kernel = np.full((3, 3), 0.1)
    kernel[[0, 1, 2], [2, 1, 0]] = 0.9
    with_angle = np.zeros((6, 6))
    with_angle[[1, 2, 3], [4, 3, 2]] = 1
    without = np.zeros((6, 6))
    without[2, 1:4] = 1
    assert arithmetic.cross_correlate(with_angle, kernel).max() == pytest.approx(2.7)
    assert arithmetic.cross_correlate(without, kernel).max() == pytest.approx(1.1)


@st.composite
def windows(draw: st.DrawFn) -> dict:
    stride = draw(st.integers(1, 4))
    return {
        "rank": draw(st.sampled_from([1, 2, 3])),
        "size": draw(st.integers(1, 23)),
        "kernel": draw(st.integers(1, 5)),
        "stride": stride,
        "padding": draw(st.sampled_from(["valid", "same"])),
        "dilation": draw(st.integers(1, 3)) if stride == 1 else 1,  # Keras refuses both at once.
    }


@settings(max_examples=80, deadline=None)
@given(windows(), st.sampled_from([1, 2, 4]))
def test_convolutions_agree_with_keras(window: dict, groups: int) -> None:
    rank, size, kernel, stride = (window[name] for name in ("rank", "size", "kernel", "stride"))
    padding, dilation = window["padding"], window["dilation"]
    assume(padding == "same" or arithmetic.window_extent(kernel, dilation) <= size)
    layer = CONVOLUTIONS[rank](8, kernel, strides=stride, padding=padding, dilation_rate=dilation, groups=groups)
    shape = layer.compute_output_shape((None, *[size] * rank, 4))
    layer.build((None, *[size] * rank, 4))
    assert shape[1] == arithmetic.output_size(size, kernel, stride, padding, dilation)
    assert layer.count_params() == arithmetic.convolution_parameters(4, 8, (kernel,) * rank, groups)


@settings(max_examples=60, deadline=None)
@given(windows(), st.booleans())
def test_transposed_convolutions_agree_with_keras(window: dict, padded: bool) -> None:
    rank, size, kernel, stride, padding, dilation = window.values()
    output_padding = stride - 1 if padded else None
    layer = TRANSPOSED[rank](
        6, kernel, strides=stride, padding=padding, dilation_rate=dilation, output_padding=output_padding
    )
    shape = layer.compute_output_shape((None, *[size] * rank, 4))
    layer.build((None, *[size] * rank, 4))
    expected = arithmetic.transposed_output_size(size, kernel, stride, padding, dilation, output_padding)
    assume(shape[1] > 0)
    assert shape[1] == expected
    assert layer.count_params() == arithmetic.convolution_parameters(4, 6, (kernel,) * rank)


@settings(max_examples=40, deadline=None)
@given(windows())
def test_pooling_agrees_with_keras(window: dict) -> None:
    rank, size, kernel, stride, padding = (window[name] for name in ("rank", "size", "kernel", "stride", "padding"))
    assume(padding == "same" or kernel <= size)
    layer = POOLING[rank](kernel, strides=stride, padding=padding)
    shape = layer.compute_output_shape((None, *[size] * rank, 4))
    assert shape[1] == arithmetic.output_size(size, kernel, stride, padding)


@settings(max_examples=25, deadline=None)
@given(windows(), st.integers(0, 2**31))
def test_cross_correlation_is_what_keras_computes(window: dict, seed: int) -> None:
    size, kernel, stride, padding = (window[name] for name in ("size", "kernel", "stride", "padding"))
    assume(padding == "same" or kernel <= size)
    rng = np.random.default_rng(seed)
    image, weights = (
        rng.normal(size=(size, size)).astype("float32"),
        rng.normal(size=(kernel, kernel)).astype("float32"),
    )
    theirs = keras.ops.conv(image[None, :, :, None], weights[:, :, None, None], stride, padding)
    ours = arithmetic.cross_correlate(image, weights, stride, padding)
    np.testing.assert_allclose(ours, np.asarray(theirs)[0, :, :, 0], atol=1e-4)


def test_depthwise_and_separable_parameters() -> None:
    layer = keras.layers.SeparableConv2D(8, 3)
    layer.build((None, 9, 9, 5))
    depthwise = arithmetic.convolution_parameters(5, 5, (3, 3), groups=5, bias=False)
    assert layer.count_params() == depthwise + arithmetic.convolution_parameters(5, 8, (1, 1))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: arithmetic.output_size(4, 5), "no larger than the padded input"),
        (lambda: arithmetic.output_size(4, 3, padding="sane"), "Did you mean 'same'"),
        (lambda: arithmetic.output_size(0, 1), "size of at least 1"),
        (lambda: arithmetic.output_size(4, 1, padding=-1), "at least 0"),
        (lambda: arithmetic.convolution_parameters(5, 8, (3, 3), groups=2), "2 groups divide"),
        (lambda: arithmetic.transposed_output_size(4, 3, padding="causal"), "transposed"),
        (lambda: arithmetic.cross_correlate(np.zeros((3, 3)), np.zeros(3)), "2 axes"),
    ],
)
def test_mistakes_are_told(call: object, told: str) -> None:
    with pytest.raises(InputError, match=told):
        call()
