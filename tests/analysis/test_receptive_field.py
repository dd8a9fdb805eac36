"""Receptive fields: published figures, and what gradients say about nets of every build."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from tlkit.analysis.effective_field import effective_fields
from tlkit.analysis.receptive_field import ReceptiveField, receptive_fields, seen_box
from tlkit.analysis.trace import find_step, trace
from tlkit.errors import InputError


def field_of(model: keras.Model, layer: str) -> ReceptiveField:
    steps = trace(model)
    return receptive_fields(steps)[find_step(steps, layer)]


def box_of(model: keras.Model, layer: str, unit: tuple[int, ...]) -> tuple:
    steps = trace(model)
    return seen_box(steps, find_step(steps, layer), unit)


def positive(model: keras.Model) -> keras.Model:
    """Gives every weight the same positive value: no path is cancelled by another."""
    for weight in model.weights:
        weight.assign(keras.ops.full(weight.shape, 0.5))
    return model


def test_vgg16_after_its_last_pool() -> None:
    model = keras.applications.VGG16(weights=None, include_top=False, input_shape=(224, 224, 3))
    field = field_of(model, "block5_pool")
    assert (field.size, field.stride) == ((212, 212), (32.0, 32.0))
    assert field_of(model, "block1_conv1").size == (3, 3)
    assert field_of(model, "block1_pool").size == (6, 6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [("ResNet50", 483), ("ResNet101", 1027), ("MobileNet", 315), ("InceptionV3", 1311), ("InceptionResNetV2", 3039)],
)
def test_published_sizes(name: str, size: int) -> None:
    """Araujo et al., Computing receptive fields of convolutional neural networks, 2019: all at stride 32."""
    model = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(224, 224, 3))
    field = receptive_fields(trace(model))[-1]
    assert (field.size, field.stride) == ((size, size), (32.0, 32.0))


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_stacked_and_dilated(depth: int) -> None:
    """Stacked 3 x 3 filters see 2 pixels more each; with dilations 1, 2, 4, ... the field doubles."""
    inputs = x = y = keras.Input((64, 64, 1))
    for index in range(depth):
        x = layers.Conv2D(1, 3, padding="same")(x)
        y = layers.Conv2D(1, 3, padding="same", dilation_rate=2**index)(y)
    fields = receptive_fields(trace(keras.Model(inputs, [x, y])))
    sizes = {field.size[0] for field in fields if field.size}
    assert 2 * depth + 1 in sizes
    assert 2 ** (depth + 1) - 1 in sizes


def test_same_padding_puts_the_odd_pixel_after() -> None:
    inputs = keras.Input((8, 9, 1))
    model = keras.Model(inputs, layers.Conv2D(1, 3, strides=2, padding="same", name="conv")(inputs))
    field = field_of(model, "conv")
    assert field.start == (0, -1)  # Eight rows need one row of padding, after them; nine columns one on each side.
    assert field.centre == (1.0, 0.0)
    assert box_of(model, "conv", (3, 4)) == ((6, 8), (7, 9))


def test_branches_see_the_union() -> None:
    inputs = keras.Input((32, 32, 3))
    a = layers.Conv2D(4, 7, padding="same")(inputs)
    b = layers.Conv2D(4, 3, padding="same")(layers.Conv2D(4, 3, padding="same")(inputs))
    x = layers.Concatenate(name="both")([a, b, layers.MaxPooling2D(3, 1, "same")(inputs)])
    model = keras.Model(inputs, layers.Conv2D(2, 1, name="last")(x))
    assert field_of(model, "last").size == (7, 7)


def test_gates_and_heads_see_the_whole_image() -> None:
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, name="conv")(inputs)
    gate = layers.GlobalAveragePooling2D(name="squeeze")(x)
    gate = layers.Dense(8, activation="sigmoid")(layers.Reshape((1, 1, 8))(gate))
    x = layers.Multiply(name="gated")([x, gate])
    model = keras.Model(inputs, layers.Dense(2, name="head")(layers.Flatten()(x)))
    gated = field_of(model, "gated")
    assert (gated.size, gated.whole, gated.unknown) == ((3, 3), "squeeze", "")
    head = field_of(model, "head")
    assert (head.size, head.whole) == (None, "squeeze")
    assert box_of(model, "head", ()) == ((0, 32), (0, 32))


def test_spatial_normalisation_and_reductions_see_the_whole_image() -> None:
    inputs = keras.Input((16, 16, 4))
    over_channels = layers.LayerNormalization(name="channels")(inputs)
    over_all = layers.LayerNormalization(axis=(1, 2, 3), name="all")(over_channels)
    mean = keras.ops.mean(over_channels, axis=(1, 2), keepdims=True)
    model = keras.Model(inputs, [over_all, over_channels * mean])
    assert field_of(model, "channels").size == (1, 1)
    assert field_of(model, "all").whole == "all"
    assert receptive_fields(trace(model))[-1].whole or receptive_fields(trace(model))[-2].whole


def test_unknown_layers_are_named_and_what_follows_says_so() -> None:
    class Mystery(keras.layers.Layer):
        def call(self, x: object) -> object:
            return x[:, ::-1]

    inputs = keras.Input((16, 16, 4))
    x = layers.Conv2D(4, 3, name="before")(inputs)
    model = keras.Model(inputs, layers.Conv2D(4, 3, name="after")(Mystery(name="mystery")(x)))
    assert field_of(model, "before").size == (3, 3)
    assert "Mystery" in field_of(model, "after").unknown
    assert "(mystery)" in field_of(model, "after").unknown


def test_nested_models_are_opened() -> None:
    inner = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3), layers.Conv2D(4, 3)], name="inner")
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, layers.MaxPooling2D(2, name="pool")(inner(inputs)))
    steps = trace(model)
    assert [step.output_shape for step in steps] == [
        (None, 32, 32, 3),
        (None, 30, 30, 4),
        (None, 28, 28, 4),
        (None, 14, 14, 4),
    ]
    assert steps[1].name == f"inner/{inner.layers[0].name}"
    assert field_of(model, "pool").size == (6, 6)


LAYERS = st.one_of(
    st.builds(
        lambda kernel, stride, padding: lambda: layers.Conv2D(  # Some TensorFlow builds crash where kernel < stride.
            2, max(kernel, stride), strides=stride, padding=padding
        ),
        st.integers(1, 4), st.integers(1, 3), st.sampled_from(["same", "valid"]),
    ),
    st.builds(
        lambda kernel, padding: lambda: layers.DepthwiseConv2D(kernel, padding=padding),
        st.integers(1, 3), st.sampled_from(["same", "valid"]),
    ),
    st.builds(
        lambda size, stride, padding: lambda: layers.AveragePooling2D(size, stride, padding),
        st.integers(1, 3), st.integers(1, 2), st.sampled_from(["same", "valid"]),
    ),
    st.builds(
        lambda kernel, stride, padding: lambda: layers.Conv2DTranspose(
            2, max(kernel, stride), strides=stride, padding=padding
        ),
        st.integers(1, 4), st.integers(1, 3), st.sampled_from(["same", "valid"]),
    ),
    st.builds(
        lambda size, method: lambda: layers.UpSampling2D(size, interpolation=method),
        st.integers(2, 3), st.sampled_from(["nearest", "bilinear"]),
    ),
    st.builds(
        lambda before, after: lambda: layers.ZeroPadding2D(((before, after), (after, before))),
        st.integers(0, 2), st.integers(0, 2),
    ),
    st.just(lambda: layers.Cropping2D(((1, 0), (0, 2)))),
    st.just(lambda: layers.AdaptiveAveragePooling2D((5, 7))),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(LAYERS, min_size=1, max_size=4), st.booleans(), st.integers(0, 100))
def test_fields_are_where_the_gradient_falls(made: list, residual: bool, pick: int) -> None:
    """The box of a unit is the smallest that holds every pixel with a gradient, for any unit of any stack."""
    inputs = x = keras.Input((19, 23, 2))
    try:
        for make in made:
            x = make()(x)
    except ValueError:  # A window that does not fit.
        return
    if 0 in x.shape or max(x.shape[1:3]) > 80:
        return
    if residual:
        x = layers.Add()([layers.Conv2D(2, 5, padding="same")(x), x])
    model = positive(keras.Model(inputs, layers.Activation("linear", name="last")(x)))
    unit = (pick % x.shape[1], (pick * 7) % x.shape[2])
    (measured,) = effective_fields(model, ["last"], np.ones((1, 19, 23, 2)), unit)
    touched = np.argwhere(measured.mass > 0)
    if not len(touched):  # A unit that sees padding alone.
        return
    box = box_of(model, "last", unit)
    assert box == tuple(zip(touched.min(axis=0).tolist(), (touched.max(axis=0) + 1).tolist(), strict=True))


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 3), st.integers(2, 4), st.integers(0, 300))
def test_dilated_fields_hold_the_gradient(kernel: int, dilation: int, pick: int) -> None:
    """The interval counts the holes: it holds every pixel with a gradient, at both ends unless they are padding."""
    inputs = keras.Input((15, 17, 1))
    model = keras.Model(inputs, layers.Conv2D(1, kernel, dilation_rate=dilation, padding="same", name="last")(inputs))
    unit = (pick % 15, pick % 17)
    (measured,) = effective_fields(positive(model), ["last"], np.ones((1, 15, 17, 1)), unit)
    touched = np.argwhere(measured.mass > 0)
    for axis, ((low, high), side) in enumerate(zip(box_of(model, "last", unit), (15, 17), strict=True)):
        first, last = touched[:, axis].min(), touched[:, axis].max()
        assert first == low or (low == 0 and first < dilation)
        assert last + 1 == high or (high == side and last + 1 > side - dilation)


def test_the_effective_field_is_smaller_than_the_theoretical_one() -> None:
    """Luo et al., 2016: the mass is like a Gaussian; its width grows with the root of the depth."""
    radii = []
    for depth in (4, 16):
        inputs = x = keras.Input((65, 65, 1))
        for _ in range(depth):
            x = layers.Conv2D(1, 3, padding="same", use_bias=False)(x)
        model = positive(keras.Model(inputs, layers.Activation("linear", name="last")(x)))
        (measured,) = effective_fields(model, ["last"], np.ones((1, 65, 65, 1)))
        assert measured.unit == (32, 32)
        assert measured.centre == pytest.approx((32, 32), abs=1e-3)
        radii.append(measured.radius[0.9])
        assert measured.radius[0.9] < depth  # The theoretical field reaches `depth` pixels to each side.
        assert measured.share_within(box_of(model, "last", (32, 32))) == pytest.approx(1)
    assert radii[1] / radii[0] == pytest.approx(2, rel=0.3)


def test_mistakes_are_told() -> None:
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(2, 3, name="conv")(inputs)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D(name="pool")(x))
    images = np.zeros((1, 8, 8, 1))
    with pytest.raises(InputError, match="Did you mean 'conv'"):
        effective_fields(model, ["con"], images)
    with pytest.raises(InputError, match="before the pooling"):
        effective_fields(model, ["pool"], images)
    with pytest.raises(InputError, match=r"within the conv map of \(6, 6\)"):
        effective_fields(model, ["conv"], images, (6, 0))
