"""From what the user names to a table and measurements."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from tlkit import run
from tlkit.analysis.layer_table import LayerTable, layer_table
from tlkit.analysis.measurements import Measurements, Pictures, choose_layer, measure, stage_ends
from tlkit.analysis.trace import is_graph
from tlkit.backbones.build import build_backbone
from tlkit.backbones.custom import load_model_file
from tlkit.backbones.registry import Backbone, get_backbone, list_backbones
from tlkit.errors import InputError

DEFAULT_IMAGE_SIZE = 224  # For a model that takes any.
MOST_PICTURES = 512  # Enough for steady shares, and a minute's work.
GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601

Step = Callable[[str], AbstractContextManager]


@dataclass(frozen=True)
class Inspection:
    """What was found out about a network.

    Attributes:
        name: What it is called on the page.
        image_size: Side of the image that sizes and costs hold for; None for a model without one.
        table: All steps with their sizes, costs and receptive fields.
        measurements: What was measured on pictures; None without data.
        data: What `--data` named; empty without data.
        num_pictures: Usable pictures there; `measurements` has a sample where there are many.
        notes: What could not be told or measured, one line each.
    """

    name: str
    image_size: int | None
    table: LayerTable
    measurements: Measurements | None = None
    data: str = ""
    num_pictures: int = 0
    notes: tuple[str, ...] = ()


def examine(
    target: str | Path,
    *,
    image_size: int | None = None,
    data: str | None = None,
    layer: str | None = None,
    channel: int | None = None,
    step: Step | None = None,
) -> Inspection:
    """Looks into a network.

    Args:
        target: Name of a backbone, a saved model (`.keras`), or a run folder. A backbone is built with random weights
            where no data are given: its table does not depend on them.
        image_size: Side of the square image in pixels; the network's own when None.
        data: What `--data` takes: pictures to measure on. A sample of at most 512, evenly over classes, is used.
        layer: Layer whose strongest pictures are wanted; one late in the network when None.
        channel: Its channel; the liveliest ones when None.
        step: Called with what is being done, to show it while it lasts.

    Raises:
        InputError: There is no such network, layer, channel or data, or the image size does not fit.
    """
    step = step or (lambda text: nullcontext())
    with step(f"Building {target}"):
        name, model, backbone, class_names = open_target(target, image_size, with_weights=data is not None)
    size = _image_size(model, image_size)
    with step("Following the layers"):
        table = layer_table(model, size, _stages(model, backbone))
    if layer is not None and is_graph(model):
        choose_layer(table, stage_ends(table), layer)  # A wrong name is told before the long part.
    found = Inspection(name, size, table, notes=table.notes)
    if data is None:
        return found
    if size is None or not is_graph(model) or len(model.inputs) != 1:
        note = "Nothing is measured on pictures: the model does not take one image, or cannot be followed."
        return replace(found, data=data, notes=(*found.notes, note))
    with step("Reading the pictures"):
        pictures, count = load_pictures(data, size, model.inputs[0].shape[-1])
    with step("Measuring on the pictures"):
        measured = measure(model, table, pictures, layer=layer, channel=channel)
    notes = (*found.notes, *_data_notes(class_names, pictures), *measured.notes)
    return replace(found, measurements=measured, data=data, num_pictures=count, notes=notes)


def open_target(
    target: str | Path, image_size: int | None, *, with_weights: bool
) -> tuple[str, keras.Model, Backbone | None, tuple[str, ...]]:
    """Returns (name, model, its backbone's facts if it is one, class names if they are known).

    Raises:
        InputError: There is no such backbone, model file or run folder.
    """
    path = Path(target)
    if path.is_dir():
        folder = run.require_run(path, run.MODEL, run.LABELS)
        return path.name, load_model_file(folder / run.MODEL), None, run.read_labels(folder)
    if path.suffix or path.exists():
        return path.name, load_model_file(path), None, ()
    backbone = get_backbone(str(target))
    weights = "imagenet" if with_weights and backbone.weights not in ("none", "random") else "none"
    return backbone.name, build_backbone(backbone.name, image_size=image_size, weights=weights), backbone, ()


def _image_size(model: keras.Model, asked: int | None) -> int | None:
    """Returns the side of the first image that a model takes; None where it takes none."""
    inputs = getattr(model, "inputs", None) or []
    images = [tensor.shape for tensor in inputs if len(tensor.shape) == 4]
    if not images:
        return None
    own = images[0][1]
    if asked is not None and own not in (None, asked):
        raise InputError(f"Expected an image size of {own}, which {model.name} was made for. Received: {asked}.")
    return own or asked or DEFAULT_IMAGE_SIZE


def _stages(model: keras.Model, backbone: Backbone | None) -> list[tuple[str, str]] | None:
    """Returns the stages of a backbone, also of one that a saved model was built on; None where it is unknown."""
    names = {layer.name for layer in model.layers} if is_graph(model) else set()
    known = [backbone] if backbone else list_backbones()
    for one in known:
        if one.stages and all(stage.layer in names for stage in one.stages):
            return [(stage.name, stage.layer) for stage in one.stages]
    return None


def load_pictures(spec: str, image_size: int, channels: int | None) -> tuple[Pictures, int]:
    """Reads a sample of a data set, evenly over its classes, and tells how many usable pictures it has.

    Returns:
        The pictures, uint8 (n, image_size, image_size, 3 or 1), and the number there are.

    Raises:
        InputError: There is no such data set, or the model takes pictures of other channels.
    """
    from tlkit import data

    if channels not in (None, 1, 3):
        raise InputError(f"Expected a model that takes 3 channels, or 1, to measure on pictures. Received: {channels}.")
    manifest = data.from_spec(spec)
    usable = np.flatnonzero(manifest.usable)
    rows = usable[sample(manifest.labels()[usable], MOST_PICTURES)]
    chosen = replace(manifest, items=manifest.items.iloc[rows].reset_index(drop=True))
    images, labels = data.as_numpy(data.load(chosen, image_size=image_size, shuffle=False))
    if channels == 1:
        images = np.rint(images @ GREY).astype(np.uint8)[..., None]
    return Pictures(images, np.asarray(labels, np.int64), manifest.class_names), len(usable)


def sample(labels: NDArray[np.int64], most: int, seed: int = 0) -> NDArray[np.int64]:
    """Returns positions of at most `most` items, one of each class in turn, each class in random order."""
    order = np.random.default_rng(seed).permutation(len(labels))
    turn = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        mine = order[labels[order] == label]
        turn[mine] = np.arange(len(mine))
    return np.lexsort((labels, turn))[:most]


def _data_notes(class_names: tuple[str, ...], pictures: Pictures) -> list[str]:
    if class_names and class_names != pictures.class_names:
        return ["The data have other classes than the model was trained on: gradients hold for the data's labels."]
    return []
