"""What explains a run: shown where its files are there, left out where they are not, told where they are damaged."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tlkit.errors import InputError
from tlkit.report import write_report
from tlkit.report.hints import make_hints

FILES = ("explanations.json", "phases.csv", "label_issues.csv", "embedding.csv")


def report_of(folder: Path) -> tuple[str, str, dict[str, Any]]:
    page = write_report(folder).read_text(encoding="utf-8").replace("\u202f", " ")
    facts = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return page, (folder / "report.md").read_text(encoding="utf-8"), facts


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_wrong_labels_that_were_planted_are_shown_first(run: Path) -> None:
    page, markdown, facts = report_of(run)
    found = facts["explained"]["label_issues"]
    assert 4 <= found["issues"] <= 8
    assert [row["split"] for row in found["shown"][:4]] == ["train"] * 4
    section = page[page.index("Labels that look wrong</h2>") : page.index("Training</h2>")]
    for row in found["shown"]:
        assert row["item"] in section
        assert row["item"] in markdown
    assert section.count("data:image/jpeg") == found["issues"]
    assert "Not every one is: look before you change it." in page


def test_phases_and_folds_are_told(run: Path) -> None:
    page, markdown, facts = report_of(run)
    first, second = facts["explained"]["phases"]
    assert first["gain"] is None
    assert second["low"] < second["gain"] < second["high"]
    folds = facts["explained"]["cross_validation"]
    for text in (page, markdown.replace("\u202f", " ")):
        assert f"convex head names {folds['accuracy'] * 100:.1f} % of 450" in text
        assert f"+{second['gain'] * 100:.1f}" in text


def test_heat_maps_stand_beside_their_pictures(run: Path) -> None:
    page, _, facts = report_of(run)
    shown = len(facts["mistakes"]) + len(facts["unsure_hits"])
    assert page.count('alt="Where it speaks for') == shown
    assert "Grad-CAM on the last feature map, of 8&#8239;×&#8239;8 places" in page
    change(run / "explanations.json", heat_maps={"method": "occlusion", "layer": "", "grid": [32, 32], "images": 24})
    assert "when that part is covered" in report_of(run)[0]


def test_map_places_every_judged_image_mistakes_last(run: Path) -> None:
    page, _, facts = report_of(run)
    svg = page[page.index('<svg id="image-map"') : page.index("</svg>", page.index('<svg id="image-map"'))]
    kinds = re.findall(r'<circle class="(\w+)"', svg)
    assert len(kinds) == facts["results"]["test"]["num_images"]
    assert kinds.count("wrong") == facts["num_mistakes"]
    assert kinds == sorted(kinds)
    _, _, width, height = map(float, re.search(r'viewBox="([^"]+)"', svg).group(1).split())
    places = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg)]
    assert all(0 < x < width and 0 < y < height for x, y in places)


def test_a_map_of_some_images_says_so(run: Path) -> None:
    lines = (run / "embedding.csv").read_text().splitlines()
    (run / "embedding.csv").write_text("\n".join(lines[:51]) + "\n")
    change(run / "explanations.json", embedding={"method": "t-SNE", "images": 50, "of": 150})
    page = report_of(run)[0]
    assert "50 of 150 test images by what the head reads" in page
    assert "Distances between groups mean nothing." in page
    assert page.count("<circle class=") >= 50


def test_without_the_files_nothing_is_missed(run: Path) -> None:
    for name in FILES:
        (run / name).unlink()
    shutil.rmtree(run / "explanations")
    page, markdown, facts = report_of(run)
    for text in (page, markdown):
        assert "Labels that look wrong" not in text
        assert "What each phase gained" not in text
    for absent in ("Map of the images</h2>", "The glow shows", "Where it speaks for", "convex head names"):
        assert absent not in page
    assert facts["explained"] == {
        "phases": [],
        "heat_maps": None,
        "embedding": None,
        "cross_validation": None,
        "label_issues": None,
        "notes": [],
    }


def test_what_was_left_out_is_told_with_its_reason(run: Path) -> None:
    change(run / "explanations.json", embedding=None, notes=["There is no map of the images. <b>No layer.</b>"])
    page = report_of(run)[0]
    assert "There is no map of the images. &lt;b&gt;No layer.&lt;/b&gt;" in page
    assert "Map of the images</h2>" not in page


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("explanations.json", "[]", "no object"),
        ("explanations.json", '{"embedding": {"method": "PCA"}}', "no images in embedding"),
        ("explanations.json", '{"heat_maps": 3}', "no method in heat_maps"),
        ("phases.csv", "phase,accuracy\nhead,0.5\n", "without the column images"),
        (
            "phases.csv",
            "phase,images,accuracy,log_loss,gain,low,high\nhead,x,1,1,1,1,1\n",
            "no number in the column im",
        ),
        ("label_issues.csv", "item,split\n", "without the column label"),
        (
            "label_issues.csv",
            "item,split,label,suggested,confidence,label_probability\na,train,zero,ghost,1,0\n",
            "the class 'ghost'",
        ),
        ("embedding.csv", "item,x,y\na,0.5,7\n", "outside the map"),
        ("embedding.csv", "item,x,y\na,0.5,\n", "outside the map"),
    ],
)
def test_a_damaged_file_is_named(run: Path, name: str, content: str, told: str) -> None:
    (run / name).write_text(content)
    with pytest.raises(InputError, match=told) as caught:
        write_report(run)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_heat_map_outside_the_folder_is_not_read(run: Path, build_run: Callable[..., Path]) -> None:
    for path in (run / "explanations").iterdir():
        path.write_bytes(b"no picture")
    assert 'alt="Where it speaks for' not in report_of(run)[0]


def told_by(facts: dict[str, Any], **explained: Any) -> list[tuple[str, str]]:
    changed = facts | {"explained": facts["explained"] | explained}
    return [(hint["severity"], hint["text"].replace("\u202f", " ")) for hint in make_hints(changed)]


@pytest.fixture(scope="module")
def facts(kept_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = Path(shutil.copytree(kept_run, tmp_path_factory.mktemp("hints") / "demo"))
    return report_of(folder)[2]


@pytest.mark.parametrize(
    ("low", "high", "severity", "text"),
    [
        (-0.05, -0.01, "warning", "Phase “body” made validation accuracy worse"),
        (-0.02, 0.01, "note", "Phase “body” is not shown to change validation accuracy"),
        (0.01, 0.05, None, "Phase “body”"),
    ],
)
def test_a_phase_is_praised_by_silence_only(facts: dict, low: float, high: float, severity: str, text: str) -> None:
    row = {"phase": "body", "images": 100, "accuracy": 0.9, "log_loss": 0.3}
    row |= {"gain": (low + high) / 2, "low": low, "high": high}
    row |= dict.fromkeys(("log_loss_gain", "log_loss_low", "log_loss_high"))
    found = [hint for hint in told_by(facts, phases=[row]) if hint[1].startswith(text)]
    assert [hint[0] for hint in found] == ([severity] if severity else [])


def test_better_probabilities_are_told_where_the_answers_are_as_right(facts: dict) -> None:
    row = {"phase": "body", "images": 100, "accuracy": 0.9, "log_loss": 0.3, "gain": 0.01, "low": 0.0, "high": 0.03}
    row |= {"log_loss_gain": 0.12, "log_loss_low": 0.04, "log_loss_high": 0.2}
    (told,) = (hint[1] for hint in told_by(facts, phases=[row]) if hint[1].startswith("Phase"))
    assert "Its probabilities are better beyond noise: log-loss lower by 0.120 (0.040 to 0.200)." in told
    assert "cheaper" not in told


def test_a_phase_that_was_undone_is_told_so(run: Path) -> None:
    lines = (run / "phases.csv").read_text().splitlines()
    (run / "phases.csv").write_text("\n".join([*lines[:-1], "body,90,0.8,0.4,-0.02,-0.05,0.01,False"]) + "\n")
    page, markdown, facts = report_of(run)
    assert any(hint["text"].startswith("Phase “body” was tried and undone") for hint in facts["hints"])
    assert "body (undone)" in markdown
    assert re.search(r"body(</\w+>)? \(undone\)", page)


def test_many_wrong_labels_are_a_warning(facts: dict) -> None:
    found = facts["explained"]["label_issues"]
    for issues, severity in ((5, "note"), (50, "warning")):
        told = told_by(facts, label_issues=found | {"issues": issues})
        assert next(hint for hint in told if f"{issues} labels of 450" in hint[1])[0] == severity
    assert not [hint for hint in told_by(facts, label_issues=found | {"issues": 0}) if "labels of" in hint[1]]


def test_a_test_part_below_what_folds_reach_is_a_warning(facts: dict) -> None:
    folds = facts["explained"]["cross_validation"]
    high = facts["results"]["test"]["intervals"]["accuracy"][1]
    for accuracy, expected in ((high + 0.05, 1), (high + 0.01, 0)):
        told = told_by(facts, cross_validation=folds | {"accuracy": accuracy, "standard_error": 0.01})
        assert len([hint for hint in told if hint[0] == "warning" and "in folds of" in hint[1]]) == expected
