"""Reads tensors from torch files of the format before version 1.6, without torch and without running anything.

Such a file is a row of five pickles followed by the raw numbers: a magic number, the protocol version, facts of the
machine that wrote it, the state dict, and the keys of the storages in the order in which their numbers follow, each
behind its count of 8 bytes (`torch/serialization.py`, `_legacy_save`).
"""

from __future__ import annotations

import hashlib
import io
import math
from pathlib import Path
from typing import Any

import numpy

from tlkit.backbones.torch_pickle import MAX_SHOWN, RefusedError, Storage, Tensor, load_pickle, refuse
from tlkit.errors import InputError

MAGIC_PICKLE = b"\x80\x02\x8a\x0a" + 0x1950A86A20F9469CFC6C.to_bytes(10, "little") + b"."
PROTOCOL_VERSION = 1001
ZIP_SIGNATURE = b"PK\x03\x04"
COUNT_BYTES = 8


def read_torch_file(path: str | Path, *, sha256: str | None = None) -> dict[str, numpy.ndarray]:
    """Reads a state dict from a torch file of the format before version 1.6.

    Args:
        path: The file.
        sha256: Hexadecimal digest the file must have; compared before anything is read from the bytes.

    Returns:
        Tensor name to array, in the order of the file. The arrays are read-only views of the file's bytes with the
        strides that the file tells, so not always contiguous.

    Raises:
        InputError: The file cannot be opened, has another digest, is in another format, is damaged, or holds
            anything but tensors by name.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"Expected a torch file that can be read. Received: {path} ({error.strerror}).") from error
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise InputError(
            f"Expected a file whose SHA-256 begins with {sha256[:16]}. Received: {path}, which has another. "
            "It is damaged or was changed: get it anew."
        )
    try:
        return _read_state_dict(data)
    except RefusedError as refusal:
        raise InputError(
            "Expected a torch file of the format before version 1.6 that holds nothing but tensors by name. "
            f"Received: {path}, {refusal}."
        ) from refusal


def _read_state_dict(data: bytes) -> dict[str, numpy.ndarray]:
    stream = io.BytesIO(data)
    _check_preamble(data, stream)
    tensors = _check_tensors(load_pickle(stream))
    storages = _collect_storages(tensors)
    order = load_pickle(stream)
    starts = _locate_storages(data, stream.tell(), storages, order)
    return {name: _as_array(name, tensor, data, starts[tensor.storage.key]) for name, tensor in tensors.items()}


def _check_preamble(data: bytes, stream: io.BytesIO) -> None:
    """Reads the first three pickles: whether this is the format, and its byte order ours."""
    if data.startswith(ZIP_SIGNATURE):
        refuse(
            "which is in the zip format of version 1.6 and later "
            "(in torch, torch.save(..., _use_new_zipfile_serialization=False) writes the older one)"
        )
    if not data.startswith(MAGIC_PICKLE):
        refuse("which is not a torch file")
    stream.seek(len(MAGIC_PICKLE))
    if load_pickle(stream) != PROTOCOL_VERSION:
        refuse("which is written in another version of the format")
    machine = load_pickle(stream)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        refuse("which was not written in little-endian byte order")


def _check_tensors(value: Any) -> dict[str, Tensor]:
    if not isinstance(value, dict):
        refuse("which holds something other than a state dict")
    for name, tensor in value.items():
        if not isinstance(tensor, Tensor):
            refuse(f"which holds something other than a tensor under the name {name[:MAX_SHOWN]!r}")
    return value


def _collect_storages(tensors: dict[str, Tensor]) -> dict[str, Storage]:
    storages: dict[str, Storage] = {}
    for tensor in tensors.values():
        if storages.setdefault(tensor.storage.key, tensor.storage) != tensor.storage:
            refuse("which describes one storage in two ways")
    return storages


def _locate_storages(data: bytes, position: int, storages: dict[str, Storage], order: Any) -> dict[str, int]:
    """Walks the raw numbers behind the pickles; returns the byte at which each storage's begin."""
    if not isinstance(order, list) or not all(isinstance(key, str) for key in order):
        refuse("which is damaged")
    if sorted(order) != sorted(storages):
        refuse("whose list of storages does not fit its tensors")
    starts = {}
    for key in order:
        storage, start = storages[key], position + COUNT_BYTES
        position = start + storage.count * storage.dtype.itemsize
        if position > len(data):
            refuse("which is cut short")
        if int.from_bytes(data[start - COUNT_BYTES : start], "little") != storage.count:
            refuse("whose storages are not as long as its tensors tell")
        starts[key] = start
    if position != len(data):
        refuse("which has bytes past its end")
    return starts


def _as_array(name: str, tensor: Tensor, data: bytes, start: int) -> numpy.ndarray:
    """Views a tensor's numbers; `start` is the byte at which its storage's begin."""
    dtype, count = tensor.storage.dtype, tensor.storage.count
    if len(tensor.shape) != len(tensor.strides) or 0 in tensor.shape:
        refuse(f"whose tensor {name[:MAX_SHOWN]!r} has a shape that is not supported")
    last = tensor.offset + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=True))
    # More elements than numbers: a tensor expanded by strides of zero, a few bytes of file for terabytes of array.
    if last >= count or math.prod(tensor.shape) > count:
        refuse(f"whose tensor {name[:MAX_SHOWN]!r} reaches past its storage")
    return numpy.ndarray(
        tensor.shape,
        dtype,
        buffer=data,
        offset=start + tensor.offset * dtype.itemsize,
        strides=tuple(step * dtype.itemsize for step in tensor.strides),
    )
