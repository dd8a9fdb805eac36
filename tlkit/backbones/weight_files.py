"""Reads the weights that Keras users have in files, layer by layer, without making any object they describe.

Three formats, told apart by content:

- legacy HDF5 (`.h5` of Keras 1 and 2, and of Keras 3's `save_weights` and `save` on request): groups by layer name, in
  order; a nested model is one group that holds the weights of all its layers;
- Keras 3 weights (`.weights.h5`): groups by class and count (`layers/conv2d_7`), nested models as groups within
  groups; the layer's name is noted in files of newer versions;
- Keras 3 models (`.keras`): a zip archive with such a file in it. Its configuration is not read, so that no code in it
  can run.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tlkit.errors import InputError

WEIGHTS_MEMBER = "model.weights.h5"
# Keras 2.13 wrote the same layout under another name.
LAYER_GROUPS = ("layers", "_layer_checkpoint_dependencies")


@dataclass(frozen=True)
class StoredLayer:
    """The weights of one layer in a file.

    Attributes:
        name: The layer's name; None where the file does not tell.
        path: Where it is stored below its model, such as `"conv2d_7"`; empty in the legacy format.
        stem: Layers of one stem are in order; that of different stems is not known. Empty in the legacy format.
        number: Place within the stem.
        arrays: HDF5 datasets, in the order of `keras.Layer.weights`.
    """

    name: str | None
    path: str
    stem: str
    number: int
    arrays: tuple[Any, ...]

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the weights."""
        return tuple(array.shape for array in self.arrays)

    @property
    def label(self) -> str:
        """What to call the layer in a message."""
        return self.name or self.path

    def values(self) -> list[np.ndarray]:
        """Reads the weights."""
        return [_read(array) for array in self.arrays]


@contextmanager
def open_weights(path: Path) -> Iterator[list[list[StoredLayer]]]:
    """Opens a file of weights.

    Args:
        path: A `.weights.h5`, `.h5` or `.keras` file.

    Yields:
        One list of layers for each model in the file that could be the one wanted: nested models, the largest first,
        then the whole, with the layers of nested models in their place.

    Raises:
        InputError: It is not such a file, or is damaged.
    """
    try:
        with h5py.File(_hdf5_source(path), "r") as file:
            models = _models(file)
            if not any(models):
                raise InputError(f"Expected {path} to hold the weights of layers. Received: a file with none.")
            yield models
    except (OSError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(
            f"Expected a readable weights file (.weights.h5, .h5 or .keras). Received: {path}, which cannot be read as "
            f"such ({str(error).splitlines()[0] if str(error) else type(error).__name__})."
        ) from error


def _hdf5_source(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"Expected a weights file. Received: {path}, which does not exist or is no file.")
    if not zipfile.is_zipfile(path):
        return path
    with zipfile.ZipFile(path) as archive:
        return io.BytesIO(archive.read(WEIGHTS_MEMBER))


def _models(file: h5py.File) -> list[list[StoredLayer]]:
    if "model_weights" in file:
        return _legacy_models(file["model_weights"])
    if _attribute(file, "layer_names"):
        return _legacy_models(file)
    for name in LAYER_GROUPS:
        if name in file:
            return _keras3_models(file, name)
    return []


def _keras3_models(file: h5py.File, layer_group: str) -> list[list[StoredLayer]]:
    nested: list[list[StoredLayer]] = []

    def walk(group: h5py.Group, prefix: str) -> list[StoredLayer]:
        found = []
        for key, child in sorted(group.items(), key=lambda item: _split_number(item[0])):
            if "vars" in child and len(child["vars"]):
                found.append(_keras3_layer(child["vars"], prefix, key))
            if layer_group in child:
                inner = walk(child[layer_group], f"{prefix}{key}/{layer_group}/")
                nested.append(_below(inner, f"{prefix}{key}/{layer_group}/"))
                found += inner
        return found

    whole = walk(file[layer_group], "")
    return [*sorted(nested, key=len, reverse=True), whole]


def _below(layers: list[StoredLayer], prefix: str) -> list[StoredLayer]:
    """The same layers, with paths counted from their own model."""
    start = len(prefix)
    return [
        StoredLayer(layer.name, layer.path[start:], layer.stem[start:], layer.number, layer.arrays) for layer in layers
    ]


def _keras3_layer(variables: h5py.Group, prefix: str, key: str) -> StoredLayer:
    stem, number = _split_number(key)
    arrays = tuple(variables[name] for name in sorted(variables, key=int))
    return StoredLayer(_text(variables.attrs.get("name")), prefix + key, prefix + stem, number, arrays)


def _split_number(key: str) -> tuple[str, int]:
    """`"conv2d_7"` -> `("conv2d", 7)`; the first of its class has no number."""
    match = re.fullmatch(r"(.*?)(?:_(\d+))?", key)
    assert match is not None  # The pattern takes any text.
    return match[1], int(match[2] or 0)


def _legacy_models(group: h5py.Group) -> list[list[StoredLayer]]:
    whole: list[StoredLayer] = []
    nested: list[list[StoredLayer]] = []
    for name in _attribute(group, "layer_names"):
        parts = _split_group(group[name], name)
        if len(parts) > 1:
            nested.append(
                [StoredLayer(part, "", "", number, arrays) for number, (part, arrays) in enumerate(parts.items())]
            )
        for part, arrays in parts.items():
            whole.append(StoredLayer(part, "", "", len(whole), arrays))
    return [*sorted(nested, key=len, reverse=True), whole]


def _split_group(group: h5py.Group, name: str) -> dict[str, tuple[Any, ...]]:
    """Sorts the weights of a group by the layer they belong to: one layer, or those of a nested model.

    A weight is called `layer/kernel:0`, within nested models sometimes `model/layer/kernel`.
    """
    parts: dict[str, list[Any]] = {}
    for weight in _attribute(group, "weight_names"):
        owner = weight.split("/")[-2] if "/" in weight else name
        parts.setdefault(owner, []).append(group[weight])
    if len(parts) == 1:  # The group's name is the layer's own; that in front of the weights may be an older one.
        parts = {name: next(iter(parts.values()))}
    return {part: tuple(arrays) for part, arrays in parts.items()}


def _attribute(group: h5py.Group, name: str) -> list[str]:
    """Reads a list of names; HDF5 limits the size of an attribute, so Keras splits long ones."""
    if name in group.attrs:
        chunks = [group.attrs[name]]
    else:
        chunks = []
        while f"{name}{len(chunks)}" in group.attrs:
            chunks.append(group.attrs[f"{name}{len(chunks)}"])
    return [str(_text(item)) for chunk in chunks for item in chunk]


def _text(value: Any) -> str | None:
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _read(array: Any) -> np.ndarray:
    values = np.asarray(array)
    if array.attrs.get("dtype") == "bfloat16":
        import ml_dtypes

        return values.view(ml_dtypes.bfloat16).astype("float32")
    return values
