"""The layer table of a model: sizes, costs and receptive fields, step by step, with stages, cuts and totals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tlkit.analysis.costs import Cost, bytes_of, step_cost
from tlkit.analysis.reach import space
from tlkit.analysis.receptive_field import ReceptiveField, image_input, receptive_fields
from tlkit.analysis.trace import Shape, Step, cut_positions, find_step, is_graph, require_graph, trace
from tlkit.errors import InputError

MOST_NAMES = 5  # Named in a note; the rest are counted.
HEAD = "head"


@dataclass(frozen=True)
class LayerFacts:
    """One step of a model.

    Attributes:
        name: Name of the layer; see `trace.Step.name`.
        kind: Class of the layer.
        stage: Stage that it belongs to.
        cut: Whether its output is all that later steps need, so that the model can be cut in two after it.
        output_shape: With the batch axis; None where the model could not be followed.
        cost: Parameters, arithmetic and memory.
        field: What its units see of the image.
    """

    name: str
    kind: str
    stage: str
    cut: bool
    output_shape: Shape | None
    cost: Cost
    field: ReceptiveField


@dataclass(frozen=True)
class Totals:
    """Sums over all steps, for one image.

    Attributes:
        layers: Steps, inputs not counted.
        weighted_layers: Those with weights.
        parameters: Weights.
        trainable_parameters: Those that training changes.
        unshared_parameters: The weights without sharing; None where sizes are not known.
        multiply_adds: Of the steps where they can be told.
        operations: FLOPs of the steps where they can be told, a multiply-add being 2.
        weight_bytes: Memory of the weights.
        activation_bytes: Memory of all outputs together: what training keeps for one image, about.
        peak_bytes: Most memory of outputs that are needed at one time: inference, where each is freed after its last
            use.
    """

    layers: int
    weighted_layers: int
    parameters: int
    trainable_parameters: int
    unshared_parameters: int | None
    multiply_adds: int | None
    operations: int | None
    weight_bytes: int
    activation_bytes: int | None
    peak_bytes: int | None


@dataclass(frozen=True)
class LayerTable:
    """All steps of a model, in order of computation.

    Attributes:
        model: The model's name.
        input_shape: Shape of the image, with the batch axis; None where the model could not be followed.
        layers: The steps, inputs included.
        totals: Sums.
        notes: What could not be told, one line each.
    """

    model: str
    input_shape: Shape | None
    layers: tuple[LayerFacts, ...]
    totals: Totals
    notes: tuple[str, ...]


def layer_table(
    model: keras.Model, image_size: int | None = None, stages: Sequence[tuple[str, str]] | None = None
) -> LayerTable:
    """Makes the layer table of any Keras model.

    A subclassed model, whose layers cannot be followed, gives a table of its layers' parameters and a note.

    Args:
        model: Flat or nested.
        image_size: Side of the image, for a model that takes any.
        stages: Pairs of stage name and last layer, in order from the input; stretches of one resolution when None.
    """
    if not is_graph(model):
        return _unfollowed(model)
    require_graph(model)
    steps = trace(model, image_size)
    fields, costs = receptive_fields(steps), [step_cost(step) for step in steps]
    names = _named_stages(steps, stages) if stages else _stages_by_size(steps)
    cuts = set(cut_positions(steps))
    layers = tuple(
        LayerFacts(step.name, step.kind, stage, at in cuts, step.output_shape, cost, field)
        for at, (step, stage, cost, field) in enumerate(zip(steps, names, costs, fields, strict=True))
    )
    shape = steps[image_input(steps)].output_shape
    totals = _totals(model, [layer.cost for layer in layers], _inputs(steps), _peak(steps, costs))
    return LayerTable(model.name, shape, layers, totals, tuple(_notes(steps, layers)))


def _named_stages(steps: tuple[Step, ...], stages: Sequence[tuple[str, str]]) -> list[str]:
    ends = [(find_step(steps, layer), name) for name, layer in stages]
    if [end for end, _ in ends] != sorted({end for end, _ in ends}):
        raise InputError("Expected stages in order from the input. Received: " + ", ".join(name for name, _ in stages))
    return [next((name for end, name in ends if position <= end), HEAD) for position in range(len(steps))]


def _stages_by_size(steps: tuple[Step, ...]) -> list[str]:
    """Names each stretch of steps by the size of its maps, such as `"112 x 112"`; the rest is the head."""
    names: list[str] = []
    largest = space(steps[0].operation, steps[image_input(steps)].output_shape)
    for step in steps:
        sides = space(step.operation, step.output_shape)
        if not sides or len(sides) != len(largest):
            names.append(HEAD if not names or len(step.output_shape) <= 2 else names[-1])
        elif names and (all(side == 1 for side in sides) or step.kind.startswith(("ZeroPadding", "Cropping"))):
            names.append(names[-1])  # A gate, and what pads before a stride, begin no stage.
        else:
            names.append(" x ".join("?" if side is None else str(side) for side in sides))
    return _after_last_map(names)


def _after_last_map(names: list[str]) -> list[str]:
    """Calls `head` only what comes after the last map; vectors of gates belong to the maps around them."""
    last = max((position for position, name in enumerate(names) if name != HEAD), default=-1)
    for position in range(1, last):
        if names[position] == HEAD:
            names[position] = names[position - 1]
    return names


def _inputs(steps: Iterable[Step]) -> int:
    return sum(not step.sources for step in steps)


def _totals(model: keras.Model, costs: list[Cost], inputs: int, peak: int | None) -> Totals:
    def total(name: str) -> int | None:
        values = [getattr(cost, name) for cost in costs]
        return sum(values) if None not in values else None

    counted = [cost for cost in costs if cost.multiply_adds is not None]
    return Totals(
        layers=len(costs) - inputs,
        weighted_layers=sum(cost.parameters > 0 for cost in costs),
        parameters=sum(cost.parameters for cost in costs),
        trainable_parameters=sum(cost.trainable_parameters for cost in costs),
        unshared_parameters=total("unshared_parameters"),
        multiply_adds=sum(cost.multiply_adds or 0 for cost in counted) if counted else None,
        operations=sum(cost.operations or 0 for cost in counted) if counted else None,
        weight_bytes=sum(math.prod(weight.shape) * bytes_of(weight.dtype) for weight in model.weights),
        activation_bytes=total("activation_bytes"),
        peak_bytes=peak,
    )


def _peak(steps: tuple[Step, ...], costs: list[Cost]) -> int | None:
    """Returns the most bytes that are needed at one time, each output being freed after its last use."""
    if any(cost.activation_bytes is None for cost in costs):
        return None
    last_use = list(range(len(steps)))
    for position, step in enumerate(steps):
        for source in step.sources:
            last_use[source] = position
    freed: dict[int, int] = {}
    held = peak = 0
    for position, cost in enumerate(costs):
        held += cost.activation_bytes or 0
        peak = max(peak, held)
        freed[last_use[position]] = freed.get(last_use[position], 0) + (cost.activation_bytes or 0)
        held -= freed.get(position, 0)
    return peak


def _notes(steps: tuple[Step, ...], layers: tuple[LayerFacts, ...]) -> Iterable[str]:
    inputs = [step.name for step in steps if not step.sources]
    if len(inputs) > 1:
        image = steps[image_input(steps)].name
        yield f"The model has {len(inputs)} inputs: receptive fields are those within {image!r}."
    if any(None in step.output_shape[1:] for step in steps):
        yield "Sizes are not known without an image size: state one to have arithmetic and memory counted."
    else:
        uncounted = [f"{one.name} ({one.kind})" for one in layers if one.cost.multiply_adds is None]
        if uncounted:
            yield f"Arithmetic is not counted for layers of unknown kind: {_listed(uncounted)}."
    lost = [one for one in layers if one.field.unknown]
    if lost:
        yield f"Receptive fields cannot be told from {lost[0].name} on: {lost[0].field.unknown}."
    gate = next((one.field.whole for one in layers if one.field.whole and one.field.axes is not None), "")
    if gate:
        yield f"From {gate} on every unit also sees the whole image, through a gate; sizes told are of windows alone."


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _unfollowed(model: Any) -> LayerTable:
    """The table of a subclassed model: what its layers hold, without order, shapes or arithmetic."""
    layers = tuple(
        LayerFacts(layer.name, type(layer).__name__, "", False, None, _weights_alone(layer), ReceptiveField(None))
        for layer in model.layers
    )
    note = (
        f"{type(model).__name__} is a subclassed model: its layers cannot be followed, so shapes, arithmetic, memory "
        "and receptive fields are not told. Build it with keras.Model(inputs, outputs) to have them."
    )
    unbuilt = () if model.built else ("The model is not built: weights that it makes when first called are missing.",)
    totals = _totals(model, [layer.cost for layer in layers], 0, None)
    return LayerTable(model.name, None, layers, totals, (note, *unbuilt))


def _weights_alone(layer: keras.Layer) -> Cost:
    trainable = sum(math.prod(weight.shape) for weight in layer.trainable_weights)
    parameters = sum(math.prod(weight.shape) for weight in layer.weights)
    return Cost(parameters, trainable, None, None, None, None)
