"""Fills the HTML templates: everything escaped, and a policy that allows the page's own style and script only."""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

import tlkit.report.words as words

# What the page's script reads, of a page without a confusion matrix.
NO_PICTURES: dict[str, Any] = {
    "gallery": [],
    "cells": [],
    "classes": [],
    "support": [],
    "orders": {},
    "split": "",
    "map": [],
}


def render(template: str, **context: Any) -> str:
    """Fills a template, with style, script and the policy that allows these two and nothing else."""
    css, script = _asset("style.css"), _asset("report.js") + _asset("map.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(css)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    made = _environment().get_template(template)
    return made.render(policy=policy, css=Markup(css), script=Markup(script), **context)


def isolated(text: Any) -> Markup:
    """Returns a name from the data as HTML: escaped, odd characters shown, its direction kept to itself."""
    return Markup("<bdi>{}</bdi>").format(words.visible(str(text)))


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tlkit.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "name": isolated,
        "visible": lambda text: words.visible(str(text)),
        "counted": words.counted,
        "percent": words.percent,
        "percent_interval": words.percent_interval,
        "number": words.number,
        "signed": words.signed,
        "points": words.points,
        "points_interval": words.points_interval,
        "short_number": words.short_number,
        "duration": words.duration,
        "size": words.size,
    }
    return environment


@functools.cache
def _asset(name: str) -> str:
    return resources.files("tlkit.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
