"""One hyperparameter: an option of a run with choices or a range, and where it matters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

SAMPLINGS = ("linear", "log")
GRID_POINTS = 5  # Of a range without a step, in a grid.


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter.

    Attributes:
        name: Of the option; where it has other choices for each backbone, `option@backbone`.
        values: The choices; empty for a range.
        low: Lowest value of a range.
        high: Highest value of a range.
        sampling: How a range is gone through: `"linear"` or `"log"`.
        step: Distance of a range's values, for `"log"` the factor between them; None: any value between.
        when: Conditions, each the name of another parameter and those of its values under which this one matters.
    """

    name: str
    values: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    sampling: str = "linear"
    step: float | None = None
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    @property
    def option(self) -> str:
        """The option of a run that it sets."""
        return self.name.partition("@")[0]

    def grid(self) -> tuple[Any, ...]:
        """Returns the choices, or values of the range: by its step, or five of them."""
        if self.values:
            return self.values
        assert self.low is not None
        assert self.high is not None
        ratio = self.high / self.low if self.sampling == "log" else self.high - self.low
        if self.step is None:
            shares = [index / (GRID_POINTS - 1) for index in range(GRID_POINTS)]
            steps = [ratio**share if self.sampling == "log" else ratio * share for share in shares]
        elif self.sampling == "log":
            steps = [self.step**index for index in range(int(math.log(ratio, self.step) + 1e-9) + 1)]
        else:
            steps = [self.step * index for index in range(int(ratio / self.step + 1e-9) + 1)]
        found = [self.low * step if self.sampling == "log" else self.low + step for step in steps]
        kind = int if isinstance(self.low, int) else float
        return tuple(kind(float(f"{value:.6g}")) for value in found)

    def describe(self) -> str:
        """Returns its values as people read them."""
        if self.values:
            return ", ".join(str(value) for value in self.values)
        told = f"{self.low:g} to {self.high:g}" + (" (log)" if self.sampling == "log" else "")
        return told + (f" by {self.step:g}" if self.step else "")
