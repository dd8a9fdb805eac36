"""Going on with a run: what it was asked for, and whether that and its images are still the same."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit import run
from tlkit.config import Config, options
from tlkit.config_files import ConfigError, config_to_toml, load_config, options_of_file
from tlkit.errors import InputError
from tlkit.preflight import canonical, changed

if TYPE_CHECKING:
    from tlkit.data.manifest import Manifest


def record_config(folder: Path, config: Config) -> None:
    """Writes config.toml, from which the run can be made again from any working directory, or gone on with."""
    run.write_text(folder / run.CONFIG, config_to_toml(_repeatable(config)))


def recorded_config(folder: Path, file: Path | None, given: Mapping[str, Any]) -> Config:
    """Reads what a run was asked for.

    Args:
        folder: The run.
        file: A TOML file that was named together with the run, or None.
        given: Options that were given together with the run, by name; None means not given.

    Raises:
        ConfigError: The options given are others than those of the run.
        InputError: There is no run.
    """
    status = run.read_status(run.require_run(folder))
    if status not in (*run.UNFINISHED, "complete") or not (folder / run.CONFIG).is_file():
        raise InputError(
            f"Expected a run that can be resumed. Received: {folder}, which holds no more than the beginning of one. "
            f"Remove it with: tlkit clean {shlex.quote(str(folder))}"
        )
    recorded = load_config(folder / run.CONFIG)
    asked = dict(options_of_file(file) if file is not None else {})
    asked |= {name: value for name, value in given.items() if value is not None}
    output = asked.pop("output", None)
    problems = _differences(folder, recorded, load_config(folder / run.CONFIG, asked))
    if output is not None and Path(output).resolve() != folder.resolve():
        problems.append(_told(folder, "output", str(folder), output))
    if problems:
        raise ConfigError(problems)
    return changed(recorded, "run", output=str(folder))


def _differences(folder: Path, recorded: Config, asked: Config) -> list[str]:
    then, now = (_repeatable(canonical(config)) for config in (recorded, asked))
    problems = []
    for option in options():
        before, after = (getattr(getattr(config, option.section), option.name) for config in (then, now))
        if before != after:
            problems.append(_told(folder, option.name, before, after))
    return problems


def _told(folder: Path, name: str, before: Any, after: Any) -> str:
    return (
        f"Expected {name} as {folder} began: {before if before is not None else 'not given'}. Received: {after}. Leave "
        f"--{name.replace('_', '-')} out to go on with that run, or begin a new one."
    )


def _repeatable(config: Config) -> Config:
    """Returns options with paths that hold in any working directory; the output is chosen anew."""
    config = changed(config, "run", output=None)
    if Path(config.data.data).exists():
        config = changed(config, "data", data=str(Path(config.data.data).resolve()))
    if config.model.backbone.lower().endswith(".keras"):
        config = changed(config, "model", backbone=str(Path(config.model.backbone).resolve()))
    if config.model.weights not in ("imagenet", "none"):
        config = changed(config, "model", weights=str(Path(config.model.weights).resolve()))
    return config


def as_recorded(folder: Path, manifest: Manifest) -> Manifest:
    """Returns the images that a run began with: what came into their folder later is left out."""
    recorded = _recorded(folder, manifest)
    if recorded is None:
        return manifest
    items = manifest.items[manifest.items["item"].isin(recorded.items["item"])].reset_index(drop=True)
    return replace(manifest, items=items, class_names=recorded.class_names)


def require_recorded(folder: Path, manifest: Manifest) -> None:
    """Raises InputError where images, or their division, are not those that a run began with."""
    recorded = _recorded(folder, manifest)
    if recorded is None:
        return
    from tlkit.data.findings import count, name_some

    then, now = ({row[0]: row[1:] for row in table.items.itertuples(index=False)} for table in (recorded, manifest))
    other = [item for item in then if now.get(item) != then[item]]
    if other or len(then) != len(now):
        raise InputError(
            f"Expected the images that {folder} began with. Received: {count(len(other), 'image')} changed or gone: "
            f"{name_some(other)}. Put them back, or begin a new run."
        )


def _recorded(folder: Path, manifest: Manifest) -> Manifest | None:
    path = folder / run.MANIFEST
    return type(manifest).read_csv(path, manifest.source, run.read_labels(folder)) if path.is_file() else None
