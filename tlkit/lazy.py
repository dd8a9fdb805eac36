"""Names of a package that are looked up when they are first used: importing it loads no more than it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def attach(
    package: str, homes: Mapping[str, Iterable[str]], packages: Iterable[str] = (), own: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns the `__getattr__` and `__dir__` of a package (PEP 562).

    Args:
        package: Its `__name__`.
        homes: The public names by the module in it that has them.
        packages: Packages in it that are public themselves.
        own: Public names that the package has without looking them up.
    """
    home_of = {name: module for module, names in homes.items() for name in names}
    packages = frozenset(packages)
    public = sorted({*home_of, *packages, *own})

    def look_up(name: str) -> Any:
        if name in packages:
            return importlib.import_module(f"{package}.{name}")
        if name in home_of:
            return getattr(importlib.import_module(f"{package}.{home_of[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return look_up, lambda: public
