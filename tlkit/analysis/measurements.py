"""Everything that can be measured of a network on pictures, in one go: what `tlkit inspect --data` shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import keras
import numpy as np
from numpy.typing import NDArray

from tlkit.analysis.activations import Excitement, activations, count_channels, require_channels, strongest_images
from tlkit.analysis.effective_field import EffectiveField, effective_fields
from tlkit.analysis.filters import Filters, layer_filters
from tlkit.analysis.gradient_flow import FlowRecord, gradient_flow
from tlkit.analysis.gradient_verdict import Verdict, judge
from tlkit.analysis.layer_table import HEAD, LayerFacts, LayerTable
from tlkit.analysis.neighbours import Neighbourhood, neighbourhoods, parted_pairs
from tlkit.analysis.receptive_field import seen_box
from tlkit.analysis.signal_flow import SignalFlow, signal_flow
from tlkit.analysis.symmetry import SymmetryError, default_transformations, symmetry_errors
from tlkit.analysis.trace import find_step, trace
from tlkit.console import OnProgress
from tlkit.errors import InputError

MOST_STAGES = 8
CHANNELS_EXCITED = 4
CHANNELS_SHOWN = 8
IMAGES_LOOKED_AT = 64  # For the choice of channels; the maps of all layers are in memory.
IMAGES_SHOWN = 7  # A row of the page.
IMAGES_MOVED = 24
IMAGES_DIFFERENTIATED = 8
BATCH_OF_GRADIENTS = 16
NEIGHBOURS = 5

Result = TypeVar("Result")


@dataclass(frozen=True)
class Maps:
    """Feature maps of one layer for one image.

    Attributes:
        layer: The layer's name.
        channels: The channels shown: those that this image excites most, beside the other images.
        maps: Float32 (channels, height, width).
    """

    layer: str
    channels: tuple[int, ...]
    maps: NDArray[np.float32]


@dataclass
class Measurements:
    """What was measured; None or empty where it could not be, with a note that says why.

    Attributes:
        images: The pictures, uint8 (n, height, width, channels).
        labels: Their labels, int64 (n,).
        class_names: Names by label.
        layers: The layers looked into, from the input to the output.
        filters: Of the first convolution layer.
        effective: Effective receptive fields, by layer with a map.
        boxes: What the unit of each of them can see in theory.
        maps: Feature maps of the first picture.
        strongest: The pictures that excite channels of one layer most.
        neighbourhoods: In pixel space and in that of each layer.
        pairs: (picture, nearest as pixels, nearest as features) that part in feature space.
        symmetry: Errors by transformation and layer.
        flow: Gradients of the weights on one batch.
        signal: Gradients of the layers' outputs.
        verdict: On both.
        notes: One line each.
    """

    images: NDArray
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    layers: tuple[str, ...]
    filters: Filters | None = None
    effective: tuple[EffectiveField, ...] = ()
    boxes: tuple[tuple[tuple[int, int], ...], ...] = ()
    maps: tuple[Maps, ...] = ()
    strongest: tuple[Excitement, ...] = ()
    neighbourhoods: tuple[Neighbourhood, ...] = ()
    pairs: list[tuple[int, int, int]] = field(default_factory=list)
    symmetry: tuple[SymmetryError, ...] = ()
    flow: FlowRecord | None = None
    signal: SignalFlow | None = None
    verdict: Verdict | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures to measure with: images (n, height, width, channels), labels int64 (n,), names by label."""

    images: NDArray
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]


def measure(
    model: keras.Model,
    table: LayerTable,
    pictures: Pictures,
    *,
    layer: str | None = None,
    channel: int | None = None,
    on_progress: OnProgress | None = None,
) -> Measurements:
    """Measures a network on pictures: filters, fields, answers, neighbours, symmetries and gradients.

    A part that this model does not allow is left out, with a note; the others are done.

    Args:
        model: A functional model of one image, channels last.
        table: From `layer_table`.
        pictures: Values as the model takes them.
        layer: The layer whose strongest pictures are wanted; the last but one stage when None.
        channel: Its channel; the four that vary most when None.
        on_progress: Called with (parts done, parts in all).

    Raises:
        InputError: The layer or channel does not exist, or the model takes no single image.
    """
    require_image_model(model, pictures.images)
    chosen = stage_ends(table)
    looked_at = choose_layer(table, chosen, layer)
    if channel is not None:
        require_channels(looked_at, count_channels(model, looked_at), [channel])
    names = tuple(row.name for row in chosen)
    found = Measurements(pictures.images, pictures.labels, pictures.class_names, names)
    parts: tuple[Callable[[], None], ...] = (
        lambda: _measure_filters(found, model),
        lambda: _measure_fields(found, model, chosen),
        lambda: _measure_answers(found, model, chosen, looked_at, channel),
        lambda: _measure_neighbours(found, model),
        lambda: _measure_symmetry(found, model),
        lambda: _measure_gradients(found, model),
    )
    for done, part in enumerate(parts, start=1):
        try:
            part()
        except InputError as error:
            found.notes.append(str(error))
        if on_progress:
            on_progress(done, len(parts))
    return found


def require_image_model(model: keras.Model, images: NDArray) -> None:
    """Raises InputError where a model does not take one image, channels last, of the shape of `images`."""
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        told = ", ".join(str(tuple(tensor.shape)) for tensor in model.inputs)
        raise InputError(f"Expected a model of one image to measure on pictures. Received: inputs of shape {told}.")
    fits = zip(model.inputs[0].shape[1:], images.shape[1:], strict=True)
    if not all(ours in (None, theirs) for ours, theirs in fits):
        raise InputError(f"Expected pictures of shape {model.inputs[0].shape[1:]}. Received: {images.shape[1:]}.")


def stage_ends(table: LayerTable) -> list[LayerFacts]:
    """Returns the last layer of each stage, a cut where the stage has one, at most 8 spread over the depth; the last
    vector before the output, if there is one; and the output."""
    rows = [row for row in table.layers[1:] if row.output_shape is not None]
    ends: dict[str, LayerFacts] = {}
    for row in rows:
        if row.stage != HEAD and len(row.output_shape or ()) == 4:
            previous = ends.get(row.stage)
            if previous is None or row.cut or row is rows[-1] or not previous.cut:
                ends[row.stage] = row
    maps = list(ends.values())
    places = np.linspace(0, len(maps) - 1, min(len(maps), MOST_STAGES)).round().astype(int)
    chosen = [maps[place] for place in places]
    vectors = [row for row in rows if len(row.output_shape or ()) == 2]
    chosen += [row for row in (*vectors[-2:-1], rows[-1]) if row not in chosen]
    return chosen


def choose_layer(table: LayerTable, chosen: Sequence[LayerFacts], layer: str | None) -> str:
    """Returns the layer asked for, or the last but one that has a map.

    Raises:
        InputError: There is no such layer; the nearest one is told.
    """
    if layer is not None:
        return table.layers[find_step(table.layers, layer)].name
    maps = [row.name for row in chosen if len(row.output_shape or ()) == 4]
    if not maps:
        return chosen[-1].name
    return maps[max(len(maps) - 2, 0)]


def _measure_filters(found: Measurements, model: keras.Model) -> None:
    found.filters = layer_filters(model)


def _measure_fields(found: Measurements, model: keras.Model, chosen: Sequence[LayerFacts]) -> None:
    maps = [row.name for row in chosen if len(row.output_shape or ()) == 4]
    if not maps:
        return
    found.effective = effective_fields(model, maps, found.images[:IMAGES_DIFFERENTIATED])
    steps = trace(model, found.images.shape[1])
    found.boxes = tuple(seen_box(steps, find_step(steps, one.layer), one.unit) for one in found.effective)


def _measure_answers(
    found: Measurements, model: keras.Model, chosen: Sequence[LayerFacts], looked_at: str, channel: int | None
) -> None:
    maps = [row.name for row in chosen if len(row.output_shape or ()) == 4]
    answers = activations(model, found.images[:IMAGES_LOOKED_AT], [*dict.fromkeys([*maps, looked_at])])
    found.maps = tuple(_maps(name, answers[name]) for name in maps)
    channels = [channel] if channel is not None else _lively(answers[looked_at])[:CHANNELS_EXCITED]
    found.strongest = strongest_images(model, found.images, looked_at, channels, top=IMAGES_SHOWN)


def _maps(name: str, answers: NDArray[np.float32]) -> Maps:
    peaks = _peaks(answers)
    standing_out = (peaks[0] - peaks.mean(axis=0)) / (peaks.std(axis=0) + 1e-12)
    channels = np.argsort(-standing_out, kind="stable")[:CHANNELS_SHOWN].tolist()
    return Maps(name, tuple(channels), np.moveaxis(answers[0][..., channels], -1, 0))


def _lively(answers: NDArray[np.float32]) -> list[int]:
    """Orders channels by how much their peak differs from image to image, beside its mean."""
    peaks = _peaks(answers)
    variation = peaks.std(axis=0) / (np.abs(peaks).mean(axis=0) + peaks.std() + 1e-12)
    return np.argsort(-variation, kind="stable").tolist()


def _peaks(answers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the largest answer of each channel to each image, (n, channels)."""
    return answers.reshape(len(answers), -1, answers.shape[-1]).max(axis=1)


def _measure_neighbours(found: Measurements, model: keras.Model) -> None:
    k = min(NEIGHBOURS, len(found.images) - 1)
    found.neighbourhoods = neighbourhoods(model, found.images, found.layers, k=k, labels=found.labels)
    best = max(found.neighbourhoods[1:], key=lambda one: one.agreement)
    found.pairs = parted_pairs(found.neighbourhoods[0], best, found.labels)


def _measure_symmetry(found: Measurements, model: keras.Model) -> None:
    images = found.images[:IMAGES_MOVED]
    found.symmetry = symmetry_errors(model, images, found.layers, default_transformations(images.shape[1]))


def _measure_gradients(found: Measurements, model: keras.Model) -> None:
    loss = classification_loss(model, len(found.class_names))
    x, y = found.images[:BATCH_OF_GRADIENTS].astype("float32"), found.labels[:BATCH_OF_GRADIENTS]
    found.flow = gradient_flow(model, x, y, loss)
    found.signal = signal_flow(model, x, y, loss)
    found.verdict = judge(found.flow, found.signal)


def classification_loss(model: keras.Model, num_classes: int) -> Callable[[Any, Any], Any]:
    """Returns the cross-entropy that fits what a model puts out.

    Raises:
        InputError: The model does not put out one value for each class.
    """
    shape = tuple(model.outputs[0].shape)
    if len(model.outputs) != 1 or len(shape) != 2 or shape[-1] != num_classes:
        raise InputError(
            f"Gradients are not measured: expected a classifier of the {num_classes} classes of the data. Received: "
            f"{model.name}, whose output has shape {shape[1:]}. Inspect a model that was fine-tuned on them."
        )
    step = trace(model)[-1].operation
    activation = getattr(step, "activation", None)
    logits = not isinstance(step, keras.layers.Softmax) and activation is not keras.activations.softmax

    def loss(y: Any, outputs: Any) -> Any:
        return keras.losses.sparse_categorical_crossentropy(y, outputs, from_logits=logits)

    return loss
