"""The reader of old torch files: it reads what torch wrote and refuses, in one line, whatever else a file may say."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy
import pytest

from tlkit.backbones.packaged_weights import PACKAGE_FILE_SHA256, find_package_file
from tlkit.backbones.torch_file import MAGIC_PICKLE, PROTOCOL_VERSION, read_torch_file
from tlkit.errors import InputError

# The instructions of a pickle, as bytes; a value's bytes leave it on the stack.
NONE, FALSE, EMPTY_TUPLE, STOP = b"N", b"\x89", b")", b"."


def text(value: str) -> bytes:
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def integer(value: int) -> bytes:
    return b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)


def row(*values: bytes) -> bytes:
    return b"(" + b"".join(values) + b"t"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + row(*arguments) + b"R"


ORDERED_DICT = name("collections", "OrderedDict") + EMPTY_TUPLE + b"R"
REBUILD = name("torch._utils", "_rebuild_tensor_v2")


def storage(kind: str = "FloatStorage", key: str = "7", count: int = 6, view: bytes = NONE) -> bytes:
    return row(text("storage"), name("torch", kind), text(key), text("cpu"), integer(count), view) + b"Q"


def tensor(source: bytes | None = None, offset: int = 0, shape=(2, 3), strides=(3, 1)) -> bytes:
    sizes, steps = row(*map(integer, shape)), row(*map(integer, strides))
    return call(REBUILD, source or storage(), integer(offset), sizes, steps, FALSE, ORDERED_DICT)


def state_dict(*items: bytes) -> bytes:
    return ORDERED_DICT + b"(" + b"".join(items) + b"u"


NUMBERS = numpy.arange(6, dtype="<f4")
HEADER = MAGIC_PICKLE + pickle.dumps(PROTOCOL_VERSION, 2) + pickle.dumps({"little_endian": True}, 2)


def file_bytes(state: bytes, keys: object = ("7",), count: int = 6, numbers: bytes = NUMBERS.tobytes()) -> bytes:
    tail = pickle.dumps(list(keys), 2) + count.to_bytes(8, "little") + numbers
    return HEADER + b"\x80\x02" + state + STOP + tail


GOOD = file_bytes(state_dict(text("weight"), tensor()))


@pytest.fixture
def read(tmp_path: Path):
    def write_and_read(data: bytes) -> dict[str, numpy.ndarray]:
        path = tmp_path / "weights.pth"
        path.write_bytes(data)
        return read_torch_file(path)

    return write_and_read


def refusal(read, data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        read(data)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    assert "weights.pth" in message
    return message


def test_reads_a_tensor(read):
    arrays = read(GOOD)
    assert list(arrays) == ["weight"]
    numpy.testing.assert_array_equal(arrays["weight"], NUMBERS.reshape(2, 3))


def test_follows_offset_and_strides(read):
    arrays = read(file_bytes(state_dict(text("turned"), tensor(shape=(2, 2), strides=(1, 2), offset=1))))
    numpy.testing.assert_array_equal(arrays["turned"], [[1, 3], [2, 4]])


def test_reads_scalars_and_other_types(read):
    source = storage("LongStorage", count=1)
    state = state_dict(text("count"), tensor(source, shape=(), strides=()))
    array = read(file_bytes(state, count=1, numbers=(2**40).to_bytes(8, "little")))["count"]
    assert (array.dtype, array.shape, int(array)) == (numpy.dtype("int64"), (), 2**40)


def test_reads_tensors_that_share_a_storage(read):
    arrays = read(file_bytes(state_dict(text("a"), tensor(), text("b"), tensor(shape=(6,), strides=(1,)))))
    numpy.testing.assert_array_equal(arrays["a"].ravel(), arrays["b"])


def test_passes_over_the_attributes_of_a_state_dict(read):
    metadata = b"}" + text("_metadata") + ORDERED_DICT + b"s" + b"b"
    assert list(read(file_bytes(state_dict(text("weight"), tensor()) + metadata))) == ["weight"]


def test_reads_what_torch_wrote(goldens):
    arrays = read_torch_file(goldens / "old_torch_file.pth")
    numbers = numpy.arange(24, dtype="float32").reshape(2, 3, 4) / 8
    expected = {
        "float32": numbers,
        "turned": numbers.transpose(2, 0, 1)[1:, :, ::2],
        "float64": numpy.array([0.1]),
        "float16": numpy.array([0.5, -2], "float16"),
        "int64": numpy.array(2**40),
        "int32": numpy.array([-(2**31)], "int32"),
        "int16": numpy.array([-(2**15)], "int16"),
        "int8": numpy.array([-128], "int8"),
        "uint8": numpy.array([255], "uint8"),
    }
    assert list(arrays) == list(expected)
    for key, array in expected.items():
        assert arrays[key].dtype == array.dtype
        numpy.testing.assert_array_equal(arrays[key], array, strict=True)


def test_reads_the_package_file():
    arrays = read_torch_file(find_package_file(), sha256=PACKAGE_FILE_SHA256)
    assert len(arrays) == 296
    assert arrays["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert arrays["_fc.weight"].shape == (1000, 1280)
    assert not arrays["_fc.weight"].flags.writeable
    assert all(numpy.isfinite(array).all() for array in arrays.values())


def test_compares_the_digest_first(tmp_path: Path):
    path = tmp_path / "weights.pth"
    path.write_bytes(GOOD)
    with pytest.raises(InputError, match=r"SHA-256 begins with 0{16}\. Received: .*weights\.pth"):
        read_torch_file(path, sha256="0" * 64)


def test_refuses_what_cannot_be_opened(tmp_path: Path):
    with pytest.raises(InputError, match="No such file"):
        read_torch_file(tmp_path / "absent.pth")
    with pytest.raises(InputError, match=r"can be read\. Received"):
        read_torch_file(tmp_path)


def test_refuses_every_truncation(read):
    for length in range(len(GOOD)):
        refusal(read, GOOD[:length])


def test_refuses_bytes_past_the_end(read):
    assert "past its end" in refusal(read, GOOD + b"\0")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pickletools decodes escapes that were never meant as such.
def test_survives_any_changed_byte(read):
    read_anyway = 0
    for position in range(len(GOOD)):
        for change in (0x01, 0x80, 0xFF):
            data = GOOD[:position] + bytes([GOOD[position] ^ change]) + GOOD[position + 1 :]
            try:
                arrays = read(data)
            except InputError:
                continue
            read_anyway += 1
            assert all(isinstance(array, numpy.ndarray) for array in arrays.values())
    assert 0 < read_anyway < len(GOOD)  # A changed number or letter of a name still makes a file.


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"\x80\x02", b"<html></html>", b"\x89PNG\r\n\x1a\n", bytes(range(256))]
)
def test_refuses_other_files(read, data):
    assert "is not a torch file" in refusal(read, data)


def test_names_the_newer_format_and_the_remedy(read):
    assert "_use_new_zipfile_serialization=False" in refusal(read, b"PK\x03\x04" + b"\0" * 100)


def test_refuses_other_versions_and_byte_orders(read):
    assert "version" in refusal(read, MAGIC_PICKLE + pickle.dumps(1002, 2) + GOOD)
    swapped = GOOD.replace(pickle.dumps({"little_endian": True}, 2), pickle.dumps({"little_endian": False}, 2))
    assert "little-endian" in refusal(read, swapped)


@pytest.mark.parametrize(
    ("module", "attribute"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("__builtin__", "getattr"),
        ("subprocess", "Popen"),
        ("torch", "load"),
        ("torch._utils", "_rebuild_tensor"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("collections", "OrderedDict.__class__"),
        ("numpy", "core.multiarray._reconstruct"),
        ("tlkit.errors", "InputError"),
    ],
)
def test_refuses_names_and_runs_nothing(read, tmp_path, module, attribute):
    mark = tmp_path / "ran"
    message = refusal(read, file_bytes(call(name(module, attribute), text(f"touch {mark}"))))
    assert f"names '{module}.{attribute}'" in message
    assert not mark.exists()


class _RunsOnLoad:
    """Pickles as a call of os.system."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        import os

        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_refuses_an_attack_in_any_place_and_protocol(read, tmp_path, protocol):
    mark = tmp_path / "ran"
    attack = pickle.dumps(_RunsOnLoad(f"touch {mark}"), protocol)
    for data in (attack, HEADER + attack, HEADER + pickle.dumps({}, 2) + attack, attack + GOOD):
        refusal(read, data)
    assert not mark.exists()


UNNEEDED = {
    "INST": b"(ios\nsystem\n",
    "OBJ": b"(" + ORDERED_DICT + b"o",
    "NEWOBJ": ORDERED_DICT + EMPTY_TUPLE + b"\x81",
    "STACK_GLOBAL": text("os") + text("system") + b"\x93",
    "EXT1": b"\x82\x01",
    "PERSID": b"Pstorage\n",
    "LIST": b"(l",
    "BYTEARRAY8": b"\x96" + (4).to_bytes(8, "little") + b"abcd",
}


@pytest.mark.parametrize("instruction", UNNEEDED)
def test_refuses_instructions_that_no_state_dict_needs(read, instruction):
    assert f"instruction {instruction}," in refusal(read, file_bytes(UNNEEDED[instruction]))


@pytest.mark.parametrize(
    "state",
    [
        tensor(),  # no dictionary
        row(text("weight"), tensor()),
        state_dict(text("weight"), integer(3)),
        state_dict(text("weight"), state_dict(text("inner"), tensor())),
        state_dict(integer(1), tensor()),
        state_dict(text("weight")),  # a name without a tensor
        state_dict(text("weight"), storage()),
        state_dict(text("weight"), call(ORDERED_DICT, text("x"))),
        state_dict(text("weight"), call(name("torch", "FloatStorage"), integer(6))),
        state_dict(text("weight"), call(REBUILD, storage())),
        state_dict(text("weight"), tensor()) + b"h\x63",  # a value that was never kept
        tensor() + b"}" + b"b",  # the state of a tensor
        name("collections", "OrderedDict") + b"}" + b"b",
        b"0",
        b"R",
        b"t",
    ],
)
def test_refuses_anything_but_tensors_by_name(read, state):
    refusal(read, file_bytes(state))


@pytest.mark.parametrize(
    "source",
    [
        text("storage") + b"Q",
        row(text("module"), name("torch", "FloatStorage"), text("7"), text("cpu"), integer(6), NONE) + b"Q",
        row(text("storage"), text("torch FloatStorage"), text("7"), text("cpu"), integer(6), NONE) + b"Q",
        row(text("storage"), REBUILD, text("7"), text("cpu"), integer(6), NONE) + b"Q",
        storage(view=row(text("8"), integer(0), integer(6))),
        storage(count=-1),
        storage(count=2**60),
        storage(count=5),
        storage(count=7),
        storage(key="8"),
        storage("DoubleStorage"),
    ],
)
def test_checks_storages(read, source):
    refusal(read, file_bytes(state_dict(text("weight"), tensor(source, shape=(2,), strides=(1,)))))


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (1, (2, 3), (3, 1)),
        (-1, (2, 3), (3, 1)),
        (6, (), ()),
        (0, (7,), (1,)),
        (0, (2,), (6,)),
        (0, (2, 3), (3,)),
        (0, (-1, 3), (3, 1)),
        (5, (3,), (-1,)),
        (0, (0,), (1,)),
        (0, (2**30, 2**30), (0, 0)),  # would be an exabyte
        (0, (7,), (0,)),
        (0, (2**62, 2**62), (1, 1)),
        (0, (1,) * 40, (1,) * 40),
    ],
)
def test_checks_shapes(read, offset, shape, strides):
    state = state_dict(text("weight"), tensor(offset=offset, shape=shape, strides=strides))
    refusal(read, file_bytes(state))


def test_checks_the_list_of_storages(read):
    state = state_dict(text("weight"), tensor())
    for keys in ((), ("8",), ("7", "7"), ("7", "8"), (7,)):
        refusal(read, file_bytes(state, keys))
    assert "in two ways" in refusal(
        read, file_bytes(state_dict(text("a"), tensor(), text("b"), tensor(storage(count=5))))
    )


def test_does_not_trust_counts_of_the_file(read):
    """Claims that would take a plain unpickler's memory or stack."""
    nested = EMPTY_TUPLE + b"\x85" * 500_000
    for state in (
        EMPTY_TUPLE + b"r\xff\xff\xff\x7f",  # keep at place two thousand million
        b"X\xff\xff\xff\xff",  # four thousand million letters
        b"\x8d" + b"\xff" * 8,
        b"\x8b\xff\xff\xff\x7f",  # an integer of two thousand million bytes
        b"}" + nested + NONE + b"s",  # the hash of this key overflows the stack
        nested,
        state_dict(text("weight"), nested),
        b"(" * 500_000 + b"t" * 500_000,
    ):
        refusal(read, file_bytes(state))


def test_cuts_long_names_in_messages(read):
    refusal(read, file_bytes(name("m" * 100_000, "n")))
    refusal(read, file_bytes(state_dict(text("n" * 100_000), NONE)))
