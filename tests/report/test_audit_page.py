"""The page of an audit: everything found is on it, nothing in it runs, and it stays small."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tlkit.checking import check_data
from tlkit.errors import InputError
from tlkit.report.audit_page import render_audit_page, write_audit_page

ATTACK = "</script><img src=x onerror=alert(1)>"
NAMES = (ATTACK, "'><iframe src=https://example.invalid/></iframe>", "\u202egnp.exe", "名前", "{{ 7 * 7 }}{% raw %}")


def finding(severity: str, kind: str, items: list[str], **details: Any) -> dict[str, Any]:
    message = f"Something of {kind}."
    return {"kind": kind, "severity": severity, "message": message, "items": items, "details": details}


def audit_of(*findings: dict[str, Any], set_aside: int = 0) -> dict[str, Any]:
    aside = [
        {"item": f"broken {index}.png", "kind": "empty", "problem": "The file is empty."} for index in range(set_aside)
    ]
    return {"items": 40, "usable": 40 - set_aside, "set_aside": aside, "findings": list(findings)}


def counts_of(**columns: list[int]) -> pd.DataFrame:
    length = len(next(iter(columns.values())))
    return pd.DataFrame(columns, index=pd.Index([f"class {index}" for index in range(length)], name="class"))


@pytest.fixture(scope="module")
def messy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of drawn pictures, one of them there twice under both, one file broken and one empty."""
    folder = tmp_path_factory.mktemp("messy") / "images"
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for index in range(8):
            Image.fromarray(generator.integers(0, 255, (48, 48, 3), np.uint8)).save(folder / name / f"{index}.png")
    (folder / "dog" / "twin.png").write_bytes((folder / "cat" / "0.png").read_bytes())
    (folder / "cat" / "empty.png").write_bytes(b"")
    (folder / "cat" / "cut.png").write_bytes((folder / "cat" / "1.png").read_bytes()[:300])
    return folder


def test_check_writes_what_it_found(messy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    page, kept = tmp_path / "audit.html", tmp_path / "audit.json"
    assert check_data(str(messy_folder), kept, page, None) is True
    text, audit = page.read_text(encoding="utf-8"), json.loads(kept.read_text())
    assert {one["kind"] for one in audit["findings"]} >= {"conflicting labels", "duplicate files", "empty", "truncated"}
    for one in audit["findings"]:
        assert one["kind"] in text
    for named in ("cat/empty.png", "cat/cut.png", "cat/0.png (cat)", "dog/twin.png (dog)", "The file is empty"):
        assert named in text
    assert "19 files, 17 of them usable, in 2 classes" in text
    assert text.index("Errors</h3>") < text.index("conflicting labels") < text.index("Warnings</h3>")
    assert not re.findall(r"@import|url\(|https?://", text)


def test_findings_stand_by_severity_and_unknown_ones_last() -> None:
    audit = audit_of(finding("note", "c", ["1"]), finding("odd", "d", []), finding("error", "a", ["2"]))
    page = render_audit_page(audit, counts_of(unassigned=[20, 20]), "./images")
    places = [page.index(f"Something of {kind}.") for kind in ("a", "c", "d")]
    assert places == sorted(places)
    assert "Found: 1 error, 2 notes." in page
    assert "Warnings</h3>" not in page


def test_nothing_found_and_no_class() -> None:
    page = render_audit_page(audit_of(), counts_of(unassigned=[]), "./images")
    assert "Nothing was found amiss." in page
    assert "There is no class." in page
    assert "Set aside</h2>" not in page


def test_parts_of_a_given_split_are_columns_with_their_sum() -> None:
    page = render_audit_page(audit_of(), counts_of(train=[10, 5], test=[3, 2]), "./images")
    assert re.findall(r'<th scope="col">(\w+)</th>', page) == ["Train", "Test", "All"]
    assert re.findall(r"<td>(\d+)</td>", page) == ["10", "3", "13", "5", "2", "7", "15", "5", "20"]
    assert [float(width) for width in re.findall(r"M0 1H([\d.]+)V9", page)] == [100.0, pytest.approx(53.8)]


def test_long_lists_end_and_say_so() -> None:
    groups = [[f"{index}a.png", f"{index}b.png"] for index in range(60)]
    many = finding("warning", "duplicate files", [name for group in groups for name in group], groups=groups)
    plain = finding("note", "tiny", [f"{index}.png" for index in range(150)])
    page = render_audit_page(audit_of(many, plain, set_aside=1200), counts_of(unassigned=[1]), "./images")
    assert "and 10 more groups in the audit" in page
    assert "and 50 more in the audit" in page
    assert "The first 1,000" in page
    assert "broken 1199.png" not in page


def test_a_page_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder that exists"):
        write_audit_page(audit_of(), counts_of(unassigned=[1]), "./images", tmp_path / "none" / "audit.html")


def test_ten_thousand_files_and_a_thousand_classes_stay_below_5_mb() -> None:
    findings = [
        finding("warning", f"kind {k}", [f"a folder/picture {i}.jpg" for i in range(10_000)]) for k in range(10)
    ]
    page = render_audit_page(audit_of(*findings, set_aside=10_000), counts_of(unassigned=[9] * 1000), "./images")
    assert len(page.encode()) < 1_000_000


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "audit.html"
    hostile = finding(ATTACK, ATTACK, list(NAMES)) | {"message": ATTACK}
    grouped = finding("error", "duplicate files", list(NAMES), groups=[list(NAMES)])
    audit = audit_of(hostile, grouped)
    audit["set_aside"] = [{"item": name, "kind": ATTACK, "problem": ATTACK} for name in NAMES]
    counts = pd.DataFrame({"train": range(5), ATTACK: range(5)}, index=list(NAMES))
    write_audit_page(audit, counts, ATTACK, path)
    return path


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_hostile_names_run_nothing_and_fetch_nothing(browser: Any, hostile_page: Path, width: int, dark: bool) -> None:
    browser.open(hostile_page, width=width, dark=dark)
    assert browser.run("document.querySelector('h1').textContent") == ATTACK
    assert browser.run("document.scripts.length") == 2
    assert browser.run("document.querySelectorAll('img, iframe, main [onerror]').length") == 0
    browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert "⟨U+202E⟩gnp.exe" in browser.run("document.getElementById('findings').textContent")
    assert browser.run("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    browser.assert_quiet()


def test_classes_sort_by_number(browser: Any, hostile_page: Path) -> None:
    browser.open(hostile_page)
    browser.run("document.querySelectorAll('#class-table thead button')[1].click()")
    browser.run("document.querySelectorAll('#class-table thead button')[1].click()")
    cells = "[...document.querySelectorAll('#class-table tbody tr')].map((row) => +row.cells[1].textContent)"
    assert browser.run(cells) == [4, 3, 2, 1, 0]
