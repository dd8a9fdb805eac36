"""Reads the pickles inside a torch file as plain data, running nothing.

A pickle is a program. Even an unpickler that restricts names lets it call what is allowed, set the state of what was
made, ask for memory at will, and hash tuples nested deeply enough to overflow the stack. This module therefore reads
the pickle's instructions itself: the two dozen that a state dict needs, over values that are plain data. A name is a
label to compare; nothing is imported or called.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NoReturn

import numpy

ORDERED_DICT = "collections OrderedDict"
REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
STORAGE_DTYPES: dict[str, numpy.dtype] = {
    "torch DoubleStorage": numpy.dtype("<f8"),
    "torch FloatStorage": numpy.dtype("<f4"),
    "torch HalfStorage": numpy.dtype("<f2"),
    "torch LongStorage": numpy.dtype("<i8"),
    "torch IntStorage": numpy.dtype("<i4"),
    "torch ShortStorage": numpy.dtype("<i2"),
    "torch CharStorage": numpy.dtype("i1"),
    "torch ByteStorage": numpy.dtype("u1"),
}
ALLOWED_NAMES = {ORDERED_DICT, REBUILD_TENSOR, *STORAGE_DTYPES}
MAX_COUNT = 2**40  # Far more elements than a file holds, and few enough that sizes multiply quickly.
MAX_DIMENSIONS = 8
MAX_SHOWN = 60  # Characters of a name out of a file that go into a message.

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_WITH_VALUE = {"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"}
_TUPLE_LENGTHS = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class RefusedError(Exception):
    """Why a file is not read; the text follows `Received: PATH, `."""


@dataclass(frozen=True)
class Storage:
    """A run of numbers that follows the pickles."""

    key: str
    dtype: numpy.dtype
    count: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def load_pickle(stream: BinaryIO) -> Any:
    """Reads one pickle and leaves the stream behind it.

    Args:
        stream: An open file that can seek.

    Returns:
        Numbers, text, None, tuples, lists, dictionaries with text as keys, `Storage` and `Tensor`.

    Raises:
        RefusedError: The pickle is damaged, or does something that no state dict needs.
    """
    machine = _PickleMachine()
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            machine.step(opcode.name, argument)
        return machine.stack.pop()
    except (ValueError, IndexError, KeyError) as error:  # what genops and a stack or memo that lacks a value raise
        raise RefusedError("which is damaged") from error


def refuse(reason: str) -> NoReturn:
    """Raises the error that says why the file is not read."""
    raise RefusedError(reason)


@dataclass(frozen=True)
class _Name:
    """A global name of the pickle: a label, never looked up."""

    text: str


@dataclass
class _PickleMachine:
    """The stack machine of pickle protocol 2, for the instructions and names of a state dict alone."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def pop_to_mark(self) -> list[Any]:
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def step(self, name: str, argument: Any) -> None:
        """Carries out one instruction, named as in `pickletools`, with its decoded argument."""
        match name:
            case "PROTO" | "STOP":
                pass
            case "MARK":
                self.marks.append(len(self.stack))
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "GLOBAL":
                self.stack.append(_allowed_name(argument))
            case "BINPERSID":
                self.stack.append(_describe_storage(self.stack.pop()))
            case "REDUCE":
                arguments = self.stack.pop()
                self.stack.append(_make(self.stack.pop(), arguments))
            case _ if name in _WITH_VALUE:
                self.stack.append(argument)
            case _ if name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            case _:
                self.step_container(name)

    def step_container(self, name: str) -> None:
        """Carries out an instruction that makes or fills a tuple, list or dictionary."""
        match name:
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_LIST":
                self.stack.append([])
            case "TUPLE":
                self.stack.append(tuple(self.pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                length = _TUPLE_LENGTHS[name]
                self.stack[-length:] = [tuple(self.stack[-length:])]
            case "APPEND" | "APPENDS":
                values = [self.stack.pop()] if name == "APPEND" else self.pop_to_mark()
                _expect(list, self.stack[-1]).extend(values)
            case "SETITEM":
                value, key = self.stack.pop(), self.stack.pop()
                _set_items(self.stack[-1], [key], [value])
            case "SETITEMS":
                values = self.pop_to_mark()
                _set_items(self.stack[-1], values[::2], values[1::2])
            case "BUILD":
                self.stack.pop()  # The attribute `_metadata` of a state dict: versions of layers, not needed here.
                _expect(dict, self.stack[-1])
            case _:
                refuse(f"whose pickle uses the instruction {name}, which no state dict needs")


def _allowed_name(name: str) -> _Name:
    if name not in ALLOWED_NAMES:
        refuse(f"whose pickle names {name.replace(' ', '.')[:MAX_SHOWN]!r}, which no state dict needs")
    return _Name(name)


def _describe_storage(identifier: Any) -> Storage:
    """Reads `("storage", type, key, device, count, view)`; a storage that is a view of another is refused."""
    match identifier:
        case ("storage", _Name(text=name), str(key), _, count, None) if name in STORAGE_DTYPES and _is_count(count):
            return Storage(key, STORAGE_DTYPES[name], count)
    refuse("which describes a storage in a way that is not supported")


def _make(function: Any, arguments: Any) -> Any:
    """Makes what the two allowed functions make: an empty ordered dictionary, or a tensor."""
    match function, arguments:
        case _Name(text=name), () if name == ORDERED_DICT:
            return {}
        case _Name(text=name), (Storage() as storage, offset, shape, strides, _, _) if (
            name == REBUILD_TENSOR and _is_count(offset) and _are_counts(shape) and _are_counts(strides)
        ):
            return Tensor(storage, offset, shape, strides)
    refuse("whose pickle makes something other than tensors")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_COUNT


def _are_counts(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) <= MAX_DIMENSIONS and all(map(_is_count, value))


def _set_items(target: Any, keys: list[Any], values: list[Any]) -> None:
    dictionary = _expect(dict, target)
    for key, value in zip(keys, values, strict=True):
        dictionary[_expect(str, key)] = value


def _expect(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        refuse("which is damaged")
    return value
