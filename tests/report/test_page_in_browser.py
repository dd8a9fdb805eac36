"""The page in a real browser: hostile names stay text, nothing is fetched, and every control does its work."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlkit.report import compare_runs, write_comparison, write_report

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(2)>',
    "'><iframe src=https://example.invalid/></iframe>",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe",
    "<link rel=stylesheet href=https://example.invalid/a.css>",
    "<!-- <style>body{display:none}</style>",
    "javascript:alert(3)//&amp;\\u003c",
    "名前 の クラス",
    "a very long name " * 12,
)
LINES = "[...document.querySelectorAll('#matrix-table tbody th')].map((cell) => cell.textContent)"
CHOOSE = """((id, value) => {{ const field = document.getElementById(id); field.value = value;
    field.dispatchEvent(new Event("change")); }})({})"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, build_run: Callable[..., Path]) -> Path:
    return write_report(build_run(tmp_path_factory.mktemp("page") / "demo"))


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory, build_run: Callable[..., Path]) -> Path:
    """A report in which every text that comes from data or settings tries to break out."""
    folder = tmp_path_factory.mktemp("hostile") / "run <img src=x onerror=alert(4)>"
    build_run(folder, class_names=HOSTILE, item_name="{label}{number}\"'><script>alert(5)</script>.png")
    attack = HOSTILE[0]
    audit = json.loads((folder / "audit.json").read_text())
    audit["findings"] = [{"kind": attack, "severity": attack, "message": attack, "items": list(HOSTILE)}]
    (folder / "audit.json").write_text(json.dumps(audit))
    environment = json.loads((folder / "environment.json").read_text())
    environment |= {"command": attack, "platform": attack, "seconds": {attack: 1.0}, "packages": {attack: attack}}
    (folder / "environment.json").write_text(json.dumps(environment))
    (folder / "config.toml").write_text(
        f"[data]\ndata = {json.dumps(attack)}\n[model]\nbackbone = {json.dumps(attack)}\n"
    )
    explained = json.loads((folder / "explanations.json").read_text()) | {"notes": [attack]}
    explained["embedding"]["method"] = explained["heat_maps"]["method"] = attack
    (folder / "explanations.json").write_text(json.dumps(explained))
    (folder / "phases.csv").write_text((folder / "phases.csv").read_text().replace("head,", f'"{attack}",'))
    history = (folder / "history.csv").read_text().replace("head,", f'"{attack}",')
    (folder / "history.csv").write_text(history)
    return write_report(folder)


def choose(browser: Any, field: str, value: str) -> None:
    browser.run(CHOOSE.format(f"{json.dumps(field)}, {json.dumps(value)}"))


@pytest.mark.parametrize("width", [1200, 390])
def test_hostile_names_run_nothing_and_fetch_nothing(browser: Any, hostile_page: Path, width: int) -> None:
    browser.open(hostile_page, width=width)
    assert browser.run("document.scripts.length") == 2
    assert (
        browser.run("document.querySelectorAll('img[onerror], svg[onload], iframe, link[rel=stylesheet]').length") == 0
    )
    assert browser.run("document.querySelectorAll('style').length") == 1
    names = browser.run(LINES)
    assert HOSTILE[0] in names
    assert "名前 の クラス" in names
    assert "⟨U+202E⟩gnp.exe" in names
    assert browser.run("document.body.textContent.includes('\\u202e')") is False
    assert HOSTILE[0] in browser.run("document.getElementById('map-labels').textContent")
    browser.run("document.getElementById('image-map').focus()")
    browser.press("ArrowDown")
    assert "<script>" in browser.run("document.getElementById('map-readout').textContent")
    browser.run("document.querySelectorAll('#matrix-table td button')[0].click()")
    assert browser.run("document.getElementById('pictures').open") is True
    assert HOSTILE[0] in browser.run("document.getElementById('pictures-list').textContent")
    assert browser.run("document.querySelectorAll('#pictures-list script').length") == 0
    assert browser.run("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    browser.assert_quiet()


def test_policy_stops_a_script_that_got_in(browser: Any, page: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    attack = "<script>window.reached = true</script><img src=https://example.invalid/x onerror='window.reached = true'>"
    broken.write_text(page.read_text(encoding="utf-8").replace("<main", attack + "<main", 1), encoding="utf-8")
    browser.open(broken)
    assert browser.run("window.reached") is None
    assert any("Content Security Policy" in problem for problem in browser.problems)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 390])
def test_page_opens_without_a_word_and_without_sideways_scrolling(
    browser: Any, page: Path, width: int, dark: bool
) -> None:
    browser.open(page, width=width, dark=dark)
    assert browser.run("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", background))) / 3
    assert brightness < 60 if dark else brightness > 200
    browser.assert_quiet()


def test_matrix_sorts_by_recall_and_back(browser: Any, page: Path) -> None:
    browser.open(page)
    facts = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    plain = browser.run(LINES)
    assert plain == facts["class_names"]
    choose(browser, "matrix-order", "recall")
    recall = {row["class_name"]: row["recall"] for row in facts["per_class"]}
    assert [recall[name] for name in browser.run(LINES)] == sorted(recall.values())
    across = "[...document.querySelectorAll('#matrix-table thead th')].slice(1).map((cell) => cell.textContent)"
    assert browser.run(across) == browser.run(LINES)
    counts = "[...document.querySelectorAll('#matrix-table tbody tr')].map((row, i) => +row.cells[i + 1].textContent)"
    hits = [round(recall[row["class_name"]] * row["support"]) for row in facts["per_class"]]
    by_name = dict(zip(facts["class_names"], hits, strict=True))
    assert browser.run(counts) == [by_name[name] for name in browser.run(LINES)]
    choose(browser, "matrix-order", "name")
    assert browser.run(LINES) == sorted(plain)
    choose(browser, "matrix-order", "index")
    assert browser.run(LINES) == plain
    browser.assert_quiet()


def test_matrix_shows_shares_and_hides_hits(browser: Any, page: Path) -> None:
    browser.open(page)
    choose(browser, "matrix-show", "share")
    facts = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    diagonal = "[...document.querySelectorAll('#matrix-table tbody tr')].map((row, i) => +row.cells[i + 1].textContent)"
    assert browser.run(diagonal) == [pytest.approx(row["recall"] * 100, abs=0.51) for row in facts["per_class"]]
    browser.run("document.getElementById('matrix-mistakes').click()")
    assert browser.run("document.getElementById('matrix-table').classList.contains('mistakes-only')")


def test_cell_opens_its_pictures_by_keyboard_alone(browser: Any, page: Path) -> None:
    browser.open(page)
    browser.run("document.querySelector('#matrix-table td button').focus()")
    browser.press("ArrowDown")
    assert browser.run("document.activeElement.tagName") == "BUTTON"
    label = browser.run("document.activeElement.getAttribute('aria-label')")
    truth, named, count = re.fullmatch(r"(\w+) named (\w+): (\d+)", label).groups()
    browser.press("Enter")
    assert browser.run("document.getElementById('pictures').open") is True
    title = browser.run("document.getElementById('pictures-title').textContent")
    assert title == (f"{truth}, named right" if truth == named else f"{truth} taken for {named}")
    pictures = "[...document.querySelectorAll('#pictures-list img')]"
    assert browser.run(f"{pictures}.length") == int(count)
    assert browser.run(f"Promise.all({pictures}.map((image) => image.decode())).then(() => true)") is True
    assert browser.run(f"{pictures}.every((image) => image.naturalWidth === 96)") is True
    browser.press("Escape")
    assert browser.run("document.getElementById('pictures').open") is False
    assert browser.run("document.activeElement.getAttribute('aria-label')") == label
    browser.assert_quiet()


# Within the drawing: the page may still be scrolling to it.
CURRENT = "(({cx, cy}) => [cx, cy].map(at => at.baseVal.value))(document.querySelector('#image-map .current'))"


def test_map_is_walked_by_arrow_keys(browser: Any, page: Path) -> None:
    browser.open(page)
    browser.run("document.getElementById('image-map').focus()")
    browser.press("ArrowRight")
    seen = {browser.run("document.getElementById('map-readout').textContent")}
    for key, axis, sign in (("ArrowRight", 0, 1), ("ArrowUp", 1, -1), ("ArrowLeft", 0, -1), ("ArrowDown", 1, 1)):
        before = browser.run(CURRENT)
        browser.press(key)
        after = browser.run(CURRENT)
        assert sign * (after[axis] - before[axis]) > 0, key
        seen.add(browser.run("document.getElementById('map-readout').textContent"))
    assert len(seen) >= 3
    assert all(re.match(r"\w+( taken for \w+)? at [\d.]+\u202f%\w+/\d+\.png$", told) for told in seen), seen
    assert browser.run("document.querySelectorAll('#image-map .current').length") == 1
    picture = "document.querySelector('#map-picture img')"
    assert browser.run(f"{picture}.decode().then(() => {picture}.naturalWidth)") == 96
    browser.assert_quiet()


@pytest.mark.parametrize("width", [1200, 390])
def test_map_tells_what_is_pointed_at(browser: Any, page: Path, width: int) -> None:
    browser.open(page, width=width)
    browser.run("document.getElementById('image-map').scrollIntoView({behavior: 'instant', block: 'center'})")
    circle = "document.querySelector('#image-map circle:last-of-type')"
    x, y = browser.run(f"(({{x, y, width}}) => [x + width / 2, y + width / 2])({circle}.getBoundingClientRect())")
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        browser.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    assert browser.run(f"{circle}.classList.contains('current')") is True
    assert " taken for " in browser.run("document.getElementById('map-readout').textContent")


def test_map_shows_one_class(browser: Any, page: Path) -> None:
    browser.open(page)
    facts = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    names = "[...document.querySelectorAll('#map-labels span')].map((one) => one.textContent)"
    assert browser.run(names) == facts["class_names"]
    choose(browser, "map-class", "8")
    assert browser.run(names) == ["eight"]
    shown = browser.run("document.querySelectorAll('#image-map .chosen').length")
    assert shown == facts["per_class"][8]["support"]
    browser.run("document.getElementById('image-map').focus()")
    for key in ("ArrowRight", "ArrowDown", "ArrowRight"):
        browser.press(key)
        assert browser.run("document.getElementById('map-readout').textContent").startswith("eight")
    choose(browser, "map-class", "")
    assert browser.run("document.querySelectorAll('#image-map.one-class').length") == 0


def test_class_table_sorts_and_filters(browser: Any, page: Path) -> None:
    browser.open(page)
    cells = "[...document.querySelectorAll('#class-table tbody tr')].map((row) => row.cells[{}].{})"
    head = "[...document.querySelectorAll('#class-table thead th')].find((cell) => cell.textContent === 'Recall')"
    browser.run(f"{head}.firstElementChild.click()")
    found = list(map(float, browser.run(cells.format(3, "dataset.value"))))
    assert found == sorted(found)
    assert browser.run(f"{head}.getAttribute('aria-sort')") == "ascending"
    browser.run(f"{head}.firstElementChild.click()")
    assert list(map(float, browser.run(cells.format(3, "dataset.value")))) == sorted(found, reverse=True)


def test_every_picture_and_control_has_a_name(browser: Any, page: Path) -> None:
    browser.open(page)
    assert browser.run("[...document.images].filter((image) => !image.alt).length") == 0
    tree = browser.send("Accessibility.getFullAXTree")["nodes"]
    named = {"button", "link", "combobox", "checkbox", "searchbox", "region", "image", "dialog", "table"}
    nameless = [
        node["role"]["value"]
        for node in tree
        if not node["ignored"]
        and node["role"]["value"] in named - {"table"}
        and not node.get("name", {}).get("value", "").strip()
    ]
    assert nameless == []
    levels = browser.run("[...document.querySelectorAll('main h2, main h3, main h4')].map((one) => +one.tagName[1])")
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))


def large_run(folder: Path, write_folder: Callable[..., None], num_classes: int) -> Path:
    generator = np.random.default_rng(0)
    labels = generator.integers(num_classes, size=3_000)
    scores = generator.normal(size=(3_000, num_classes)) + 4 * np.eye(num_classes)[labels]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    splits = np.array(["validation", "test", "test"], object)[np.arange(3_000) % 3]
    row = {"phase": "probe", "epoch": 0, "penalty": 0.1, "learning_rate": "", "loss": 1, "accuracy": 0.5}
    write_folder(
        folder,
        [f"{index}.png" for index in range(3_000)],
        labels,
        splits,
        [f"{index:064x}" for index in range(3_000)],
        [f"class {index}" for index in range(num_classes)],
        {split: probabilities[splits == split] for split in ("validation", "test")},
        [row | {"val_loss": 1, "val_accuracy": 0.5, "best": True}],
    )
    return write_report(folder)


@pytest.mark.parametrize("width", [1200, 390])
def test_matrix_of_200_classes_is_read_by_keyboard(
    browser: Any, tmp_path: Path, write_folder: Callable[..., None], width: int
) -> None:
    page = large_run(tmp_path / "run", write_folder, 200)
    browser.open(page, width=width)
    assert browser.run("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    readout = "document.getElementById('matrix-readout').textContent"
    browser.run("document.getElementById('matrix-canvas').focus()")
    browser.press("ArrowRight")
    assert browser.run(readout).startswith("class 0 named right: ")
    browser.press("ArrowRight")
    told = browser.run(readout)
    assert re.match(r"class 0 taken for class \d+: [1-9]\d* of \d+$", told), told
    choose(browser, "matrix-order", "recall")
    assert "200 classes" in browser.run(readout)
    browser.press("ArrowDown")
    worst = json.loads(page.with_name("report.json").read_text())["per_class"]
    lowest = min(row["recall"] for row in worst if row["recall"] is not None)
    first = int(re.match(r"class (\d+)", browser.run(readout)).group(1))
    assert worst[first]["recall"] == lowest
    browser.run(
        "(() => { const field = document.querySelector('[data-filters]'); field.value = 'class 17'; "
        "field.dispatchEvent(new Event('input')); })()"
    )
    shown = "[...document.querySelectorAll('#class-table tbody tr')].filter((row) => !row.hidden).length"
    assert browser.run(shown) == 11
    browser.assert_quiet()


def test_comparison_opens_quietly(browser: Any, tmp_path: Path, build_run: Callable[..., Path]) -> None:
    runs = [build_run(tmp_path / "a"), build_run(tmp_path / "b <img src=x onerror=alert(1)>", penalty=1.0)]
    page = write_comparison(compare_runs(runs), tmp_path / "comparison.html")
    for width in (1200, 390):
        browser.open(page, width=width)
        assert browser.run("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
        assert "b <img src=x onerror=alert(1)>" in browser.run("document.querySelector('h1').textContent")
        browser.assert_quiet()
