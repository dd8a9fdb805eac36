"""What a space file says, entry by entry: read, checked against the options of a run, turned into hyperparameters."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from tlkit.backbones.registry import get_backbone
from tlkit.config import Config, Option, options
from tlkit.config_files import convert
from tlkit.errors import InputError, unknown_name
from tlkit.search.parameters import SAMPLINGS, Parameter
from tlkit.search.presets import PRESETS, SEARCHABLE, Entries, preset_entries

RANGE_KEYS = {"low", "high", "sampling", "step"}
UNSEARCHED = "default"  # Takes an option out of a space.


def read_entries(spec: str, base: Config, problems: list[str]) -> tuple[str, Entries, set[str]]:
    """Reads a preset, or a TOML file over one.

    Args:
        spec: Name of a preset, or path of a file.
        base: Options of a run where the space says nothing.
        problems: What is wrong is added here.

    Returns:
        The name; the entries, by option; and the options that a file names, which nothing may drop unsaid.
    """
    if not spec.lower().endswith(".toml"):
        try:
            return spec, preset_entries(spec, base), set()
        except InputError as error:
            problems.append(str(error))
            return spec, {}, set()
    tables = _read_toml(Path(spec), problems)
    if not problems and not any(tables.values()):
        problems.append(f"{spec}: Expected a preset, or options under [space]. Received: neither.")
    for name in tables:
        if name not in ("preset", "space"):
            problems.append(f"{spec}: {unknown_name('table', name, ('preset', 'space'))}")
    own = tables.get("space", {})
    if not isinstance(own, dict):
        problems.append(f"{spec}: Expected [space] to be a table. Received: {own!r}.")
        return spec, {}, set()
    preset = tables.get("preset", "quick")
    entries: Entries = {}
    if preset not in PRESETS:
        problems.append(f"{spec}: {unknown_name('preset', str(preset), PRESETS)}")
    else:
        single = own["backbone"] if isinstance(own.get("backbone"), str) else None
        entries = preset_entries(preset, _with_backbone(base, single))
    merged = {name: entry for name, entry in (entries | own).items() if entry != UNSEARCHED}
    return spec, merged, {name for name, entry in own.items() if isinstance(entry, list | dict)}


def _with_backbone(base: Config, backbone: str | None) -> Config:
    """Returns the options with another backbone, where it is one: a preset chooses sizes around its own."""
    from dataclasses import replace

    try:
        get_backbone(backbone or "")
    except InputError:
        return base
    return replace(base, model=replace(base.model, backbone=backbone or base.model.backbone))


def _read_toml(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"Expected a readable TOML file. Received: --space {path} ({_reason(error)}).")
    except tomllib.TOMLDecodeError as error:
        problems.append(f"Expected valid TOML in {path}: {error}.")
    return {}


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "not UTF-8 text"


def resolve_entries(entries: Entries, base: Config, problems: list[str]) -> tuple[list[Parameter], dict[str, Any]]:
    """Turns entries into hyperparameters, without conditions yet, and options held fixed.

    Args:
        entries: By option.
        base: Options of a run where the space says nothing.
        problems: What is wrong is added here.
    """
    parameters, fixed = check_entries(entries, problems)
    backbones = _backbones(parameters, fixed, base, problems)
    if isinstance(entries.get("train_from"), dict):
        parameters += _stages(entries["train_from"], backbones, problems)
    else:
        searched = next((one.values for one in parameters if one.name == "train_from"), ())
        _check_stages(searched or (fixed.get("train_from"),), backbones, problems)
    _check_sizes(parameters, fixed, base, backbones, problems)
    return sorted(parameters, key=lambda one: SEARCHABLE.index(one.option)), fixed


def check_entries(entries: Entries, problems: list[str]) -> tuple[list[Parameter], dict[str, Any]]:
    """Looks at each entry by itself, and returns hyperparameters and options held fixed.

    Args:
        entries: By option.
        problems: What is wrong is added here.
    """
    known = {option.name: option for option in options()}
    parameters: list[Parameter] = []
    fixed: dict[str, Any] = {}
    for name, entry in entries.items():
        if name == "weights" and isinstance(entry, list | dict):
            problems.append(f'In the space: Expected weights at one value, such as "none". Received: {entry}.')
        elif name not in (*SEARCHABLE, "weights"):
            problems.append(str(unknown_name("hyperparameter", name, (*SEARCHABLE, "weights"))))
        elif name == "train_from" and isinstance(entry, dict):
            continue  # Its stages depend on the backbones.
        elif isinstance(entry, dict):
            parameters += _range(known[name], entry, problems)
        elif isinstance(entry, list):
            values = _choices(known[name], entry, problems)
            if len(values) == 1:
                fixed[name] = values[0]
            elif values:
                parameters.append(Parameter(name, values))
        else:
            value, problem = convert(known[name], entry)
            if problem:
                problems.append(f"In the space: {problem}")
            else:
                fixed[name] = value
    return parameters, fixed


def _range(option: Option, entry: dict[str, Any], problems: list[str]) -> list[Parameter]:
    told = f"Expected {option.name} as a range with low < high"
    if option.type not in (int, float):
        problems.append(f"In the space: Expected {option.name} as a list of choices. Received: a range.")
        return []
    unknown = sorted(set(entry) - RANGE_KEYS)
    found = [str(unknown_name(f"key of {option.name}", key, sorted(RANGE_KEYS))) for key in unknown]
    sampling, step = entry.get("sampling", "linear"), entry.get("step")
    if sampling not in SAMPLINGS:
        found.append(str(unknown_name(f"sampling of {option.name}", str(sampling), SAMPLINGS)))
    smallest, kinds = (1, int | float) if sampling == "log" else (0, int if option.type is int else int | float)
    if step is not None and (isinstance(step, bool) or not isinstance(step, kinds) or step <= smallest):
        whole = "whole " if kinds is int else ""
        found.append(f"{told} and a {whole}step above {smallest}. Received: step = {step!r}.")
    bounds = {key: _bound(option, entry[key], key, found) for key in ("low", "high") if key in entry}
    low, high = bounds.get("low"), bounds.get("high")
    if len(bounds) < 2 and not unknown:  # A key unknown is the one that is missing.
        missing = " and ".join(key for key in ("low", "high") if key not in bounds)
        found.append(f"{told}. Received: no {missing}.")
    if low is not None and high is not None:
        if not low < high:
            found.append(f"{told}. Received: {low} to {high}.")
        elif sampling == "log" and low <= 0:
            found.append(f"{told} above 0 for sampling log. Received: {low} to {high}.")
    problems += [f"In the space: {problem}" for problem in found]
    return [] if found else [Parameter(option.name, (), low, high, sampling, step)]


def _bound(option: Option, value: Any, key: str, found: list[str]) -> Any:
    """Returns one end of a range, or None where that is no number; why is added to `found`."""
    converted, problem = convert(option, value)
    if problem is None and isinstance(converted, str):  # A word that the option takes beside numbers.
        problem = f"Expected {key} of {option.name} to be a number. Received: {value!r}."
    found += [problem] if problem else []
    return None if problem else converted


def _choices(option: Option, entry: list[Any], problems: list[str]) -> tuple[Any, ...]:
    converted = [convert(option, value) for value in entry]
    wrong = [problem for _, problem in converted if problem]
    problems += [f"In the space: {problem}" for problem in wrong]
    if not entry:
        problems.append(f"In the space: Expected at least one choice for {option.name}. Received: an empty list.")
    kinds = {type(value) for value, _ in converted}
    if not wrong and len(kinds) > 1:
        problems.append(f"In the space: Expected choices of one kind for {option.name}. Received: {entry}.")
    return tuple(dict.fromkeys(value for value, _ in converted)) if not wrong else ()


def _backbones(
    parameters: list[Parameter], fixed: dict[str, Any], base: Config, problems: list[str]
) -> tuple[str, ...]:
    """Returns the backbones there are, by their registered names; files keep theirs."""
    found = next((one.values for one in parameters if one.name == "backbone"), None)
    names = found or (fixed.get("backbone", base.model.backbone),)
    known = []
    for name in names:
        try:
            known.append(name if name.lower().endswith(".keras") else get_backbone(name).name)
        except InputError as error:
            named = found or "backbone" in fixed
            problems.append(f"In the space: {error}" if named else str(error))
    return tuple(known)


def _stage_names(backbone: str) -> list[str]:
    return [] if backbone.lower().endswith(".keras") else [stage.name for stage in get_backbone(backbone).stages]


def _stages(entry: dict[str, Any], backbones: tuple[str, ...], problems: list[str]) -> list[Parameter]:
    """The last stages of each backbone: a parameter of its own for each, since names differ."""
    count = entry.get("last")
    if set(entry) != {"last"} or not isinstance(count, int) or count < 1:
        problems.append(
            f"In the space: Expected train_from as a list of stages, or as {{ last = 3 }}. Received: {entry}."
        )
        return []
    stages = {name: tuple(_stage_names(name)[1:][-count:]) for name in backbones}
    several = {name: values for name, values in stages.items() if len(values) > 1}
    if len(backbones) == 1:
        return [Parameter("train_from", values) for values in several.values()]
    return [Parameter(f"train_from@{name}", values, when=(("backbone", (name,)),)) for name, values in several.items()]


def _check_stages(stages: tuple[str | None, ...], backbones: tuple[str, ...], problems: list[str]) -> None:
    for backbone in backbones:
        known = _stage_names(backbone)
        problems += [
            f"In the space: {unknown_name(f'stage of {backbone}', stage, known)}"
            for stage in stages
            if stage is not None and known and stage not in known
        ]


def _check_sizes(
    parameters: list[Parameter],
    fixed: dict[str, Any],
    base: Config,
    backbones: tuple[str, ...],
    problems: list[str],
) -> None:
    sizes = next((one.grid() for one in parameters if one.name == "image_size"), None)
    sizes = sizes or ((fixed.get("image_size", base.model.image_size)),)
    for backbone in backbones:
        if backbone.lower().endswith(".keras"):
            continue
        smallest = get_backbone(backbone).min_image_size
        if small := [size for size in sizes if size is not None and size < smallest]:
            problems.append(
                f"Expected image_size to be at least {smallest} for {backbone}. Received: {min(small)} beside it."
            )
