"""The page of an inspection: complete, self-contained, and safe with any name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from tlkit.analysis.layer_table import layer_table
from tlkit.inspection import Inspection, examine, gather, write_html
from tlkit.report.inspection_figures import blocks_figure, fields_figure
from tlkit.report.inspection_page import render_inspection
from tlkit.report.inspection_pictures import filter_sheet, photograph, shaded

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A measured model; the classes of the data have names that try to break out."""
    folder = tmp_path_factory.mktemp("page")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 1), name="image")
    x = layers.Conv2D(8, 3, activation="relu", name="first")(layers.Rescaling(1 / 255)(inputs))
    x = layers.Conv2D(12, 3, strides=2, activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="head")(x))
    model.save(folder / "model.keras")
    rng = np.random.default_rng(0)
    np.savez(
        folder / "data.npz",
        images=rng.integers(0, 256, (60, 16, 16), dtype=np.uint8),
        labels=np.array([HOSTILE, '"><svg onload=alert(2)>', "名前"])[np.arange(60) % 3],
    )
    inspection = examine(folder / "model.keras", data=str(folder / "data.npz"))
    assert inspection.notes == ()
    write_html(inspection, folder / "page.html")
    return folder / "page.html"


def test_the_page_has_every_part_and_needs_nothing_else(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    anchors = re.findall(r'<section id="([\w-]+)"', text)
    assert anchors == "build sight filters answers excite neighbours symmetry gradients layers".split()  # noqa: SIM905
    assert HOSTILE not in text
    assert "&lt;img src=x onerror" in text
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert len(text) < 2_000_000
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_a_page_without_data_has_only_what_was_worked_out(tmp_path: Path) -> None:
    write_html(examine("mobilenetv2", image_size=64), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.findall(r'<section id="([\w-]+)"', text) == ["build", "sight", "layers"]
    assert "491\u202fpx" in text
    assert "<img" not in text


def test_names_of_layers_stay_text() -> None:
    """Backends refuse to run such layers, but a table of them can be made."""
    inputs = keras.Input((16, 16, 3), name=HOSTILE)
    x = layers.Conv2D(4, 3, name="{{ 7 * 7 }}")(inputs)
    x = layers.MaxPooling2D(2, name="\u202epool")(x)
    table = layer_table(
        keras.Model(inputs, x, name=HOSTILE), stages=[("</svg><b>", "{{ 7 * 7 }}"), (HOSTILE, "\u202epool")]
    )
    text = render_inspection(gather(Inspection(HOSTILE, 16, table, notes=(HOSTILE,))), {})
    assert "{{ 7 * 7 }}" in text
    assert not {HOSTILE, "\u202e", "</svg><b>", "<b>"} & set(re.findall(r"<[^>]*>|\u202e", text))


def test_a_page_of_a_model_that_cannot_be_followed() -> None:
    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.head = layers.Dense(2, name="head")

        def call(self, x: object) -> object:
            return self.head(x)

    model = Net()
    model(np.zeros((1, 3)))
    table = layer_table(model)
    text = render_inspection(gather(Inspection("net", None, table, notes=table.notes)), {})
    assert "cannot be followed" in text
    assert '<section id="notes"' in text


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_in_a_browser(browser: Any, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width=width, dark=dark)
    assert browser.run("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    assert browser.run("[...document.images].every((image) => image.complete && image.naturalWidth > 0)") is True
    fill = "getComputedStyle(document.querySelector('svg.chart path[fill^=var]')).fill"
    assert browser.run(fill) not in ("none", "rgb(0, 0, 0)")
    browser.run(
        "const field = document.querySelector('[data-filters]'); field.value = 'second';"
        "field.dispatchEvent(new Event('input'))"
    )
    assert (
        browser.run("[...document.querySelectorAll('#step-table tbody tr')].filter((row) => !row.hidden).length") == 1
    )
    browser.assert_quiet()


def test_pictures_are_data_addresses_of_any_array() -> None:
    rng = np.random.default_rng(0)
    assert filter_sheet(rng.normal(size=(5, 3, 3, 3)).astype("float32"), True).startswith("data:image/png;base64,")
    assert filter_sheet(rng.normal(size=(5, 3, 2)).astype("float32"), False) == ""  # Of one dimension: not drawn.
    assert shaded(np.zeros((7, 5), "float32")).startswith("data:image/png")
    image = rng.integers(0, 256, (40, 40, 1), dtype=np.uint8)
    assert photograph(image, ((0, 10), (5, 40))).startswith("data:image/jpeg")
    assert photograph(image, ((0, 0), (0, 0))).startswith("data:image/jpeg")


def test_figures_of_little() -> None:
    assert blocks_figure([], None) == ""
    assert fields_figure([], 224) == ""
    stage = {"name": "<b>", "output_shape": [4, 4, 8], "field": {"size": [600, 600]}}
    assert "↗" in fields_figure([stage], 224)
    assert "<b>" not in fields_figure([stage], 224) + blocks_figure([stage], [8, 8, 3])
