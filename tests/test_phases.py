from __future__ import annotations

import json
from typing import Any

import pytest

from tlkit.durations import parse_duration
from tlkit.errors import InputError
from tlkit.phases import Phase, describe

PHASES = (
    Phase("head", convex_head=True),
    Phase("body", "block6", 10, "auto", layer_decay=0.7, weight_decay=0.05, patience=5, only_if_better=True),
)


def test_phases_are_printed_as_a_table() -> None:
    header, head, body = describe(PHASES).splitlines()
    assert header.split()[:3] == ["Phase", "Trains", "from"]
    assert "convex fit" in head
    assert body.split() == [
        "body",
        "block6",
        "10",
        "auto",
        "0.7",
        "0.05",
        "0.1",
        "5",
        "adamw",
        "frozen",
        "if",
        "better",
    ]
    assert header.index("Rate") == body.index("auto")


def test_phases_survive_json() -> None:
    stored = json.loads(json.dumps([phase.to_dict() for phase in PHASES]))
    assert tuple(Phase.from_dict(values) for values in stored) == PHASES


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"name": "x", "learning_rte": 1.0}, "Did you mean 'learning_rate'"),
        ({"epochs": 3}, "a phase with a name"),
        ({"name": "x", "learning_rate": 0.0}, "learning_rate greater than 0, or 'auto'. Received: 0"),
        ({"name": "x", "learning_rate": float("nan")}, "Received: nan"),
        ({"name": "x", "learning_rate": "quick"}, "Received: 'quick'"),
        ({"name": "x", "optimizer": "adamm"}, "Did you mean 'adam'"),
        ({"name": "x", "layer_decay": 0.0}, "layer_decay above 0 up to 1"),
        ({"name": "x", "weight_decay": -0.1}, "weight_decay of at least 0"),
        ({"name": "x", "warmup": 1.5}, "warmup from 0 to 1"),
        ({"name": "x", "epochs": -1}, "epochs of at least 0"),
        ({"name": "x", "patience": 0}, "patience of at least 1"),
        ({"name": "x", "epochs": 1.5}, "epochs of a phase as a whole number. Received: 1.5"),
        ({"name": 3}, "name of a phase as text. Received: 3"),
        ({"name": "x", "train_from": 3}, "train_from of a phase as text. Received: 3"),
        ({"name": "x", "batch_norm": "frosen"}, "Did you mean 'frozen'"),
        ({"name": "x", "learning_rate": None}, "learning_rate of a phase as a number, or 'auto'. Received: None"),
        ({"name": "x", "layer_decay": "0.5"}, "layer_decay of a phase as a number. Received: '0.5'"),
        ({"name": "x", "weight_decay": True}, "weight_decay of a phase as a number. Received: True"),
        ({"name": "x", "convex_head": "yes"}, "convex_head of a phase as True or False. Received: 'yes'"),
        ({"name": "x", "train_from": ""}, "train_from of a phase as text. Received: ''"),
        ({"name": "x", "patience": 1.5}, "patience of a phase as a whole number, or None. Received: 1.5"),
        ([1], "fields of a phase by name, as to_dict gives them. Received: .1."),
    ],
)
def test_phases_that_make_no_sense(values: Any, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        Phase.from_dict(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("2m 30s", 150), ("1H", 3600)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("phases", ["full", Phase("x"), [Phase("x"), "head"]])
def test_what_is_no_phases_is_not_described(phases: Any) -> None:
    with pytest.raises(InputError, match=r"a tuple of tlkit.Phase, as .* gives it. Received: "):
        describe(phases)


def test_a_duration_without_its_unit_is_told_so() -> None:
    with pytest.raises(InputError, match=r"Received: '10'. Add its unit: s, m or h."):
        parse_duration("10")


@pytest.mark.parametrize("text", ["", "10", "m", "-5m", "10 minutes", "0s", "5m3h"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="90s, 10m or 1h30m"):
        parse_duration(text)
