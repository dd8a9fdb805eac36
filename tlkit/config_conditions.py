"""Which option matters under which value of another, and which of a run's options therefore do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlkit.config import AUTO, Config, options

CONVEX = (AUTO, "frozen", "partial", "gradual", "full")  # Strategies that begin with the convex head.
GRADIENT = (AUTO, "partial", "gradual", "full", "scratch")  # Strategies that train by gradients.
TUNED = (AUTO, "partial", "gradual", "full")  # Those of them that start from weights worth keeping.
VARIED = ("light", "standard", "strong", AUTO)

# An option does nothing, and is then no part of a trial, unless the option named has one of the values.
CONDITIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "head": ("strategy", CONVEX),
    "penalty": ("strategy", CONVEX),
    "balance": ("head", ("logistic",)),
    "train_from": ("strategy", (AUTO, "partial", "gradual")),
    "layer_decay": ("strategy", TUNED),
    "l2_sp": ("strategy", TUNED),
    "stochastic_depth": ("strategy", ("full", "scratch")),
    "strength": ("augment", VARIED),
    "flip": ("augment", VARIED),
} | dict.fromkeys(
    (
        "accumulate",
        "augment",
        "batch_size",
        "clip_norm",
        "cutmix",
        "dropout",
        "ema",
        "epochs",
        "label_smoothing",
        "learning_rate",
        "mixup",
        "optimizer",
        "weight_decay",
    ),
    ("strategy", GRADIENT),
)


NEVER_IDLE = ("augment", "mixup", "cutmix", "epochs", "batch_size")  # The head alone has a use for these, too.


def idle_options(config: Config) -> list[str]:
    """Returns a line for each option that has another value than its default and does nothing in this run."""
    values = {one.name: getattr(getattr(config, one.section), one.name) for one in options()}
    lines = []
    for option in options():
        value, flag = values[option.name], option.name.replace("_", "-")
        reason = _why_idle(option.name, values)
        if value != option.default and reason is not None:
            told = f"--{flag} {value}" if not isinstance(value, bool) else f"--{'' if value else 'no-'}{flag}"
            lines.append(f"{told} does nothing {reason}.")
    return lines


def doubtful_choices(config: Config) -> list[str]:
    """Returns a line for each choice that works and is hardly meant."""
    strategy = config.training.strategy
    if config.model.weights != "none" or strategy == "scratch":
        return []
    frozen = "keeps" if strategy == "frozen" else "begins with"
    return [f"--strategy {strategy} {frozen} the random weights as they are. To train from those: --strategy scratch."]


def _why_idle(name: str, values: Mapping[str, Any]) -> str | None:
    if name == "views":
        varied = values["augment"] != "none" or values["mixup"] or values["cutmix"]
        return None if varied and values["strategy"] != "scratch" else "where nothing is augmented or nothing frozen"
    if name not in CONDITIONS or name in NEVER_IDLE:
        return None
    if name == "balance" and values["strategy"] not in CONVEX:
        return None  # It weights the loss, whatever the head.
    parent, allowed = CONDITIONS[name]
    if values[parent] not in allowed and not (values["strategy"] == "frozen" and values["epochs"]):
        return f"with --{parent} {values[parent]}"
    return _why_idle(parent, values)
