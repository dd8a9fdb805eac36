"""What a run was asked for, checked before anything slow starts; what depends on it filled in."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit import run
from tlkit.backbones.registry import Backbone, get_backbone
from tlkit.config import AUTO, DEFAULT_STORE_SCALE, Config
from tlkit.config_files import ConfigError
from tlkit.errors import InputError
from tlkit.phases import no_epochs, require_stage

if TYPE_CHECKING:
    from tlkit.data.manifest import Manifest

SMALL_PICTURES = 32  # Networks for these take them as they are, not enlarged to be cropped.

# Checks of options that need more than config.py knows, so that all mistakes of a configuration are told at once.
CHECKS = {"backbone": lambda name: name.lower().endswith(".keras") or get_backbone(name)}


def preflight(config: Config, *, new: bool = True) -> tuple[Config, Manifest]:
    """Checks names, files and the output folder, lists the images, and fills in what depends on them.

    Args:
        config: Options of the run.
        new: Whether the output folder is to be a new one.

    Returns:
        The configuration with the backbone's registered name, an image size and an output folder; and the images.

    Raises:
        ConfigError: With every problem found.
    """
    from tlkit import data

    problems: list[str] = []
    manifest: Manifest | None = None
    for check in (_check_backbone, _check_weights, _check_epochs, *([_check_output] if new else [])):
        try:
            config = check(config)
        except InputError as error:
            problems.append(str(error))
    try:
        manifest = data.from_spec(config.data.data)
        _check_sensitivity(config, manifest)
    except InputError as error:
        problems.append(str(error))
    if problems or manifest is None:
        raise ConfigError(problems)
    return config, manifest


def canonical(config: Config) -> Config:
    """Returns the configuration with the backbone's registered name, the same for all its spellings."""
    return _check_backbone(config)


def _check_backbone(config: Config) -> Config:
    if config.model.backbone.lower().endswith(".keras"):  # A saved model: looked at when it is loaded.
        return config
    facts = get_backbone(config.model.backbone)
    size = config.model.image_size or facts.default_image_size
    if size < facts.min_image_size:
        raise InputError(
            f"Expected image_size to be at least {facts.min_image_size} for {facts.name}. Received: {size}."
        )
    if config.training.train_from is not None and facts.stages:
        require_stage(config.training.train_from, [stage.name for stage in facts.stages])
    config = changed(config, "model", backbone=facts.name, image_size=size)
    return _from_scratch(config, facts) if facts.from_scratch else config


def _from_scratch(config: Config, facts: Backbone) -> Config:
    """Fills in what holds for networks that have no trained weights."""
    if config.model.weights == "imagenet":
        config = changed(config, "model", weights="none")
    if config.training.strategy == AUTO and config.model.weights == "none":
        config = changed(config, "training", strategy="scratch")
    if config.data.store_scale == DEFAULT_STORE_SCALE and facts.default_image_size <= SMALL_PICTURES:
        config = changed(config, "data", store_scale=1.0)
    return config


def _check_sensitivity(config: Config, manifest: Manifest) -> None:
    if config.evaluation.sensitivity is not None and manifest.num_classes != 2:
        raise InputError(
            "Expected two classes, of which the second is to be found with the wanted sensitivity. "
            f"Received: {manifest.num_classes} classes. Leave --sensitivity out."
        )


def _check_weights(config: Config) -> Config:
    weights = config.model.weights
    own = config.model.backbone.lower().endswith(".keras")
    if config.training.strategy == "scratch" and weights == "imagenet" and not own:
        raise InputError(
            "Expected --weights none with strategy scratch, which trains from random weights. Received: imagenet. To "
            "train everything from those, there is strategy full."
        )
    if weights in ("imagenet", "none"):
        return config
    if not Path(weights).is_file():
        raise InputError(
            f"Expected weights to be imagenet, none or a file. Received: {weights!r}, which is not a file that exists."
        )
    return changed(config, "model", weights=str(Path(weights).resolve()))


def _check_epochs(config: Config) -> Config:
    if config.training.epochs == 0 and config.training.strategy != "frozen":
        raise no_epochs(config.training.strategy)
    return config


def _check_output(config: Config) -> Config:
    output = config.run.output or str(run.default_folder(config.model.backbone, config.training.strategy))
    run.require_free(Path(output))
    return changed(config, "run", output=output)


def changed(config: Config, section: str, **values: Any) -> Config:
    """Returns the configuration with some options of one section replaced."""
    return dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **values)})
