"""What the value of an option must satisfy, declared where the option is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tlkit.errors import InputError, unknown_name


@dataclass(frozen=True)
class Rule:
    """What a value must satisfy, and the sentence that explains it to a person.

    Attributes:
        help: The sentence.
        choices: All values there are, for text.
        words: Words that stand in for a number.
        minimum: Smallest number.
        maximum: Largest number.
        below: Numbers must be below this.
        above: Numbers must be above this.
        check: Raises InputError where a text is wrong.
    """

    help: str
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    minimum: float = -math.inf
    maximum: float = math.inf
    below: float = math.inf
    above: float = -math.inf
    check: Callable[[Any], object] | None = None

    def problem(self, name: str, value: Any) -> str | None:
        """Returns what is wrong with `value`, or None."""
        if self.choices and value not in self.choices:
            return str(unknown_name(name, str(value), self.choices))
        if self.check is not None:
            return next(iter(told_by(self.check, value)), None)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._range_problem(name, value)
        return None

    def _range_problem(self, name: str, value: float) -> str | None:
        if math.isfinite(value) and self.minimum <= value <= self.maximum and self.above < value < self.below:
            return None
        bounds = [f"at least {self.minimum:g}"] if self.minimum > -math.inf else []
        bounds += [f"greater than {self.above:g}"] if self.above > -math.inf else []
        bounds += [f"at most {self.maximum:g}"] if self.maximum < math.inf else []
        bounds += [f"less than {self.below:g}"] if self.below < math.inf else []
        return f"Expected {name} to be {' and '.join(bounds) or 'a finite number'}. Received: {value:g}."


def option(default: Any, help: str, **rule: Any) -> Any:
    """Declares one option: its default, its help text and the rule that its values obey."""
    return field(default=default, metadata={"rule": Rule(help, **rule)})


def told_by(check: Callable[[Any], object], value: Any) -> list[str]:
    """Returns what a check has against a value."""
    try:
        check(value)
    except InputError as error:
        return [str(error)]
    return []
