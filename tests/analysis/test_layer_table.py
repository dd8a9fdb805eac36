"""The layer table: published totals, the lecture's networks, and models of every build."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from tlkit.analysis.layer_table import layer_table
from tlkit.analysis.trace import cut_positions, trace
from tlkit.errors import InputError

BRANCHING = "branching"


def mnist_network() -> keras.Model:
    inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(9, 5, padding="same", use_bias=False, name="first")(inputs)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(16, 5, padding="same", use_bias=False, name="second")(x)
    x = layers.Flatten()(layers.MaxPooling2D(2, name="last_pool")(x))
    return keras.Model(inputs, layers.Dense(10, use_bias=False, name="dense")(x))


def test_the_mnist_network_of_the_lecture() -> None:
    """225 + 3,600 + 7,840 = 11,665 weights; signals of 784, 7,056 and 3,136 values."""
    table = layer_table(mnist_network())
    rows = {row.name: row for row in table.layers}
    assert [rows[name].cost.parameters for name in ("first", "second", "dense")] == [225, 3_600, 7_840]
    assert table.totals.parameters == 11_665
    signals = [np.prod(rows[name].output_shape[1:]) for name in ("first", "second", "last_pool")]
    assert signals == [7_056, 3_136, 784]
    assert table.layers[0].cost.activation_bytes == 784 * 4
    assert [rows[name].cost.multiply_adds for name in ("first", "second", "dense")] == [176_400, 705_600, 7_840]
    assert rows["first"].cost.unshared_parameters == 28 * 28 * 225


def test_the_fully_connected_rival() -> None:
    sizes = (784, 225, 144, 10)
    model = keras.Sequential([keras.Input((784,))] + [layers.Dense(size, use_bias=False) for size in sizes[1:]])
    table = layer_table(model)
    assert [row.cost.parameters for row in table.layers[1:]] == [176_400, 32_400, 1_440]
    assert table.totals.multiply_adds == table.totals.parameters == 210_240


def test_the_first_layer_of_alexnet() -> None:
    inputs = keras.Input((227, 227, 3))
    table = layer_table(keras.Model(inputs, layers.Conv2D(96, 11, strides=4, name="conv")(inputs)))
    row = table.layers[1]
    assert np.prod(row.output_shape[1:]) == 290_400
    assert (row.cost.parameters, row.cost.unshared_parameters) == (34_944, 105_705_600)


@pytest.mark.parametrize(
    ("name", "millions", "parameters"),
    [("VGG16", 15_470, 138_357_544), ("MobileNet", 569, 4_253_864), ("MobileNetV2", 300, 3_538_984)],
)
def test_published_totals(name: str, millions: int, parameters: int) -> None:
    """Multiply-adds as in the papers: MobileNet 569 million, MobileNetV2 300 million; VGG-16 15.5 billion."""
    table = layer_table(getattr(keras.applications, name)(weights=None))
    assert table.totals.parameters == parameters
    assert table.totals.multiply_adds / 1e6 == pytest.approx(millions, rel=0.003)
    assert table.notes == ()


def test_operations_count_a_multiply_add_twice() -> None:
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Add(name="add")([x, x])
    x = layers.MaxPooling2D(2, name="pool")(x)
    model = keras.Model(inputs, layers.Dense(3, name="dense")(layers.GlobalAveragePooling2D(name="mean")(x)))
    operations = {row.name: row.cost.operations for row in layer_table(model).layers}
    values = 4 * 4 * 4
    assert operations["conv"] == 2 * 16 * 4 * 9 * 2 + 2 * values
    assert operations["norm"] == 2 * values
    assert operations["add"] == values
    assert operations["pool"] == 2 * 2 * 4 * 4
    assert operations["mean"] == 2 * 2 * 4
    assert operations["dense"] == 2 * 12 + 3


def test_transposed_separable_and_attention() -> None:
    inputs = keras.Input((8, 8, 6))
    up = layers.Conv2DTranspose(5, 3, strides=2, name="up")(inputs)
    slim = layers.SeparableConv2D(7, 3, padding="same", name="slim")(inputs)
    tokens = layers.Reshape((64, 7))(slim)
    attended = layers.MultiHeadAttention(2, 4, name="attention")(tokens, tokens)
    mixed = layers.EinsumDense("abc,cd->abd", output_shape=(64, 3), name="mixed")(attended)
    products = {row.name: row.cost.multiply_adds for row in layer_table(keras.Model(inputs, [up, mixed])).layers}
    assert products["up"] == 8 * 8 * 9 * 6 * 5
    assert products["slim"] == 64 * (9 * 6 + 6 * 7)
    assert products["attention"] == 64 * 4 * (7 * 2 * 4) + 2 * 64 * 64 * 2 * 4
    assert products["mixed"] == 64 * 7 * 3


def test_memory_all_at_once_and_at_its_peak() -> None:
    """While a residual block runs its input is held; the peak is three maps, all of them are four."""
    inputs = keras.Input((10, 10, 3))
    x = layers.Conv2D(3, 3, padding="same")(inputs)
    x = layers.Conv2D(3, 3, padding="same")(x)
    model = keras.Model(inputs, layers.Add()([inputs, x]))
    one = 10 * 10 * 3 * 4
    totals = layer_table(model).totals
    assert (totals.activation_bytes, totals.peak_bytes) == (4 * one, 3 * one)
    assert totals.weight_bytes == 4 * totals.parameters


def test_half_precision_takes_half_the_memory() -> None:
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, layers.Conv2D(5, 1, dtype="mixed_bfloat16", name="conv")(inputs))
    assert layer_table(model).layers[-1].cost.activation_bytes == 4 * 4 * 5 * 2


def residual(*, bare: bool) -> keras.Model:
    inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    y = layers.ReLU(name="inner")(layers.Conv2D(4, 3, padding="same", name="inner_conv")(x))
    x = x + y if bare else layers.Add(name="sum")([x, y])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(3, name="head")(x))


@pytest.mark.parametrize("bare", [True, False])
def test_cuts_keep_out_of_blocks_whether_joined_by_a_layer_or_by_an_operation(bare: bool) -> None:
    steps = trace(residual(bare=bare))
    cuts = [steps[position].name for position in cut_positions(steps)]
    assert cuts == ["stem", next(step.name for step in steps if step.kind == "Add"), "pool"]


def test_stages_by_name_and_by_size() -> None:
    model = residual(bare=False)
    by_size = [row.stage for row in layer_table(model).layers]
    assert by_size == ["8 x 8"] * 5 + ["head", "head"]
    table = layer_table(model, stages=[("stem", "stem"), ("block", "sum")])
    assert [row.stage for row in table.layers] == ["stem", "stem", "block", "block", "block", "head", "head"]
    with pytest.raises(InputError, match="Did you mean 'inner'"):
        layer_table(model, stages=[("a", "iner")])
    with pytest.raises(InputError, match="in order"):
        layer_table(model, stages=[("block", "sum"), ("stem", "stem")])


def test_nested_models_give_the_table_of_flat_ones() -> None:
    inner = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3), layers.ReLU()], name="inner")
    inputs = keras.Input((32, 32, 3))
    nested = layer_table(keras.Model(inputs, layers.GlobalAveragePooling2D()(inner(inputs))))
    flat = layer_table(keras.Sequential([inputs, *inner.layers, layers.GlobalAveragePooling2D()]))
    assert nested.totals == flat.totals
    assert nested.layers[1].name.startswith("inner/")


def test_shared_layers_are_counted_once_and_run_twice() -> None:
    shared = layers.Dense(4, name="shared")
    inputs = keras.Input((4,))
    table = layer_table(keras.Model(inputs, shared(shared(inputs))))
    assert [row.name for row in table.layers[1:]] == ["shared", "shared:2"]
    assert table.totals.parameters == 20
    assert table.totals.multiply_adds == 32


def test_open_sizes_need_an_image_size() -> None:
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layers.Conv2D(4, 3, padding="same")(inputs))
    table = layer_table(model)
    assert table.totals.operations is None
    assert "state one" in table.notes[0]
    assert layer_table(model, image_size=10).totals.multiply_adds == 100 * 9 * 3 * 4


class Mystery(keras.layers.Layer):
    def call(self, x: object) -> object:
        return x * 2


def test_limits_are_told_and_the_rest_is_done() -> None:
    inputs, other = keras.Input((8, 8, 3), name="image"), keras.Input((2,), name="age")
    x = Mystery(name="mystery")(layers.Conv2D(4, 3, name="conv")(inputs))
    x = layers.Concatenate()([layers.Flatten()(x), other])
    table = layer_table(keras.Model([inputs, other], layers.Dense(2)(x)))
    assert table.notes[0] == "The model has 2 inputs: receptive fields are those within 'image'."
    assert "mystery (Mystery)" in table.notes[1]
    assert "from mystery on" in table.notes[2]
    assert table.layers[2].field.size == (3, 3) or table.layers[1].field.size == (3, 3)
    assert table.totals.multiply_adds == 36 * 27 * 4 + (36 * 4 + 2) * 2


def test_a_subclassed_model_gives_its_parameters_and_a_note() -> None:
    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.head = layers.Dense(4, name="hidden"), layers.Dense(2, name="head")

        def call(self, x: object) -> object:
            return self.head(self.hidden(x))

    model = Net()
    assert "not built" in layer_table(model).notes[1]
    model(np.zeros((1, 3)))
    table = layer_table(model)
    assert [(row.name, row.cost.parameters) for row in table.layers] == [("hidden", 16), ("head", 10)]
    assert table.totals.parameters == 26
    assert "subclassed" in table.notes[0]


def test_a_gate_is_told() -> None:
    inputs = keras.Input((8, 8, 4))
    gate = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D(name="squeeze")(inputs))
    table = layer_table(keras.Model(inputs, layers.Multiply(name="gated")([inputs, gate])))
    assert table.notes == (
        "From squeeze on every unit also sees the whole image, through a gate; sizes told are of windows alone.",
    )
    assert {row.stage for row in table.layers} == {"8 x 8"}


APPLICATIONS = sorted(
    name
    for name, build in vars(keras.applications).items()
    if callable(build) and name[0].isupper()
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_every_network_of_keras_applications_is_followed_to_its_end(name: str) -> None:
    model = getattr(keras.applications, name)(weights=None)
    size = model.input_shape[1] or 224
    table = layer_table(model, image_size=size)
    assert table.totals.parameters == model.count_params()
    assert all(row.cost.multiply_adds is not None for row in table.layers), table.notes
    assert not any(row.field.unknown for row in table.layers), table.notes
    assert table.totals.peak_bytes < table.totals.activation_bytes
