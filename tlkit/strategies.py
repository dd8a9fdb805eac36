"""What trains when: a strategy is a tuple of phases, plain data that can be printed, changed and stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras

from tlkit.backbones.custom import derive_stages
from tlkit.backbones.registry import Stage, list_backbones
from tlkit.config import STRATEGIES
from tlkit.errors import InputError, unknown_name
from tlkit.graph import feature_layer, layers_after

HEAD, INPUT = "head", "input"
BATCH_NORM = ("frozen", "trained")


@dataclass(frozen=True)
class Phase:
    """One stretch of training with one set of trainable layers.

    Attributes:
        name: Shown in the history and the report.
        train_from: The first stage that trains, with all after it; `"head"`: only what follows the features;
            `"input"`: everything.
        epochs: Epochs of gradient training at most; 0 leaves the head as the convex fit made it.
        learning_rate: Peak learning rate, of the head and the last stage.
        layer_decay: The rate of each stage as a share of that of the stage after it, above 0 up to 1.
        weight_decay: Decoupled weight decay of kernels; biases and normalisation are spared.
        warmup: Share of the steps in which the rate rises, 0 to 1; it then falls along a cosine.
        patience: Epochs without a better validation loss before the phase ends; None never ends it early.
        optimizer: Name of an optimizer; see `tlkit.optimizers.OPTIMIZERS`.
        batch_norm: `"frozen"`: statistics, scale and shift of BatchNormalization stay; `"trained"`: they learn.
        convex_head: Whether the head is first set by a regularised logistic regression on the features.
    """

    name: str
    train_from: str = HEAD
    epochs: int = 0
    learning_rate: float = 1e-3
    layer_decay: float = 1.0
    weight_decay: float = 0.0
    warmup: float = 0.1
    patience: int | None = None
    optimizer: str = "adamw"
    batch_norm: str = "frozen"
    convex_head: bool = False

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise InputError(f"Expected learning_rate greater than 0. Received: {self.learning_rate:g}.")
        if not 0 < self.layer_decay <= 1:
            raise InputError(f"Expected layer_decay above 0 up to 1. Received: {self.layer_decay:g}.")
        if self.epochs < 0:
            raise InputError(f"Expected epochs of at least 0. Received: {self.epochs}.")
        if self.batch_norm not in BATCH_NORM:
            raise unknown_name("batch_norm", self.batch_norm, BATCH_NORM)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields, JSON-able."""
        return asdict(self)


CONVEX_HEAD = Phase("head", HEAD, convex_head=True)
BODY = Phase("body", epochs=10, learning_rate=1e-3, layer_decay=0.7, weight_decay=0.05, patience=5)


def get_strategy(
    name: str,
    stages: Sequence[Stage] = (),
    *,
    last_stages: str | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
) -> tuple[Phase, ...]:
    """Returns the phases of a named strategy.

    Args:
        name: `frozen`: the head alone. `partial`: the head, then the last stages. `gradual`: the head, then stage
            after stage from the top down. `full`: the head, then everything. `scratch`: everything at once, from
            random weights, BatchNormalization included.
        stages: Of the network, in order from the input; `stages_of(model)`.
        last_stages: Name of the first stage that `partial` trains, and where `gradual` ends; by default the first of
            the stages that work at the last resolution, as `stages_at_last_resolution` finds it.
        epochs: Epochs of each phase with gradient training, instead of the strategy's own number.
        learning_rate: Peak rate of each such phase, instead of the strategy's own.

    Raises:
        InputError: A name is unknown.
    """
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, STRATEGIES)
    if last_stages is not None and last_stages not in (names := [stage.name for stage in stages]):
        raise unknown_name("stage", last_stages, names)
    phases = _phases(name, [stage.name for stage in stages], last_stages)
    given: dict[str, Any] = {
        key: value for key, value in (("epochs", epochs), ("learning_rate", learning_rate)) if value is not None
    }
    if name == "frozen":
        return (replace(phases[0], **given),)
    return tuple(replace(phase, **given) if phase.epochs else phase for phase in phases)


def _phases(name: str, stages: list[str], last_stages: str | None) -> tuple[Phase, ...]:
    if name == "frozen":
        return (CONVEX_HEAD,)
    if name == "scratch":
        return (Phase("scratch", INPUT, 30, 3e-3, weight_decay=0.05, patience=10, batch_norm="trained"),)
    if name == "full":
        return (CONVEX_HEAD, replace(BODY, train_from=INPUT))
    first = last_stages or stages[-1]
    if name == "partial":
        return (CONVEX_HEAD, replace(BODY, train_from=first))
    unfrozen = [stage for stage in reversed(stages) if stages.index(stage) >= stages.index(first)]
    return (CONVEX_HEAD, *(replace(BODY, name=f"from {stage}", train_from=stage, epochs=5) for stage in unfrozen))


def stages_of(model: keras.Model) -> tuple[Stage, ...]:
    """Returns the stages of a classifier's body, in order from the input.

    They are those of the registered backbone whose boundary layers all stand in the model, and otherwise the stretches
    between changes of resolution.
    """
    names = {layer.name for layer in model.layers}
    for backbone in list_backbones():
        if model.name.startswith(backbone.name) and all(stage.layer in names for stage in backbone.stages):
            return backbone.stages
    return tuple(stage for stage in derive_stages(model) if stage.layer != model.layers[-1].name)


def stages_at_last_resolution(model: keras.Model, stages: Sequence[Stage]) -> str:
    """Returns the name of the first of the last stages whose outputs have the size of the last feature map."""
    sizes = [model.get_layer(stage.layer).output.shape[1:-1] for stage in stages]
    first = len(stages) - 1
    while first > 1 and sizes[first - 1] == sizes[-1]:
        first -= 1
    return stages[first].name


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
    cut = cut_of(model, phase, stages)
    trained = model.layers if cut is None else layers_after(model, cut)
    head = {id(layer) for layer in layers_after(model, feature_layer(model))}
    model.trainable = True
    wanted = {id(layer) for layer in trained}
    for layer in model.layers:
        layer.trainable = id(layer) in wanted
        if phase.batch_norm == "frozen" and id(layer) not in head:
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
