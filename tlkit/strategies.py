"""What trains when: a strategy is a tuple of phases, plain data that can be printed, changed and stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras

from tlkit.backbones.custom import derive_stages
from tlkit.backbones.registry import Backbone, Stage, list_backbones
from tlkit.config import AUTO, STRATEGIES
from tlkit.errors import InputError, unknown_name
from tlkit.graph import feature_layer, layers_after
from tlkit.phases import HEAD, INPUT, Phase, no_epochs, require_stage, trains_everything

CONVEX_HEAD = Phase("head", HEAD, convex_head=True)
# The rate is compared in benchmarks/recipes.md. At first it may lose what the convex head found, and a phase that does
# not win it back ends with the weights it began with.
BODY = Phase("body", epochs=10, learning_rate=1e-3, layer_decay=0.7, weight_decay=0.05, patience=5)

# Pictures that are never twice the same are learnt more slowly: in 10 epochs Fashion-MNIST (100 images a class,
# `partial`, seed 0) reaches 84.4 % with `light` and 84.9 % without, in 20 epochs 85.1 % with it.
AUGMENTED_EPOCHS = 2


def get_strategy(
    name: str,
    stages: Sequence[Stage] = (),
    *,
    last_stages: str | None = None,
    augmented: bool = False,
    **changes: Any,
) -> tuple[Phase, ...]:
    """Returns the phases of a named strategy.

    Args:
        name: `frozen`: the head alone. `partial`: the head, then the last stages. `gradual`: the head, then stage
            after stage from the top down. `full`: the head, then everything. `auto`: the head, then the last stages,
            then everything, each kept only where validation shows that it gained something. `scratch`: everything at
            once, from random weights, BatchNormalization included.
        stages: Of the network, in order from the input; `stages_of(model)`.
        last_stages: Name of the first stage that `partial` and `auto` train, and where `gradual` ends; the last stage
            when None.
        augmented: Whether the training images are: phases then have twice the epochs, unless they are among `changes`.
        **changes: Fields of each phase with gradient training, such as `epochs=5` or `learning_rate=1e-4`, instead of
            the strategy's own; None leaves those.

    Raises:
        InputError: A name is unknown, or a value out of range.
    """
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, STRATEGIES)
    names = [stage.name for stage in stages]
    if last_stages is not None:
        require_stage(last_stages, names)
    phases = _phases(name, names, last_stages)
    given = {key: value for key, value in changes.items() if value is not None}
    for key in given:
        if key not in (known := CONVEX_HEAD.to_dict()):
            raise unknown_name("field of a phase", key, known)
    if name == "frozen":
        return (replace(phases[0], **given),)
    if given.get("epochs") == 0:
        raise no_epochs(name)
    return tuple(_changed(phase, given, augmented) if phase.epochs else phase for phase in phases)


def _changed(phase: Phase, given: Mapping[str, Any], augmented: bool) -> Phase:
    """Returns a phase with the fields that were given, and the epochs and the patience that follow."""
    epochs = given.get("epochs", phase.epochs * (AUGMENTED_EPOCHS if augmented else 1))
    return replace(phase, **{"epochs": epochs, "patience": _patience(phase, epochs), **given})


def _patience(phase: Phase, epochs: Any) -> int | None:
    """Returns the patience of a phase that gets more epochs: the same share of them.

    The rate then falls more slowly, and while it is high an epoch says little about the end: in 30 epochs with a
    patience of 5, Fashion-MNIST (100 images a class, `partial`) stopped after the sixth, three points below 10 epochs.
    """
    if phase.patience is None or not isinstance(epochs, int) or epochs <= phase.epochs:
        return phase.patience
    return math.ceil(phase.patience * epochs / phase.epochs)


def _phases(name: str, stages: list[str], last_stages: str | None) -> tuple[Phase, ...]:
    everything = replace(BODY, train_from=INPUT)
    if name == "frozen":
        return (CONVEX_HEAD,)
    if name == "scratch":
        return (Phase("scratch", INPUT, 30, 3e-3, weight_decay=0.05, patience=10, batch_norm="trained"),)
    if name == "full":
        return (CONVEX_HEAD, everything)
    if name == AUTO and len(stages) < 2:  # A single stage is everything.
        return (CONVEX_HEAD, replace(everything, name="everything", only_if_better=True))
    first = last_stages or stages[-1]
    if name == "partial":
        return (CONVEX_HEAD, replace(BODY, train_from=first))
    if name == AUTO:
        tried = replace(BODY, name=f"from {first}", train_from=first, only_if_better=True)
        return (CONVEX_HEAD, tried, replace(tried, name="everything", train_from=INPUT))
    unfrozen = [stage for stage in reversed(stages) if stages.index(stage) >= stages.index(first)]
    return (CONVEX_HEAD, *(replace(BODY, name=f"from {stage}", train_from=stage, epochs=5) for stage in unfrozen))


def phases_for(
    model: keras.Model, name: str, *, train_from: str | None = None, augmented: bool = False, **changes: Any
) -> tuple[Phase, ...]:
    """Returns the phases of a named strategy for a classifier.

    Args:
        model: The classifier.
        name: As `get_strategy` takes it.
        train_from: First stage that `auto`, `partial` and `gradual` train; by default the first of the stages that
            work at the last resolution.
        augmented: As `get_strategy` takes it.
        **changes: As `get_strategy` takes them.

    Raises:
        InputError: A name is unknown, or the model has no stages where the strategy needs them.
    """
    stages = stages_of(model)
    if train_from is None and name in (AUTO, "partial", "gradual") and len(stages) > 1:
        train_from = stages_at_last_resolution(model, stages)
    if name in ("partial", "gradual") and len(stages) < 2:
        raise InputError(
            f"Expected a model of two stages at least for strategy {name!r}. Received: {model.name}, with "
            f"{len(stages)}. Use --strategy full."
        )
    return get_strategy(name, stages, last_stages=train_from, augmented=augmented, **changes)


def check_phases(model: keras.Model, phases: Sequence[Phase], stages: Sequence[Stage]) -> None:
    """Makes sure, before anything is trained, that every phase can run and does what its author may think.

    Raises:
        InputError: There is no phase; one names a stage that does not exist; one does nothing; one trains nothing; or
            one trains everything without saying so.
    """
    if not phases:
        raise InputError("Expected at least one phase. Received: none.")
    for phase in phases:
        if not phase.epochs and not phase.convex_head:
            raise InputError(
                f"Expected phase {phase.name!r} to have epochs or convex_head=True. Received: neither, so it would do "
                "nothing."
            )
        cut_of(model, phase, stages)
        if stages and phase.train_from == stages[0].name:
            raise trains_everything(phase.train_from)
        if not any(_trains(layer, phase, head) for layer, head in _trained_layers(model, phase, stages)):
            raise InputError(
                f"Expected phase {phase.name!r} to train something. Received: train_from={phase.train_from!r}, from "
                "where on no layer has weights that train."
            )


def _trained_layers(model: keras.Model, phase: Phase, stages: Sequence[Stage]) -> list[tuple[keras.Layer, bool]]:
    """Returns the layers that a phase trains, each with whether it belongs to the head."""
    cut = cut_of(model, phase, stages)
    head = {id(layer) for layer in layers_after(model, feature_layer(model))}
    layers = model.layers if cut is None else layers_after(model, cut)
    return [(layer, id(layer) in head) for layer in layers]


def _trains(layer: keras.Layer, phase: Phase, in_head: bool) -> bool:
    """Tells whether any weight of a layer would train."""
    frozen_norm = phase.batch_norm == "frozen" and not in_head
    return any(
        bool(part._trainable_variables)
        for part in layer._flatten_layers()
        if not (frozen_norm and isinstance(part, keras.layers.BatchNormalization))
    )


def stages_of(model: keras.Model) -> tuple[Stage, ...]:
    """Returns the stages of a classifier's body, in order from the input.

    They are those of the registered backbone whose boundary layers all stand in the model, and otherwise the stretches
    between changes of resolution.
    """
    backbone = _known_backbone(model)
    if backbone is not None:
        return backbone.stages
    return tuple(stage for stage in derive_stages(model) if stage.layer != model.layers[-1].name)


def auxiliary_layers(model: keras.Model) -> tuple[str, ...]:
    """Returns the layers of a classifier that have an auxiliary loss in training; those of most have none."""
    backbone = _known_backbone(model)
    return () if backbone is None else backbone.auxiliary


def _known_backbone(model: keras.Model) -> Backbone | None:
    names = {layer.name for layer in model.layers}
    for backbone in list_backbones():
        if model.name.startswith(backbone.model_name) and all(stage.layer in names for stage in backbone.stages):
            return backbone
    return None


def stages_at_last_resolution(model: keras.Model, stages: Sequence[Stage]) -> str:
    """Returns the name of the first of the last stages whose outputs have the size of the last feature map."""
    sizes = [model.get_layer(stage.layer).output.shape[1:-1] for stage in stages]
    first = len(stages) - 1
    while first > 1 and sizes[first - 1] == sizes[-1]:
        first -= 1
    return stages[first].name


def cuts_of(model: keras.Model, phases: Sequence[Phase], stages: Sequence[Stage] | None = None) -> list[str]:
    """Returns the layers after which training starts in phases that leave something frozen.

    Raises:
        InputError: A phase names a stage that the model does not have.
    """
    known = stages_of(model) if stages is None else stages
    return [cut for phase in phases if (cut := cut_of(model, phase, known)) is not None]


def cut_of(model: keras.Model, phase: Phase, stages: Sequence[Stage]) -> str | None:
    """Returns the layer after which training starts in a phase, or None where everything trains.

    Raises:
        InputError: The phase names a stage that the model does not have.
    """
    if phase.train_from == HEAD:
        return feature_layer(model)
    names = [stage.name for stage in stages]
    if phase.train_from == INPUT or (names and phase.train_from == names[0]):
        return None
    if phase.train_from not in names:
        raise unknown_name("stage", phase.train_from, [HEAD, *names, INPUT])
    return stages[names.index(phase.train_from) - 1].layer


def apply_phase(model: keras.Model, phase: Phase, stages: Sequence[Stage] = ()) -> None:
    """Sets `trainable` on every layer of `model` as the phase wants it; compile before the next `fit`.

    Layers are set one by one: a flag on a parent would hide those of its children, and BatchNormalization layers
    must be frozen themselves, for Keras up to 3.15 moves their statistics in `fit` otherwise, whatever
    `training=False` says where the model was built. Those of the head are the head's own and train with it.
    """
    model.trainable = True
    wanted = {id(layer): head for layer, head in _trained_layers(model, phase, stages)}
    for layer in model.layers:
        layer.trainable = id(layer) in wanted
        if phase.batch_norm == "frozen" and not wanted.get(id(layer), False):
            for inner in layer._flatten_layers():
                if isinstance(inner, keras.layers.BatchNormalization):
                    inner.trainable = False


def rate_factors(model: keras.Model, phase: Phase, stages: Sequence[Stage]) -> dict[str, float]:
    """Returns each trainable variable's share of the learning rate, by its path: `layer_decay` once for each stage."""
    depth = {variable.path: 0 for variable in model.trainable_variables}
    for above, stage in enumerate(reversed(stages)):
        inside = {id(layer) for layer in layers_after(model, stage.layer)}
        for layer in model.layers:
            if id(layer) not in inside:
                depth.update({variable.path: above for variable in layer.trainable_variables})
    return {path: phase.layer_decay**stages_above for path, stages_above in depth.items()}
