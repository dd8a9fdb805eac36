"""A trial as a recipe: the configuration of a run that values of hyperparameters stand for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tlkit.config import Config, options
from tlkit.config_files import ConfigError, config_to_toml, convert
from tlkit.errors import unknown_name
from tlkit.phases import Phase
from tlkit.search.space import Space

TUNER = "tuner/"  # What KerasTuner's Hyperband keeps among the values.


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """Returns a configuration with some options changed.

    Args:
        config: The options that stay.
        values: By name of the option, or of the hyperparameter that sets it.

    Raises:
        ConfigError: There is no such option, or a value is not one that it takes.
    """
    known = {option.name: option for option in options()}
    problems = []
    for name, value in values.items():
        option = known.get(name.partition("@")[0])
        if option is None:
            problems.append(str(unknown_name("option of a run", name, sorted(known))))
            continue
        converted, problem = convert(option, value)
        if problem:
            problems.append(problem)
        else:
            section = replace(getattr(config, option.section), **{option.name: converted})
            config = replace(config, **{option.section: section})
    if problems:
        raise ConfigError(problems)
    return config


def default_recipe(base: Config, space: Space) -> Config:
    """Returns what `tlkit finetune` would do under the same fixed options: the recipe that a search is to beat."""
    return with_values(base, space.fixed)


def recipe_of_trial(base: Config, space: Space, values: Mapping[str, Any]) -> Config:
    """Returns the configuration that a trial runs.

    Args:
        base: The options that no trial changes.
        space: What is searched.
        values: Of the hyperparameters that matter in this trial.
    """
    own = {name: value for name, value in values.items() if not name.startswith(TUNER)}
    active = {one.name for one in space.parameters if all(own.get(name) in allowed for name, allowed in one.when)}
    return with_values(default_recipe(base, space), {name: value for name, value in own.items() if name in active})


def identity(config: Config, epochs: int | None = None) -> str:
    """Names a recipe: the same for the same training, whatever its output folder, and however its optimizer is told.

    Args:
        config: The recipe.
        epochs: After which a trial of hyperband stops, or None.
    """
    optimizer = config.training.optimizer or Phase.optimizer  # That of every strategy.
    plain = replace(config, run=type(config.run)(), training=replace(config.training, optimizer=optimizer))
    return hashlib.blake2b(f"{config_to_toml(plain)}{epochs}".encode(), digest_size=12).hexdigest()


def needs_head_alone(config: Config) -> bool:
    """Tells whether a recipe only fits the convex head to features of plain pictures, for which no network runs."""
    asked = config.augmentation
    varied = asked.augment != "none" or bool(asked.mixup) or bool(asked.cutmix)
    return config.training.strategy == "frozen" and not config.training.epochs and not varied


def features_recipe(config: Config) -> Config:
    """Returns the recipe of which only is left what decides the features of its pictures, pooled both ways."""
    bare = Config()
    return replace(
        bare,
        data=config.data,
        model=replace(config.model, pooling="both", dropout=0.0),
        extraction=config.extraction,
        training=replace(bare.training, seed=config.training.seed, strategy="frozen"),
    )


def changed_options(config: Config, default: Config) -> dict[str, Any]:
    """Returns the options in which a recipe differs from another, by name."""
    return {
        option.name: value
        for option in options()
        if option.section != "run"
        and (value := getattr(getattr(config, option.section), option.name))
        != getattr(getattr(default, option.section), option.name)
    }
