"""The options of a run, each defined once; the command line and the TOML files derive from them."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field, fields
from types import UnionType
from typing import Any

from tlkit.durations import parse_duration
from tlkit.rules import Rule, option

AUTO = "auto"  # Stands for "choose by measuring" wherever an option takes it.
AUTO_SECONDS = 600.0  # Time budget of the command's strategy auto, which is to find out and not to exhaust.
STRATEGIES = (AUTO, "frozen", "partial", "gradual", "full", "scratch")
OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop", "lion")
PRECISIONS = ("float32", "bfloat16", "float16", AUTO)
SWITCHES = ("on", "off", AUTO)
GEOMETRIES = ("crop", "pad", "squash")
DEFAULT_VIEWS = 8
AUGMENTATIONS = ("none", "light", "standard", "strong", "auto")
POOLINGS = ("avg", "max", "both")
PREPROCESSING = ("inside", "tf", "torch", "caffe", "lite", "unit")
ENGINES = ("auto", "keras", "openvino", "openvino-bfloat16")
HEADS = ("logistic", "ridge")
STORAGES = ("float32", "float16", "bfloat16")
SWITCH = ("on", "off")
ALGORITHMS = ("random", "bayesian", "hyperband", "grid")
OBJECTIVES = ("accuracy", "balanced_accuracy", "log_loss", "ece")
MAX_PIXELS = 89_478_485  # Larger images are refused unread: Pillow's own line for decompression bombs, 256 MiB of RGB.
DEFAULT_STORE_SCALE = 1.15


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from and how they are divided."""

    data: str = option("", "Folder with one subfolder a class, or a built-in set such as builtin:digits.")
    validation: float = option(0.15, "Share of the images kept for choosing (validation).", above=0, below=1)
    test: float = option(0.15, "Share of the images kept for the final estimate (test).", minimum=0, below=1)
    split_seed: int | None = option(
        None, "Seed of the split alone [default: that of everything].", minimum=0, below=2**31
    )
    geometry: str = option("crop", "How a picture becomes square: crop, pad or squash.", choices=GEOMETRIES)
    max_pixels: int = option(MAX_PIXELS, "Set aside images of more pixels than this (Pillow's limit).", minimum=1)
    store_scale: float = option(
        DEFAULT_STORE_SCALE, "Side of the stored images over image_size: room for crops.", minimum=1, below=4
    )


@dataclass(frozen=True)
class ModelConfig:
    """Which network, which weights, which input size."""

    backbone: str = option(
        "efficientnet_lite0",
        "Network to start from, or to train from scratch (scratch:lenet5): `tlkit backbones`; or a .keras file.",
    )
    weights: str = option("imagenet", "imagenet, none, or a file (.weights.h5, .h5, .keras).")
    image_size: int | None = option(
        None, "Side of the square input in pixels [default: the backbone's own].", minimum=1
    )
    preprocessing: str | None = option(
        None,
        "What a .keras file wants done to raw pixels: inside, tf, torch, caffe, lite or unit.",
        choices=PREPROCESSING,
    )
    pooling: str | None = option(
        None,
        "Pooling over the last feature map: avg, max or both [default: the network's own, or avg].",
        choices=POOLINGS,
    )
    dropout: float = option(0.0, "Share of the pooled features dropped in gradient training.", minimum=0, below=1)


@dataclass(frozen=True)
class TrainingConfig:
    """How the network is trained."""

    strategy: str = option(
        AUTO, "How much of the network trains: auto, frozen, partial, gradual, full or scratch.", choices=STRATEGIES
    )
    train_from: str | None = option(
        None, "First stage that auto, partial and gradual train [default: the last resolution]."
    )
    penalty: float | None = option(None, "L2 penalty of the convex head [default: chosen by measuring].", above=0)
    epochs: int | None = option(None, "Epochs at most of each phase [default: the strategy's own].", minimum=0)
    time_budget: str | None = option(
        None, "Time for training, such as 90s or 10m [default: 10m for auto, else none].", check=parse_duration
    )
    batch_size: int | str = option(32, "Images in a step, or auto: as many as memory allows.", minimum=1, words=(AUTO,))
    accumulate: int = option(1, "Steps whose gradients make one update.", minimum=1)
    learning_rate: float | str | None = option(
        None, "Peak learning rate, or auto: a range test [default: the strategy's own].", above=0, words=(AUTO,)
    )
    optimizer: str | None = option(None, f"One of {', '.join(OPTIMIZERS)} [default: adamw].", choices=OPTIMIZERS)
    layer_decay: float | None = option(
        None, "Rate of a stage over that of the next [default: the strategy's own].", above=0, maximum=1
    )
    weight_decay: float | None = option(None, "Decay of kernels [default: the strategy's own].", minimum=0)
    clip_norm: float = option(1.0, "Largest norm of all gradients together.", above=0)
    head: str = option(
        "logistic",
        "How the head is first fitted: logistic (regression, penalty by validation), or ridge (in closed form, penalty "
        "by leave-one-out).",
        choices=HEADS,
    )
    label_smoothing: float = option(0.0, "Share of the truth spread over all classes.", minimum=0, below=1)
    balance: bool = option(False, "Give every class the same weight, however few its images.")
    ema: float | None = option(None, "Momentum of averaged weights, such as 0.99 [default: none].", above=0, below=1)
    stochastic_depth: float = option(
        0.0, "Share of the training steps that skip the last residual block.", minimum=0, below=1
    )
    auxiliary: float = option(
        0.3, "Weight of each auxiliary loss, where a network has such: scratch:googlenet.", minimum=0
    )
    l2_sp: float = option(0.0, "Strength of the pull to the weights that training starts from.", minimum=0)
    precision: str = option("float32", "Of training: float32, bfloat16, float16 or auto.", choices=PRECISIONS)
    jit: str = option(AUTO, "XLA compilation: on, off, or auto: what is faster.", choices=SWITCHES)
    record_gradients: bool = option(False, "Record once an epoch how gradients flow; drawn in the report.")
    deterministic: bool = option(False, "Same bits in every run on this machine; slower on a GPU.")
    seed: int = option(0, "Seed of the split, the shuffling and the initial weights.", minimum=0, below=2**31)


@dataclass(frozen=True)
class AugmentationConfig:
    """How training pictures are varied."""

    augment: str = option(
        "none", "How training pictures are varied: none, light, standard, strong or auto.", choices=AUGMENTATIONS
    )
    strength: float = option(1.0, "Factor of how far the layers of a preset go, 0 to 2.", minimum=0, maximum=2)
    flip: bool | None = option(None, "Whether mirror images keep their class [default: auto tries it, others flip].")
    views: int = option(
        DEFAULT_VIEWS, "Views of each picture, where a part is frozen, 1 to 100.", minimum=1, maximum=100
    )
    mixup: float | None = option(
        None, "Alpha of MixUp up to 10, 0 for none [default: the preset's].", minimum=0, maximum=10
    )
    cutmix: float | None = option(
        None, "Alpha of CutMix up to 10, 0 for none [default: the preset's].", minimum=0, maximum=10
    )


@dataclass(frozen=True)
class ExtractionConfig:
    """How the outputs of a frozen part are computed and kept."""

    cache: str = option(
        "on", "on: frozen parts are computed once and kept for later runs; off: anew at every step.", choices=SWITCH
    )
    engine: str = option(
        "auto",
        "What computes frozen parts: keras, openvino, openvino-bfloat16, or the faster harmless one: auto.",
        choices=ENGINES,
    )
    storage: str = option(
        "float32",
        "How their outputs are kept: float32 (exact), or float16 or bfloat16 in half the space.",
        choices=STORAGES,
    )


@dataclass(frozen=True)
class EvaluationConfig:
    """How the model is judged."""

    sensitivity: float | None = option(
        None, "For two classes: wanted share of the second that is found; sets the threshold.", above=0, maximum=1
    )


@dataclass(frozen=True)
class RunConfig:
    """Where the results go."""

    tensorboard: bool = option(False, "Also write TensorBoard logs, into the run folder.")
    save_every_steps: int | None = option(
        None, "Save the state of training after so many steps too [default: after epochs only].", minimum=1
    )
    save_every_minutes: float | None = option(
        None, "Save the state of training after so many minutes too [default: after epochs only].", above=0
    )
    output: str | None = option(None, "Run folder [default: runs/DATE-TIME-BACKBONE-STRATEGY].")


@dataclass(frozen=True)
class Config:
    """Everything that decides a run. Each section is a table of the TOML file."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    extraction: ExtractionConfig = field(default_factory=ExtractionConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True)
class SearchConfig:
    """How hyperparameters are searched; what is held fixed meanwhile are the options of a run."""

    space: str = option("quick", "head, quick, full, scratch, or a TOML file that narrows or widens one of them.")
    algorithm: str = option("random", f"What proposes trials: {', '.join(ALGORITHMS)}.", choices=ALGORITHMS)
    trials: int = option(30, "Trials at most, the default recipe among them.", minimum=1)
    time_budget: str | None = option(None, "Time for all trials, such as 1h [default: none].", check=parse_duration)
    objective: str = option(
        "accuracy", f"What is made better on validation: {', '.join(OBJECTIVES)}.", choices=OBJECTIVES
    )
    max_epochs: int = option(27, "Epochs of the highest rung of hyperband.", minimum=3)
    workers: int = option(1, "Processes on this machine that run trials.", minimum=1)
    keep: int = option(3, "Trials whose models are kept, the best.", minimum=1)
    repeats: int = option(2, "New seeds under which the winner and the default are run again.", minimum=0)
    resume: bool = option(False, "Go on with the search in the output folder.")
    output: str | None = option(None, "Folder of the search [default: runs/DATE-TIME-search-SPACE].")


@dataclass(frozen=True)
class Option:
    """One option as the command line and the TOML reader see it."""

    section: str
    name: str
    type: type
    default: Any
    rule: Rule

    @property
    def flag(self) -> str:
        """The option's spelling on the command line."""
        return "--" + self.name.replace("_", "-")


def options() -> tuple[Option, ...]:
    """Returns every option of a run in the order in which they are told to people."""
    sections = typing.get_type_hints(Config)
    return tuple(found for section in fields(Config) for found in section_options(section.name, sections[section.name]))


def section_options(name: str, section: type) -> tuple[Option, ...]:
    """Returns the options of one section, such as `section_options("search", SearchConfig)`."""
    hints = typing.get_type_hints(section)
    return tuple(
        Option(name, item.name, _plain_type(hints[item.name]), item.default, item.metadata["rule"])
        for item in fields(section)
    )


def _plain_type(hint: Any) -> type:
    """Returns `int` for `int`, `int | None` and `int | str`, where words stand in for the number."""
    if isinstance(hint, UnionType):
        return next(kind for kind in typing.get_args(hint) if kind is not type(None))
    return hint
