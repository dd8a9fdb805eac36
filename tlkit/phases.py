"""A phase of training as plain data: checked when made, printed as a table, stored and read back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from tlkit.config import AUTO, OPTIMIZERS
from tlkit.errors import InputError, unknown_name

HEAD, INPUT = "head", "input"
BATCH_NORM = ("frozen", "trained")
STRATEGIES_OF = {HEAD: "The head alone is strategy 'frozen'.", INPUT: "Training everything is strategy 'full'."}


def require_stage(name: str, stages: Sequence[str]) -> None:
    """Makes sure that training can start from a stage and leaves something frozen.

    Args:
        name: The stage.
        stages: Names of all stages of the network, in order from the input.

    Raises:
        InputError: There is no such stage, or it is the first, or what is meant has a strategy of its own.
    """
    if name not in stages:
        if name in STRATEGIES_OF:
            raise InputError(f"Expected a stage to train from. Received: {name!r}. {STRATEGIES_OF[name]}")
        raise unknown_name("stage", name, stages)
    if name == stages[0]:
        raise trains_everything(name)


def no_epochs(strategy: str) -> InputError:
    """Returns what is raised where a strategy that trains by gradients is given no epochs."""
    return InputError(
        f"Expected at least one epoch for strategy {strategy!r}. Received: 0, which would train nothing but the head. "
        "For the head alone there is strategy 'frozen'."
    )


def trains_everything(name: str) -> InputError:
    """Returns what is raised where the first stage is named, in which everything trains."""
    return InputError(
        f"Expected a stage after the first to train from. Received: {name!r}, which would train everything. To train "
        f"everything, say so: strategy full, or train_from={INPUT!r} in a phase of your own."
    )


@dataclass(frozen=True)
class Phase:
    """One stretch of training with one set of trainable layers.

    Attributes:
        name: Shown in the history and the report.
        train_from: The first stage that trains, with all after it; `"head"`: only what follows the features;
            `"input"`: everything.
        epochs: Epochs of gradient training at most; 0 leaves the head as the convex fit made it.
        learning_rate: Peak learning rate, of the head and the last stage; `"auto"` has a range test choose it.
        layer_decay: The rate of each stage as a share of that of the stage after it, above 0 up to 1.
        weight_decay: Decoupled weight decay of kernels; biases and normalisation are spared.
        warmup: Share of the steps in which the rate rises, 0 to 1; it then falls along a cosine.
        patience: Epochs without a tempered validation loss as good as the lowest before the phase ends; None never ends
            it early.
        optimizer: Name of an optimizer; see `tlkit.optimizers.OPTIMIZERS`.
        batch_norm: `"frozen"`: statistics, scale and shift of BatchNormalization stay; `"trained"`: they learn;
            statistics then follow the last epoch's images even where it has few steps.
        convex_head: Whether the head is first set by a regularised logistic regression on the features.
        only_if_better: Whether the phase is undone unless validation shows that it gained something; see
            `tlkit.phase_gains.worth_keeping`.
    """

    name: str
    train_from: str = HEAD
    epochs: int = 0
    learning_rate: float | str = 1e-3
    layer_decay: float = 1.0
    weight_decay: float = 0.0
    warmup: float = 0.1
    patience: int | None = None
    optimizer: str = "adamw"
    batch_norm: str = "frozen"
    convex_head: bool = False
    only_if_better: bool = False

    def __post_init__(self) -> None:
        for item in fields(self):
            _check_kind(item.name, getattr(self, item.name), item.type)
        _check_rate(self.learning_rate)
        for name, value, valid, told in (
            ("layer_decay", self.layer_decay, 0 < self.layer_decay <= 1, "above 0 up to 1"),
            ("weight_decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "of at least 0"),
            ("warmup", self.warmup, 0 <= self.warmup <= 1, "from 0 to 1"),
            ("epochs", self.epochs, self.epochs >= 0, "of at least 0"),
            ("patience", self.patience, self.patience is None or self.patience >= 1, "of at least 1, or None"),
        ):
            if not valid:
                raise InputError(f"Expected {name} {told}. Received: {value:g}.")
        if self.batch_norm not in BATCH_NORM:
            raise unknown_name("batch_norm", self.batch_norm, BATCH_NORM)
        if self.optimizer not in OPTIMIZERS:
            raise unknown_name("optimizer", self.optimizer, OPTIMIZERS)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields, JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Phase:
        """Makes a phase of what `to_dict` gave.

        Raises:
            InputError: A field is unknown or missing, or a value out of range.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"Expected the fields of a phase by name, as to_dict gives them. Received: {values!r}.")
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise unknown_name("field of a phase", name, known)
        if "name" not in values:
            raise InputError(f"Expected a phase with a name. Received: {dict(values)!r}.")
        return cls(**values)


KINDS: dict[str, tuple[tuple[type, ...], str]] = {  # What a field may be, by its annotation; and in words.
    "str": ((str,), "as text"),
    "int": ((int,), "as a whole number"),
    "int | None": ((int, type(None)), "as a whole number, or None"),
    "float": ((int, float), "as a number"),
    "float | str": ((int, float, str), "as a number, or 'auto'"),
    "bool": ((bool,), "as True or False"),
}


def _check_kind(name: str, value: Any, annotation: Any) -> None:
    kinds, told = KINDS[annotation]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds) or value == "":
        raise InputError(f"Expected {name} of a phase {told}. Received: {value!r}.")


def _check_rate(rate: float | str) -> None:
    if rate == AUTO or (not isinstance(rate, str) and 0 < rate < math.inf):
        return
    told = repr(rate) if isinstance(rate, str) else f"{rate:g}"
    raise InputError(f"Expected learning_rate greater than 0, or 'auto'. Received: {told}.")


def describe(phases: Sequence[Phase]) -> str:
    """Returns phases as a table in plain text, one line a phase.

    Example:
        >>> print(describe([Phase("head", convex_head=True), Phase("body", "input", epochs=10)]))
        Phase  Trains from  Epochs      Rate   Layer decay  Weight decay  Warm-up  Patience  Optimizer  BatchNorm ...
        head   head         convex fit  -      -            -             -        -         -          frozen    ...
        body   input        10          0.001  1            0             0.1      -         adamw      frozen    ...

    Raises:
        InputError: These are no phases.
    """
    if not isinstance(phases, Sequence) or not all(isinstance(phase, Phase) for phase in phases):
        raise InputError(
            f"Expected a tuple of tlkit.Phase, as tlkit.strategies.get_strategy gives it. Received: {phases!r}."
        )
    rows = [COLUMNS, *(_cells(phase) for phase in phases)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


COLUMNS = (
    "Phase",
    "Trains from",
    "Epochs",
    "Rate",
    "Layer decay",
    "Weight decay",
    "Warm-up",
    "Patience",
    "Optimizer",
    "BatchNorm",
    "Kept",
)


def _cells(phase: Phase) -> tuple[str, ...]:
    epochs = " + ".join(
        [*(["convex fit"] if phase.convex_head else []), *([str(phase.epochs)] if phase.epochs else [])]
    )
    numbers = (phase.learning_rate, phase.layer_decay, phase.weight_decay, phase.warmup)
    steps = (*(value if isinstance(value, str) else f"{value:g}" for value in numbers), str(phase.patience or "-"))
    gradient = (*steps, phase.optimizer) if phase.epochs else ("-",) * (len(steps) + 1)
    kept = "if better" if phase.only_if_better else "always"
    return (phase.name, phase.train_from, epochs or "0", *gradient, phase.batch_norm, kept)
