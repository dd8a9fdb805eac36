"""The flow of gradients of a run: recorded while a network trains, kept in its folder, drawn in its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from tlkit.analysis.flow_callback import GradientFlow
from tlkit.analysis.flow_record import describe_flow, write_flows
from tlkit.errors import InputError
from tlkit.report import write_report


@pytest.fixture(scope="module")
def flow() -> dict[str, Any]:
    """Of a network whose eight sigmoids let little through, over three epochs."""
    keras.utils.set_random_seed(0)
    pixels, labels = load_digits(return_X_y=True)
    pixels, labels = pixels[:256] / 16, labels[:256]
    layers: list[keras.Layer] = [keras.Input((64,))]
    layers += [keras.layers.Dense(16, activation="sigmoid", name=f"hidden{depth}") for depth in range(8)]
    model = keras.Sequential([*layers, keras.layers.Dense(10, activation="softmax", name="head")])
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    recorder = GradientFlow(pixels[:32], labels[:32])
    model.fit(pixels, labels, batch_size=32, epochs=3, verbose=0, callbacks=[recorder])
    return describe_flow("body", recorder.record)


def test_a_phase_is_described_layer_by_layer(flow: dict[str, Any]) -> None:
    assert flow["layers"] == [*(f"hidden{depth}" for depth in range(8)), "head"]
    assert flow["steps"] == [0, 8, 16]
    assert np.shape(flow["gradient_rms"]) == np.shape(flow["update_ratio"]) == (3, 9)
    first = flow["gradient_rms"][0]
    assert first[0] < 1e-3 * first[-1]
    assert flow["verdict"] == "vanishing"
    assert "Gradients vanish" in flow["message"]


def test_report_draws_them(run: Path, flow: dict[str, Any]) -> None:
    before = write_report(run).read_text(encoding="utf-8")
    name = json.loads((run / "report.json").read_text())["training"]["phases"][-1]["name"]
    write_flows(run, [flow | {"phase": name}])
    page = write_report(run).read_text(encoding="utf-8")
    assert "<h4>Gradients</h4>" in page
    assert "<h4>Gradients</h4>" not in before
    assert page.count("<svg") == before.count("<svg") + 2
    assert "Gradients vanish" in page
    assert "Gradients: " in (run / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("harm", "part"),
    [
        ({"layers": ["one"]}, "of another number of steps or layers"),
        ({"update_ratio": [[1.0, 2.0]]}, "update_ratio of another number"),
        ({"steps": 3}, "a phase without"),
    ],
)
def test_a_damaged_file_is_told(run: Path, flow: dict[str, Any], harm: dict[str, Any], part: str) -> None:
    write_flows(run, [flow | harm])
    with pytest.raises(InputError, match=part) as caught:
        write_report(run)
    assert "gradients.json" in str(caught.value)


def test_a_file_without_its_parts_is_told(run: Path) -> None:
    (run / "gradients.json").write_text('{"phases": [{"phase": "body"}]}')
    with pytest.raises(InputError, match=r"gradients\.json.*a phase without 'steps'"):
        write_report(run)
