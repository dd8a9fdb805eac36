"""From TOML files and the command line to a checked configuration, and back; every mistake is told at once."""

from __future__ import annotations

import dataclasses
import numbers
import tomllib
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tlkit.config import Config, Option, options, section_options
from tlkit.errors import InputError, unknown_name
from tlkit.rules import told_by


class ConfigError(InputError):
    """One or more options cannot be used; `problems` holds one line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_config(
    file: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    checks: Mapping[str, Callable[[Any], object]] | None = None,
) -> Config:
    """Reads a run's options from a TOML file and from the command line, which wins.

    Args:
        file: A TOML file with the tables of `Config`, or None.
        overrides: Values by option name, as text or already typed; None means not given.
        checks: Further checks by option name, called with the value where there are problems already, so that theirs
            are told with them; each raises InputError where the value is wrong.

    Returns:
        The validated configuration.

    Raises:
        ConfigError: With every problem found, not only the first.
    """
    problems: list[str] = []
    values = _read_toml(Path(file), problems) if file is not None else {}
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    known = {option.name: option for option in options()}
    typed: dict[str, dict[str, Any]] = {option.section: {} for option in known.values()}
    for name, value in (values | given).items():
        converted, problem = convert(known[name], value)
        if problem:
            problems.append(problem)
        elif converted is not None:
            typed[known[name].section][name] = converted
    if problems:  # Without any, what uses the values checks them.
        for name, check in (checks or {}).items():
            problems += told_by(check, typed[known[name].section].get(name, known[name].default))
    config = config_from_dict(typed) if not problems else Config()
    problems += _joint_problems(config) if not problems else []
    if problems:
        raise ConfigError(problems)
    return config


def options_of_file(file: Path) -> dict[str, Any]:
    """Returns the values that a TOML file gives, by option name.

    Raises:
        ConfigError: It cannot be read, or names what does not exist.
    """
    problems: list[str] = []
    values = _read_toml(file, problems)
    if problems:
        raise ConfigError(problems)
    return values


Section = typing.TypeVar("Section")


def section_from(section: type[Section], given: Mapping[str, Any]) -> Section:
    """Makes one section of values by option name, checked as those of a run are; None means not given.

    The section may be one that is none of a run, such as `SearchConfig`.

    Raises:
        ConfigError: With every problem found.
    """
    known = {option.name: option for option in section_options("", section)}
    found = {name: convert(known[name], value) for name, value in given.items() if value is not None}
    problems = [problem for _, problem in found.values() if problem]
    if problems:
        raise ConfigError(problems)
    return section(**{name: value for name, (value, _) in found.items()})


def config_from_dict(tables: Mapping[str, Mapping[str, Any]]) -> Config:
    """Makes a configuration of tables of typed values; options not named keep their defaults."""
    sections = typing.get_type_hints(Config)
    return Config(**{name: sections[name](**tables.get(name, {})) for name in sections})


def config_to_toml(config: Config) -> str:
    """Returns the configuration as TOML; options that are None are left out."""
    import tomli_w

    tables = dataclasses.asdict(config)
    return tomli_w.dumps({name: {k: v for k, v in table.items() if v is not None} for name, table in tables.items()})


def _read_toml(path: Path, problems: list[str]) -> dict[str, Any]:
    """Returns the values by option name; what is wrong with the file goes to `problems`."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"Expected a readable TOML file. Received: --config {path} ({_reason(error)}).")
        return {}
    except tomllib.TOMLDecodeError as error:
        problems.append(f"Expected valid TOML in {path}: {error}.")
        return {}
    sections = {option.section for option in options()}
    values: dict[str, Any] = {}
    for section, table in tables.items():
        option = next((option for option in options() if option.name == section.replace("-", "_")), None)
        if option is not None and not isinstance(table, dict):
            problems.append(
                f"{path}: Expected {option.name} under [{option.section}]. Received: it stands above all tables."
            )
            continue
        if section not in sections or not isinstance(table, dict):
            problems.append(f"{path}: {unknown_name('table', section, sorted(sections))}")
            continue
        names = [option.name for option in options() if option.section == section]
        problems += [f"{path}: {unknown_name(f'option in [{section}]', n, names)}" for n in table if n not in names]
        values |= {name: value for name, value in table.items() if name in names}
    return values


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "not UTF-8 text"


def convert(option: Option, value: Any) -> tuple[Any, str | None]:
    """Returns the typed value of an option and None, or what is wrong with it in the second place."""
    if option.rule.words and value in option.rule.words:
        return value, None
    if isinstance(value, str) and option.type is bool:
        value = {"true": True, "false": False}.get(value.lower(), value)
    elif isinstance(value, str) and option.type is not str:
        try:
            value = option.type(value)
        except ValueError:
            return None, wrong_type(option, value)
    if option.type in (int, float) and isinstance(value, numbers.Real) and not isinstance(value, bool):
        if option.type is float:  # Also of numpy, whose numbers KerasTuner proposes.
            value = float(value)
        elif isinstance(value, numbers.Integral):
            value = int(value)
    if type(value) is not option.type:
        return None, wrong_type(option, value)
    if isinstance(value, str) and not value.strip():
        return None, f"Expected {option.name} not to be empty. Received: {value!r}."
    return value, option.rule.problem(option.name, value)


def wrong_type(option: Option, value: Any) -> str:
    """Returns what to say of a value of another type than the option's."""
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    expected = " or ".join([words[option.type], *option.rule.words])
    return f"Expected {option.name} to be {expected}. Received: {value!r}."


def _joint_problems(config: Config) -> list[str]:
    """Returns what is wrong with options taken together."""
    problems = []
    if not config.data.data:
        problems.append("Expected a data source. Received none. Name a folder of images: --data ./images")
    held_back = config.data.validation + config.data.test
    if held_back >= 1:
        problems.append(
            f"Expected validation + test to leave images for training. Received: {held_back:g} of them all."
        )
    if config.training.head == "ridge" and config.training.balance:
        problems.append("Expected --head logistic with --balance. Received: --head ridge, which weighs images alike.")
    return problems
