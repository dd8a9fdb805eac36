"""Which hyperparameters matter where: those that never do are dropped, or told where a file asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tlkit.config_conditions import CONDITIONS
from tlkit.search.parameters import Parameter


def apply_conditions(
    parameters: list[Parameter], values: Mapping[str, Any], own: set[str], problems: list[str]
) -> list[Parameter]:
    """Gives each hyperparameter the conditions under which it matters.

    Args:
        parameters: In the order in which they are decided.
        values: Of the options that are not searched.
        own: Options that the user's file asks for: where one can never matter, that is told.
        problems: What is wrong is added here.

    Returns:
        Those that can matter. A condition that always holds is left out.
    """
    kept: dict[str, Parameter] = {}
    for parameter in parameters:
        when = dict(parameter.when)
        reason = _add_condition(parameter.option, kept, values, when)
        if reason is None:
            kept[parameter.name] = replace(parameter, when=tuple(when.items()))
        elif parameter.option in own:
            problems.append(f"In the space: Expected {reason} for {parameter.option} to matter.")
    return list(kept.values())


def _add_condition(
    option: str, kept: Mapping[str, Parameter], values: Mapping[str, Any], when: dict[str, tuple[Any, ...]]
) -> str | None:
    """Adds what must hold for an option, and for what that depends on; returns what can never hold."""
    if option not in CONDITIONS:
        return None
    parent, allowed = CONDITIONS[option]
    told = f"{parent} {' or '.join(allowed)}"
    if parent not in kept:
        if values[parent] not in allowed:
            return f"{told} (received: {parent} = {values[parent]!r})"
        return _add_condition(parent, kept, values, when)
    possible = tuple(value for value in kept[parent].values if value in allowed)
    if not possible:
        return f"{told} (received: {kept[parent].describe()})"
    if len(possible) < len(kept[parent].values):
        when[parent] = possible
    for name, before in kept[parent].when:
        when.setdefault(name, before)
    return None
