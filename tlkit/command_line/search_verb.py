"""The verb `tlkit search`: options of a run that stay, and those of a search."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

from tlkit.command_line.run_options import config_parameter, option_parameter
from tlkit.config import SearchConfig, options, section_options
from tlkit.config_files import load_config, section_from
from tlkit.errors import InputError
from tlkit.rules import told_by

SEARCH = section_options("search", SearchConfig)
NAMES = {option.name for option in SEARCH}


def search_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Gives a verb the options of a search, then those of a run that stay the same in every trial."""

    def command(config: Path | None = None, **given: Any) -> None:
        own = {name: given.pop(name) for name in NAMES if name in given}
        verb(config, given, {name: value for name, value in own.items() if value is not None})

    keyword = Parameter.KEYWORD_ONLY
    of_run = [option for option in options() if option.section != "run" and option.name not in NAMES]
    parameters = [Parameter("config", keyword, default=None, annotation=config_parameter())]
    parameters += [option_parameter(option, keyword) for option in (*SEARCH, *of_run)]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__name__, command.__doc__ = verb.__name__, verb.__doc__
    return command


@search_options
def search(config: Path | None, given: dict[str, Any], own: dict[str, Any]) -> None:
    """Search hyperparameters: tlkit search --data ./images --space quick --trials 30 --time-budget 1h"""
    from tlkit.preflight import CHECKS
    from tlkit.search.plan import asked_again
    from tlkit.search.roles import role
    from tlkit.search.searching import join_search, search

    named = {name: value for name, value in given.items() if value is not None}
    if role() == "worker":
        return join_search(section_from(SearchConfig, own))
    if own.get("resume"):
        base, settings = asked_again(config, named, own)
    else:
        if wrong := told_by(lambda options: section_from(SearchConfig, options), own):
            wrong += told_by(lambda options: load_config(config, options, CHECKS), named)
            wrong += [line for name, check in CHECKS.items() if name in named for line in told_by(check, named[name])]
            raise InputError("\n".join(dict.fromkeys("\n".join(wrong).splitlines())))
        base, settings = load_config(config, named, CHECKS), section_from(SearchConfig, own)
    search(base, settings, named, own)
    return None
