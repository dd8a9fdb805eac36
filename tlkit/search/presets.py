"""The spaces that come with tlkit, and which option matters under which value of another."""

from __future__ import annotations

from typing import Any

from tlkit.backbones.registry import get_backbone
from tlkit.config import OPTIMIZERS, POOLINGS, Config
from tlkit.config_conditions import CONDITIONS
from tlkit.errors import unknown_name

PRESETS = ("head", "quick", "full", "scratch")

# In the order in which they are decided: whatever conditions name comes first.
SEARCHABLE = (
    "backbone",
    "strategy",
    "head",
    "augment",
    "image_size",
    "pooling",
    *sorted({*CONDITIONS} - {"head", "augment"}),
)

PENALTIES = {"low": 1e-5, "high": 10.0, "sampling": "log"}
BODY_RATES = {"low": 1e-4, "high": 1e-2, "sampling": "log"}
STRENGTHS = {"low": 0.5, "high": 1.5}

Entries = dict[str, Any]


def preset_entries(name: str, base: Config) -> Entries:
    """Returns what a preset varies, by option, in the form that a TOML file has.

    Args:
        name: One of `PRESETS`.
        base: The options that are held fixed; sizes are chosen around its own.

    Raises:
        InputError: There is no such preset.
    """
    if name not in PRESETS:
        raise unknown_name("space", name, (*PRESETS, "a TOML file"))
    entries = {"head": _head, "quick": _quick, "full": _full, "scratch": _scratch}[name](base)
    backbone = base.model.backbone
    if not backbone.lower().endswith(".keras") and get_backbone(backbone).from_scratch:
        entries.pop("pooling", None)  # It would stand where the network has layers of its own.
    return {name: entry for name, entry in entries.items() if entry != []}  # A file's own size is not known yet.


def _head(base: Config) -> Entries:
    """The head alone, on features that are computed once: seconds for fifty trials."""
    return {
        "strategy": "frozen",
        "pooling": list(POOLINGS),
        "head": ["logistic", "ridge"],
        "penalty": PENALTIES,
        "balance": [False, True],
    }


def _quick(base: Config) -> Entries:
    """How much of the network trains and how fast, in short trainings."""
    return {
        "strategy": ["frozen", "partial", "full"],
        "pooling": ["avg", "both"],
        "learning_rate": BODY_RATES,
        "layer_decay": [0.5, 0.7, 0.9],
        "augment": ["none", "light", "standard"],
        "label_smoothing": [0.0, 0.1],
    }


def _full(base: Config) -> Entries:
    """Everything that fine-tuning has."""
    return {
        "strategy": ["frozen", "partial", "gradual", "full"],
        "train_from": {"last": 3},
        "image_size": _sizes(base),
        "pooling": list(POOLINGS),
        "head": ["logistic", "ridge"],
        "learning_rate": BODY_RATES,
        "layer_decay": {"low": 0.4, "high": 1.0},
        "weight_decay": {"low": 1e-4, "high": 0.3, "sampling": "log"},
        "optimizer": [name for name in OPTIMIZERS if name != "rmsprop"],
        "batch_size": [16, 32, 64],
        "label_smoothing": {"low": 0.0, "high": 0.2, "step": 0.05},
        "dropout": {"low": 0.0, "high": 0.5, "step": 0.1},
        "augment": ["none", "light", "standard", "strong"],
        "strength": STRENGTHS,
    }


def _scratch(base: Config) -> Entries:
    """From random weights."""
    return {
        "strategy": "scratch",
        "weights": "none",
        "learning_rate": {"low": 1e-4, "high": 1e-2, "sampling": "log"},
        "weight_decay": {"low": 1e-3, "high": 0.3, "sampling": "log"},
        "optimizer": ["adamw", "sgd", "lion"],
        "batch_size": [16, 32, 64],
        "label_smoothing": [0.0, 0.1],
        "dropout": [0.0, 0.2, 0.5],
        "augment": ["none", "light", "standard", "strong"],
        "strength": STRENGTHS,
        "mixup": [0.0, 0.2],
    }


def _sizes(base: Config) -> list[int]:
    """The side of the images, and one three quarters as long where the network takes it."""
    if base.model.backbone.lower().endswith(".keras"):
        return [base.model.image_size] if base.model.image_size else []
    facts = get_backbone(base.model.backbone)
    size = base.model.image_size or facts.default_image_size
    smaller = round(size * 0.75 / 32) * 32
    return [smaller, size] if facts.min_image_size <= smaller < size else [size]
