"""The frame of recipes: pictures by name, mistakes in one line, charts."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from tlkit import recipes
from tlkit.errors import InputError
from tlkit.recipes import running


def never(options, seed):
    raise AssertionError


def measured(options, seed):
    recipes.load_parts(options.data, 8)
    return {"figure": float(seed)}


def test_a_set_that_cannot_be_had_is_told_with_the_default(capsys):
    code = recipes.main(measured, "Doc.", data="builtin:digits", arguments=["--data", "builtin:nosuch", "--smoke"])
    told = capsys.readouterr().err
    assert code == 2
    assert told.count("\n") == 1
    assert "The default needs no network: --data builtin:digits" in told


@pytest.mark.parametrize(
    ("default", "instead"),
    [("idx:/nosuch", "--data builtin:mnist5k"), ("builtin:digits,idx:/nosuch", "--data builtin:digits")],
)
def test_a_default_that_is_not_installed_is_told_with_another(default, instead, capsys):
    def loaded(options, seed):
        return {spec: float(len(recipes.load_parts(spec, 8).train[1])) for spec in options.data.split(",")}

    assert recipes.main(loaded, "Doc.", data=default, arguments=["--smoke"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.endswith(f"Without Debian's package dataset-fashion-mnist: {instead}\n")


def test_pictures_that_memory_does_not_hold_are_refused_before_they_are_read():
    with pytest.raises(InputError, match=r"GB of free memory for 1,797 pictures of 100000 pixels"):
        recipes.load_parts("builtin:digits", 100_000)


@pytest.mark.parametrize("seeds", ["0", "-1", "some"])
def test_seeds_are_one_at_least(seeds, capsys):
    with pytest.raises(SystemExit) as ended:
        recipes.main(never, "Doc.", arguments=["--seeds", seeds])
    assert ended.value.code == 2
    assert "whole number from 1" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_files_that_could_not_be_written_are_refused_before_anything_is_measured(option, tmp_path, capsys):
    for path in (tmp_path / "nosuch" / "file", tmp_path):
        with pytest.raises(SystemExit) as ended:
            recipes.main(never, "Doc.", draw=never, arguments=[option, str(path)])
        assert ended.value.code == 2
        assert f"expected a file in a folder that can be written. Received: {path}." in capsys.readouterr().err


def test_a_smoke_run_says_that_its_figures_say_nothing(capsys):
    assert recipes.main(lambda options, seed: {"figure": 1.5}, "Doc.", arguments=["--smoke"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("figure: 1.5\n")
    assert "its figures say nothing" in told
    assert recipes.main(lambda options, seed: {"figure": seed}, "Doc.", arguments=["--smoke", "--seeds", "2"]) == 0
    assert "figure: 0.5 ± 1.41" in capsys.readouterr().out


def test_too_little_memory_is_told_before_anything_is_done(capsys):
    assert recipes.main(never, "Doc.", data="idx:/nosuch", gigabytes=1e6, arguments=[]) == 2
    told = capsys.readouterr().err
    assert "GB of free memory" in told
    assert told.endswith("Close other programs, or use --smoke.\n")


def test_figures_of_all_seeds_are_told_and_drawn(tmp_path, capsys):
    drawn = []
    arguments = ["--seeds", "3", "--json", str(tmp_path / "figures.json"), "--plot", str(tmp_path / "chart.svg")]
    code = recipes.main(
        measured,
        "Doc.",
        data="builtin:digits",
        draw=lambda means, path: drawn.append((means, path)),
        arguments=arguments,
    )
    assert code == 0
    assert "figure: 1 ± 2" in capsys.readouterr().out
    assert drawn == [({"figure": 1.0}, tmp_path / "chart.svg")]
    assert running.read_figures(tmp_path / "figures.json") == {"figure": (1.0, 2.0)}


def test_parts_hold_so_many_pictures_a_class_in_grey():
    parts = recipes.load_parts("builtin:digits", 8, per_class=5, grey=True)
    for pictures, labels in (parts.train, parts.validation, parts.test):
        assert pictures.shape == (50, 8, 8, 1)
        assert pictures.dtype == np.uint8
        assert np.bincount(labels).tolist() == [5] * 10


def test_few_pictures_are_among_more_of_the_same_draw():
    images = (np.arange(100), np.arange(100) % 4)
    less, more = (set(recipes.few(images, count, seed=3)[0].tolist()) for count in (2, 7))
    assert less < more
    assert len(more) == 28


@pytest.mark.parametrize("logarithmic", [(False, False), (True, True)])
def test_charts_are_svg_with_a_name_for_each_line(tmp_path, logarithmic):
    lines = {"a < b": [(1, 10.0), (10, 20.0), (100, 15.0)], "other": [(1, 1.0), (100, 2.0)]}
    recipes.write_chart(tmp_path / "chart.svg", "Title", ("x", "y"), lines, logarithmic=logarithmic)
    root = ElementTree.parse(tmp_path / "chart.svg").getroot()
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"Title", "a < b", "other", "x", "y"} <= set(texts)
    assert sum(element.tag.endswith("polyline") for element in root.iter()) == 2


def test_no_two_lines_of_a_chart_look_alike(tmp_path):
    recipes.write_chart(
        tmp_path / "chart.svg", "Title", ("x", "y"), {str(line): [(0, line), (1, 2)] for line in range(9)}
    )
    drawn = [
        element for element in ElementTree.parse(tmp_path / "chart.svg").iter() if element.tag.endswith("polyline")
    ]
    assert len({(element.get("stroke"), element.get("stroke-dasharray")) for element in drawn}) == 9
