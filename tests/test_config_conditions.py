"""Options that do nothing in a run are told, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from tlkit.config_conditions import doubtful_choices, idle_options
from tlkit.config_files import load_config


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, []),
        ({"strategy": "partial", "dropout": 0.5, "ema": 0.9, "layer_decay": 0.5}, []),
        ({"strategy": "frozen", "augment": "light", "views": 8, "strength": 0.5, "mixup": 0.2}, []),
        ({"strategy": "frozen", "epochs": 3, "dropout": 0.5}, []),
        ({"strategy": "frozen", "dropout": 0.5}, ["--dropout 0.5 does nothing with --strategy frozen."]),
        ({"strategy": "scratch", "balance": True}, []),
        ({"strategy": "scratch", "penalty": 1.0}, ["--penalty 1.0 does nothing with --strategy scratch."]),
        (
            {"strategy": "scratch", "head": "ridge"},
            ["--head ridge does nothing with --strategy scratch."],
        ),
        (
            {"strength": 2.0, "flip": False, "views": 3},
            [
                "--strength 2.0 does nothing with --augment none.",
                "--no-flip does nothing with --augment none.",
                "--views 3 does nothing where nothing is augmented or nothing frozen.",
            ],
        ),
    ],
)
def test_what_does_nothing_is_told(given: dict[str, Any], expected: list[str]) -> None:
    assert idle_options(load_config(None, {"data": "builtin:digits"} | given)) == expected


@pytest.mark.parametrize(
    ("strategy", "weights", "expected"),
    [
        ("frozen", "none", ["--strategy frozen keeps the random weights as they are."]),
        ("partial", "none", ["--strategy partial begins with the random weights as they are."]),
        ("scratch", "none", []),
        ("frozen", "imagenet", []),
    ],
)
def test_a_network_of_random_weights_that_stay_is_told(strategy: str, weights: str, expected: list[str]) -> None:
    config = load_config(None, {"data": "builtin:digits", "strategy": strategy, "weights": weights})
    assert [line.partition(" To train")[0] for line in doubtful_choices(config)] == expected
