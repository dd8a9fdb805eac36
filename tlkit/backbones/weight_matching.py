"""Finds in a file the weights of a backbone's layers, by name and shape, and fills them in: all of them or none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras

from tlkit.backbones.flatten import is_graph, set_layer_weights, snake_case
from tlkit.backbones.weight_files import StoredLayer, open_weights
from tlkit.errors import InputError

SHOWN_LAYERS = 5


@dataclass(frozen=True)
class LoadedWeights:
    """How much of a network a file of weights filled.

    Attributes:
        path: The file.
        filled: Layers filled.
        total: Layers of the network that have weights.
        parameters: Numbers filled in.
        ignored: Layers of the file that the network has no place for, such as another head.
    """

    path: Path
    filled: int
    total: int
    parameters: int
    ignored: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Tells the user in one line."""
        text = f"{self.path.name} filled {self.filled} of {self.total} layers ({self.parameters:,} parameters)"
        if not self.ignored:
            return f"{text}."
        shown = ", ".join(self.ignored[:SHOWN_LAYERS]) + (", ..." if len(self.ignored) > SHOWN_LAYERS else "")
        return f"{text}; not used from the file: {shown}."


@dataclass(frozen=True)
class _Match:
    """An attempt to give every layer of the network a stored one; `problem` says where it first fails."""

    pairs: tuple[tuple[keras.Layer, StoredLayer], ...]
    problem: str | None


def storage_paths(network: keras.Model) -> dict[str, str]:
    """Maps where Keras 3 stores each layer of a model, such as `"conv2d_7"`, to the layer's name.

    Keras counts the layers of each class, nested model by nested model; files of its earlier versions hold no names.
    """
    paths: dict[str, str] = {}

    def walk(model: keras.Model, prefix: str) -> None:
        counts: dict[str, int] = defaultdict(int)
        for layer in model.layers:
            stem = snake_case(type(layer).__name__)
            key = f"{stem}_{counts[stem]}" if counts[stem] else stem
            counts[stem] += 1
            paths[prefix + key] = layer.name
            if is_graph(layer):
                walk(layer, f"{prefix}{key}/layers/")

    walk(network, "")
    return paths


def fill_from_file(model: keras.Model, path: Path, paths: Mapping[str, str] | None = None) -> LoadedWeights:
    """Fills every layer of a model that has weights from a file, or none and raises.

    Layers are found by name; where the file's names are made up by Keras or missing, by their order or by where Keras
    stores them. Shapes must agree in any case.

    Args:
        model: A flat functional model.
        path: A `.weights.h5`, `.h5` or `.keras` file: the backbone alone, with another head, or nested in a model.
        paths: What `storage_paths` gave for the model before it was made flat, with names as in `model`.

    Raises:
        InputError: The file cannot be read or does not fill the whole model; the first layer that differs is named.
    """
    targets = [layer for layer in model.layers if layer.weights]
    with open_weights(path) as candidates:
        attempts = [
            (match, stored)
            for stored in candidates
            for match in _attempts(model.name, targets, stored, paths or storage_paths(model))
        ]
        for match, stored in attempts:
            if match.problem is None:
                for layer, source in match.pairs:
                    set_layer_weights(layer, source.values())
                used = {id(source) for _, source in match.pairs}
                ignored = tuple(layer.label for layer in stored if id(layer) not in used)
                return LoadedWeights(path, len(targets), len(targets), model.count_params(), ignored)
        best = max((match for match, _ in attempts), key=lambda match: len(match.pairs))
        raise InputError(
            f"Expected weights of {model.name}. Received: {path}, which fills {len(best.pairs)} of {len(targets)} "
            f"layers: {best.problem}. Name the backbone the file was made with, or use --weights none."
        )


def _attempts(
    model_name: str, targets: list[keras.Layer], stored: list[StoredLayer], paths: Mapping[str, str]
) -> Iterable[_Match]:
    yield _match(model_name, targets, {layer.name: layer for layer in stored if layer.name}, stored)
    if all(layer.path for layer in stored):
        by_path = {paths[layer.path]: layer for layer in stored if layer.path in paths}
        yield _match(model_name, targets, by_path, stored)
    else:
        names = [layer.name for layer in targets]
        yield _match(model_name, targets, dict(zip(names, stored, strict=False)), stored)


def _match(
    model_name: str, targets: list[keras.Layer], by_name: Mapping[str, StoredLayer], stored: list[StoredLayer]
) -> _Match:
    pairs, problem = [], None
    for layer in targets:
        source = by_name.get(layer.name)
        difference = _difference(layer, source)
        if source is not None and difference is None:
            pairs.append((layer, source))
        problem = problem or difference
    if problem is None and (stranger := _stranger([source for _, source in pairs], stored)) is not None:
        problem = f"its layer {stranger.label!r} has no place in {model_name}"
    return _Match(tuple(pairs), problem)


def _difference(layer: keras.Layer, source: StoredLayer | None) -> str | None:
    if source is None:
        return f"it has no layer {layer.name!r}"
    expected = tuple(tuple(weight.shape) for weight in layer.weights)
    if source.shapes == expected:
        return None
    return f"layer {layer.name!r} is {_shapes(expected)}, in the file ({source.label!r}) {_shapes(source.shapes)}"


def _shapes(shapes: tuple[tuple[int, ...], ...]) -> str:
    return ", ".join("x".join(map(str, shape)) or "scalar" for shape in shapes)


def _stranger(used: list[StoredLayer], stored: list[StoredLayer]) -> StoredLayer | None:
    """Finds a layer of the file that lies between layers of the network: a deeper network holds a shallower one."""
    taken = {id(layer) for layer in used}
    numbers: dict[str, list[int]] = defaultdict(list)
    for layer in used:
        numbers[layer.stem].append(layer.number)
    for layer in stored:
        places = numbers.get(layer.stem)
        if id(layer) not in taken and places and min(places) < layer.number < max(places):
            return layer
    return None
