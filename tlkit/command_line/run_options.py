"""The options of a run as the command line takes them."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from tlkit.config import Option, options

RESUME = Annotated[
    Path | None,
    typer.Option("--resume", help="Go on with this run after an interruption, whatever it was.", metavar="RUN"),
]


def run_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Gives a verb every option of a run, as config.py defines them, plus `--config`, and `--resume` where it takes it.

    The verb is called with the TOML file and a dict of the options given on the command line, as text: config.py
    converts and checks, so that several mistakes are told at once.
    """
    more = {name for name in signature(verb).parameters if name == "resume"}

    def command(config: Path | None = None, **given: Any) -> None:
        verb(config, given, *(given.pop(name) for name in more))

    keyword = Parameter.KEYWORD_ONLY
    parameters = [Parameter("config", keyword, default=None, annotation=config_parameter())]
    parameters += [Parameter(name, keyword, default=None, annotation=RESUME) for name in more]
    parameters += [option_parameter(option, keyword) for option in options()]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__name__, command.__doc__ = verb.__name__, verb.__doc__
    return command


def config_parameter() -> Any:
    """Returns the declaration of `--config`."""
    return Annotated[Path | None, typer.Option("--config", help="TOML file with these options.", metavar="FILE")]


def option_parameter(option: Option, kind: Any) -> Parameter:
    """Returns the declaration of one option, its value as text."""
    if option.type is bool:
        switch = typer.Option(f"{option.flag}/--no-{option.flag[2:]}", help=option.rule.help, show_default=False)
        return Parameter(option.name, kind, default=None, annotation=Annotated[bool | None, switch])
    metavar = "|".join([{int: "INTEGER", float: "NUMBER", str: "TEXT"}[option.type], *option.rule.words])
    default = "" if option.default in (None, "") else f" [default: {option.default}]"
    declared = typer.Option(option.flag, help=option.rule.help + default, metavar=metavar, show_default=False)
    return Parameter(option.name, kind, default=None, annotation=Annotated[str | None, declared])
