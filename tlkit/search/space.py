"""A space of hyperparameters: options of a run, each with choices or a range, some only where others have a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tlkit.config import Config, options
from tlkit.config_files import ConfigError
from tlkit.search.conditions import apply_conditions
from tlkit.search.entries import check_entries, read_entries, resolve_entries
from tlkit.search.parameters import Parameter
from tlkit.search.presets import PRESETS


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        name: Of the preset or the file.
        parameters: In the order in which they are decided.
        fixed: Options that the space holds at a value.
    """

    name: str
    parameters: tuple[Parameter, ...]
    fixed: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields, JSON-able."""
        return {"name": self.name, "fixed": self.fixed, "parameters": [asdict(one) for one in self.parameters]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Space:
        """Makes a space of what `to_dict` gave, also after a journey through JSON."""
        parameters = []
        for one in values["parameters"]:
            when = tuple((name, tuple(allowed)) for name, allowed in one["when"])
            parameters.append(Parameter(**one | {"values": tuple(one["values"]), "when": when}))
        return cls(values["name"], tuple(parameters), dict(values["fixed"]))

    def differences(self, other: Space) -> list[str]:
        """Returns in a line each what the other space has otherwise."""
        mine, theirs = (space._told() for space in (self, other))
        lines = []
        for name in sorted({*mine, *theirs}):
            sides = [side.get(name, ("not searched", "")) for side in (mine, theirs)]
            if sides[0] != sides[1]:
                told = [values + where if sides[0][0] == sides[1][0] else values for values, where in sides]
                lines.append(f"{name}: {told[0]}; now {told[1]}")
        return lines

    def _told(self) -> dict[str, tuple[str, str]]:
        """Returns by name the values of what is searched or held, and where it matters."""
        told = {name: (f"held at {value}", "") for name, value in self.fixed.items()}
        return told | {
            one.name: (one.describe(), f" where {_conditions(one)}" if one.when else " everywhere")
            for one in self.parameters
        }


def read_space(
    spec: str, base: Config | None = None, *, given: Mapping[str, Any] | None = None, algorithm: str = "random"
) -> Space:
    """Makes a space of a preset, or of a TOML file that narrows or widens one.

    The file names a preset and, under `[space]`, what it has otherwise. A list gives choices, a table a range
    (`low`, `high`, and where wanted `sampling = "log"` and `step`), a single value holds an option fixed, `"default"`
    takes it out of the space, and `train_from = { last = 3 }` means the last three stages of each backbone:

        preset = "quick"
        [space]
        backbone = ["efficientnet_lite0", "mobilenetv2"]
        learning_rate = { low = 1e-5, high = 1e-3, sampling = "log" }
        augment = "none"

    Args:
        spec: Name of a preset, or path of a file.
        base: Options of a run where the space says nothing.
        given: Options that the user gave beside the space: they are held fixed.
        algorithm: What will go through the space; hyperband cannot go through every one.

    Returns:
        The space, every name and value of it checked.

    Raises:
        ConfigError: With every problem found.
    """
    base = base or Config()
    problems: list[str] = []
    named, entries, own = read_entries(spec, base, problems)
    held = {name: value for name, value in (given or {}).items() if value is not None}
    asked = held.get("strategy")
    own_strategy = entries.get("strategy")
    if spec in PRESETS and asked is not None and isinstance(own_strategy, str) and own_strategy != asked:
        problems.append(
            f"Expected strategy {own_strategy} with --space {spec}. Received: --strategy {asked}. Leave it out, "
            "or name another space."
        )
    check_entries({name: entry for name, entry in entries.items() if name in held}, problems)
    entries = {name: entry for name, entry in entries.items() if name not in held}
    parameters, fixed = resolve_entries(entries, base, problems)
    values = {option.name: getattr(getattr(base, option.section), option.name) for option in options()}
    parameters = apply_conditions(parameters, values | fixed | held, own, problems)
    problems += _problems_with(algorithm, parameters, values | fixed | held)
    if not problems and not parameters:
        problems.append(
            f"Expected a space in which something varies. Received: {spec}, of which every option is held fixed."
        )
    if problems:
        raise ConfigError(problems)
    return Space(named, tuple(parameters), fixed)


def _problems_with(algorithm: str, parameters: list[Parameter], values: Mapping[str, Any]) -> list[str]:
    if algorithm != "hyperband":
        return []
    strategies = next((one.values for one in parameters if one.name == "strategy"), (values["strategy"],))
    problems = []
    if several := [name for name in strategies if name in ("auto", "gradual")]:
        problems.append(
            "Expected strategies of one gradient phase (partial, full, scratch) for hyperband, which stops trials "
            f"half-way. Received: {', '.join(several)}. Name others in the space, or use another --algorithm."
        )
    if set(strategies) == {"frozen"}:
        problems.append(
            "Expected a strategy with epochs for hyperband. Received: frozen alone. Use another --algorithm."
        )
    if any(one.option == "epochs" for one in parameters):
        problems.append("Expected no epochs in the space of hyperband, which chooses them. Use --max-epochs.")
    return problems


def describe_space(space: Space) -> list[tuple[str, str, str]]:
    """Returns a row for each hyperparameter: its name, its values, and where it matters."""
    return [(one.name, one.describe(), _conditions(one)) for one in space.parameters]


def _conditions(parameter: Parameter) -> str:
    return " and ".join(f"{name} is {' or '.join(map(str, allowed))}" for name, allowed in parameter.when)
