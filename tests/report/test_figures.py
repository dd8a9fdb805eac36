"""Figures: ticks at round numbers, well-formed SVG, colours that can be read in both schemes."""

from __future__ import annotations

import re
from importlib import resources
from xml.etree import ElementTree

import pytest

from tlkit.report.charts import phase_charts, reliability_chart, screening_charts
from tlkit.report.figures import interval_strip, nice_ticks, number_axis, power_axis, share_axis, whisker, whole_axis

STYLE = resources.files("tlkit.report").joinpath("templates", "style.css").read_text(encoding="utf-8")
ROW = {"penalty": None, "learning_rate": 0.001, "loss": 0.5, "accuracy": 0.8, "val_loss": 0.6, "val_accuracy": 0.7}


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1)), (0, 2.3, (0, 0.5, 1, 1.5, 2)), (1, 6, (1, 2, 3, 4, 5, 6)), (3, 3, (3,))],
)
def test_ticks_are_round(low: float, high: float, ticks: tuple[float, ...]) -> None:
    assert nice_ticks(low, high) == pytest.approx(ticks)


def test_axes() -> None:
    assert whole_axis("epoch", [1, 2]).ticks == (1, 2)
    assert all(tick == int(tick) for tick in whole_axis("epoch", list(range(1, 38))).ticks)
    assert share_axis("", [0.83]).low == pytest.approx(0.8)
    assert number_axis("", [0.5], from_zero=True).low == 0
    axis = power_axis("penalty", [-1.0, 3.0])
    assert [axis.write(tick) for tick in axis.ticks] == ["10¹", "10⁰", "10⁻¹", "10⁻²", "10⁻³"]


@pytest.mark.parametrize("num_rows", [1, 2, 30])
@pytest.mark.parametrize("kind", ["epochs", "penalties"])
def test_charts_of_a_phase_are_well_formed(num_rows: int, kind: str) -> None:
    rows = [ROW | {"epoch": index, "penalty": 10.0 ** -(index / 3)} for index in range(num_rows)]
    charts = phase_charts({"name": "head", "kind": kind, "best": 0, "rows": rows})
    assert [caption for caption, _ in charts] == ["Loss", "Accuracy, %"]
    for _, svg in charts:
        root = ElementTree.fromstring(svg)
        assert root.find("title") is not None
        assert len(root.findall("path[@class='mark']")) == 1


def test_learning_rate_is_drawn_where_it_changes() -> None:
    rows = [ROW | {"epoch": index, "learning_rate": 0.1 / (index + 1)} for index in range(3)]
    assert phase_charts({"name": "a", "kind": "epochs", "best": None, "rows": rows})[-1][0] == "Learning rate"


def test_gaps_in_the_history_are_left_out() -> None:
    rows = [ROW | {"epoch": index, "val_loss": None, "loss": None} for index in range(3)]
    charts = phase_charts({"name": "a", "kind": "epochs", "best": 1, "rows": rows})
    assert [caption for caption, _ in charts] == ["Accuracy, %"]
    assert phase_charts({"name": "a", "kind": "epochs", "best": None, "rows": []}) == []


def test_small_figures_are_well_formed() -> None:
    for svg in (interval_strip(0.9, [0.8, 0.95], 0.1), interval_strip(1, None, None), whisker(0.5, [0.4, 0.6])):
        ElementTree.fromstring(svg.replace("&#8239;", " "))
    assert whisker(None, None) == ""
    one = {"count": 20, "confidence": 0.9, "accuracy": 0.8, "low": 0.6, "high": 0.95}
    ElementTree.fromstring(reliability_chart([one], "Reliability"))
    assert screening_charts({"roc_curve": None, "precision_recall_curve": None}) == []


def colours(block: str) -> dict[str, tuple[float, ...]]:
    found = re.findall(r"--([a-z-]+): #([0-9a-f]{6})", block)
    return {name: tuple(int(code[place : place + 2], 16) / 255 for place in (0, 2, 4)) for name, code in found}


def luminance(colour: tuple[float, ...]) -> float:
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The contrast ratio of the Web Content Accessibility Guidelines 2.2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_in_both_schemes(scheme: int) -> None:
    palette = colours(re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[scheme])
    for text in ("ink", "muted", "accent", "wrong", "right"):
        for back in ("paper", "surface", "soft"):
            assert contrast(palette[text], palette[back]) >= 4.5, (text, back)
    for tone in ("hit", "miss"):
        strongest = tuple(0.7 * a + 0.3 * b for a, b in zip(palette[tone], palette["surface"], strict=True))
        assert contrast(palette["ink"], strongest) >= 4.5, tone
