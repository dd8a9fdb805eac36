"""The verbs that train: `finetune` and `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from tlkit.command_line.run_options import run_options
from tlkit.config_files import load_config

# The strategy is named for the demo to take seconds and to give the same figures everywhere: auto takes minutes.
DEMO = {
    "data": "builtin:digits",
    "backbone": "efficientnet_lite0",
    "image_size": "96",
    "strategy": "frozen",
    "output": "runs/demo",
}


def add_training_verbs(app: typer.Typer) -> None:
    """Adds the verbs to the command line."""
    app.command()(run_options(finetune))
    app.command()(run_options(demo))


def finetune(config: Path | None, given: dict[str, Any], resume: Path | None) -> None:
    """Fine-tune a network on a folder of images: tlkit finetune --backbone resnet50 --data ./images"""
    from tlkit import workflow
    from tlkit.preflight import CHECKS

    if resume is not None:
        workflow.resume(resume, config, given)
    else:
        workflow.finetune(load_config(config, given, CHECKS))


def demo(config: Path | None, given: dict[str, Any]) -> None:
    """Run finetune on data and weights that came with the installation, strategy frozen; any option can be changed."""
    from tlkit import workflow
    from tlkit.preflight import CHECKS

    changed = {name: value for name, value in given.items() if value is not None}
    workflow.finetune(load_config(config, DEMO | changed, CHECKS))
