"""The report as text and as a page, against kept files and where data is scarce or strange."""

from __future__ import annotations

import hashlib
import html
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt

from tlkit.report import write_report

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?")
ROW = {"phase": "probe", "epoch": 0, "penalty": 0.1, "learning_rate": "", "loss": 1, "accuracy": 0.5}
HISTORY = [ROW | {"val_loss": 1, "val_accuracy": 0.5, "best": True}]


def report_of(folder: Path) -> tuple[str, str, dict[str, Any]]:
    """Returns page, Markdown and facts of a run."""
    page = write_report(folder)
    facts = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return page.read_text(encoding="utf-8"), (folder / "report.md").read_text(encoding="utf-8"), facts


def assert_alike(found: Any, kept: Any, place: str = "report") -> None:
    """Compares JSON, numbers with a tolerance: another processor may round a last digit otherwise."""
    assert type(found) is type(kept), place
    if isinstance(kept, dict):
        assert list(found) == list(kept), place
        for key, value in kept.items():
            assert_alike(found[key], value, f"{place}.{key}")
    elif isinstance(kept, list):
        assert len(found) == len(kept), place
        for index, value in enumerate(kept):
            assert_alike(found[index], value, f"{place}[{index}]")
    elif isinstance(kept, float):
        assert math.isclose(found, kept, rel_tol=1e-2, abs_tol=2e-3), place
    elif isinstance(kept, str):
        assert NUMBER.sub("#", found) == NUMBER.sub("#", kept), place
    else:
        assert found == kept, place


def test_facts_are_the_kept_ones(run: Path, goldens: Path) -> None:
    _, _, facts = report_of(run)
    assert_alike(facts, json.loads((goldens / "report" / "report.json").read_text(encoding="utf-8")))


def test_markdown_is_the_kept_one(run: Path, goldens: Path) -> None:
    _, markdown, _ = report_of(run)
    kept = (goldens / "report" / "report.md").read_text(encoding="utf-8")
    assert NUMBER.sub("#", markdown) == NUMBER.sub("#", kept)
    pairs = zip(NUMBER.findall(markdown), NUMBER.findall(kept), strict=True)
    assert all(math.isclose(float(a), float(b), rel_tol=1e-2, abs_tol=0.11) for a, b in pairs)


def test_report_is_the_same_every_time_and_wherever_the_folder_lies(run: Path, tmp_path: Path) -> None:
    first = report_of(run)
    assert report_of(run) == first
    moved = Path(shutil.copytree(run, tmp_path / "elsewhere" / run.name))
    assert report_of(moved) == first


def test_report_needs_no_keras(run: Path) -> None:
    code = (
        "import sys; from tlkit.report import write_report; write_report(sys.argv[1]); "
        "print(sorted({'keras', 'tensorflow', 'jax', 'torch', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_page_refers_to_nothing_outside_itself(run: Path) -> None:
    page, _, _ = report_of(run)
    references = re.findall(r"""(?:src|href|action|data|srcset|poster)=["']([^"']*)""", page)
    assert references
    assert all(reference.startswith(("#", "data:")) for reference in references)
    assert not re.findall(r"@import|url\(|https?://", page)
    assert "default-src 'none'" in html.unescape(page)


def test_page_tells_the_figures_of_the_run(run: Path) -> None:
    page, _, facts = report_of(run)
    metrics = json.loads((run / "metrics.json").read_text())
    assert facts["results"]["test"]["accuracy"] == metrics["test"]["accuracy"]
    assert f"{metrics['test']['accuracy'] * 100:.1f}\u202f%" in facts["verdict"]
    assert facts["verdict"] in page.replace("&#34;", '"')
    for text in ("zero/cut short.jpg", "the file ends too early", "2 images are alike.", "An example processor"):
        assert text in page
    assert "tlkit finetune --config runs/demo/config.toml" in page


def test_mistakes_are_ordered_by_the_probability_of_the_truth(run: Path) -> None:
    _, _, facts = report_of(run)
    given = [row["true_probability"] for row in facts["mistakes"]]
    assert given == sorted(given)
    assert all(row["label"] != row["predicted"] for row in facts["mistakes"])
    sure = [row["confidence"] for row in facts["unsure_hits"]]
    assert sure == sorted(sure)
    assert facts["num_mistakes"] == round((1 - facts["results"]["test"]["accuracy"]) * 150)


def test_without_a_test_part_validation_is_shown_and_said_to_flatter(
    tmp_path: Path, build_run: Callable[..., Path]
) -> None:
    page, markdown, facts = report_of(build_run(tmp_path / "run", num_images=200, test_share=0))
    assert facts["judged_split"] == "validation"
    assert facts["results"]["test"] is None
    for text in (page, markdown):
        assert "no test part" in text
        assert "test images were looked at once" not in text


def test_two_classes_show_sensitivity_and_curves(tmp_path: Path, build_run: Callable[..., Path]) -> None:
    folder = build_run(tmp_path / "run", num_images=200, digits=(1, 8), class_names=("one", "eight"))
    page, markdown, facts = report_of(folder)
    assert facts["two_classes"]["true_positives"] > 0
    assert "ROC curve" in page
    assert "Sensitivity" in markdown


def digest_of(index: int) -> str:
    return hashlib.sha256(str(index).encode()).hexdigest()


def made_run(
    folder: Path, write_folder: Callable[..., None], labels: np.ndarray, probabilities: np.ndarray, names: list[str]
) -> Path:
    """Writes a run of which every fourth image is for training, every fourth for validation, the others for test."""
    splits = np.array(["train", "validation", "test", "test"], object)[np.arange(len(labels)) % 4]
    parts = {split: probabilities[splits == split] for split in ("validation", "test")}
    items = [f"{index}.png" for index in range(len(labels))]
    digests = [digest_of(index) for index in range(len(labels))]
    write_folder(folder, items, labels, splits, digests, names, parts, HISTORY)
    return folder


def test_class_without_test_images_and_one_class_predicted(tmp_path: Path, write_folder: Callable[..., None]) -> None:
    labels = np.arange(80) // 4 % 2
    probabilities = np.tile(np.float32([0.6, 0.3, 0.1]), (80, 1))
    page, markdown, facts = report_of(made_run(tmp_path / "run", write_folder, labels, probabilities, list("abc")))
    told = " ".join(hint["text"] for hint in facts["hints"])
    assert "no test image, so nothing is known about “c”" in told
    assert "names “a” for every image" in told
    assert facts["per_class"][2]["recall"] is None
    for text in (page, markdown):
        assert "nan" not in text.lower().replace("nanum", "")
    assert "The model is not shown to beat the simplest guess" in told


def test_all_right_and_no_picture_kept(tmp_path: Path, write_folder: Callable[..., None]) -> None:
    labels = np.arange(40) // 4 % 3
    page, _, facts = report_of(
        made_run(tmp_path / "run", write_folder, labels, np.eye(3, dtype=np.float32)[labels], list("abc"))
    )
    assert "There was no mistake among 20 test images." in page
    assert "picture<br>not kept" in page
    assert facts["confused_pairs"] == []
    assert facts["results"]["test"]["intervals"]["accuracy"][0] < 0.9


def test_nothing_evaluated(run: Path) -> None:
    (run / "metrics.json").write_text('{"validation": null, "test": null, "baseline": null, "calibration": null}')
    (run / "predictions.csv").write_text("item,split,label,predicted,confidence,correct\n")
    np.save(run / "probabilities.npy", np.zeros((0, 10), np.float32))
    page, markdown, _ = report_of(run)
    assert "nothing can be said" in page
    assert "No image was evaluated." in markdown


def test_empty_history_and_audit(run: Path) -> None:
    (run / "history.csv").write_text((run / "history.csv").read_text().splitlines()[0] + "\n")
    (run / "audit.json").write_text("{}")
    page, _, _ = report_of(run)
    assert "No training was recorded." in page
    assert "Nothing was found amiss" in page


def test_long_lists_end_and_say_so(run: Path) -> None:
    items = [f"{index}.png" for index in range(150)]
    finding = {"kind": "tiny", "severity": "note", "message": "150 images are tiny.", "items": items}
    (run / "audit.json").write_text(json.dumps({"findings": [finding]}))
    lines = (run / "manifest.csv").read_text().splitlines()
    broken = [f"broken {index}.png,zero,,,,set aside,empty file" for index in range(300)]
    (run / "manifest.csv").write_text("\n".join([*lines, *broken]) + "\n")
    page, markdown, facts = report_of(run)
    assert facts["data"]["findings"][0]["num_items"] == 150
    assert "and 50 more in audit.json" in page
    for text in (page, markdown):
        assert "The first 200; manifest.csv names all." in text
        assert "broken 299.png" not in text
    assert len(facts["data"]["set_aside"]) == 302


def test_what_a_run_may_add_is_shown(run: Path) -> None:
    environment = json.loads((run / "environment.json").read_text())
    environment["peak_memory_bytes"] = {"Fitting the head": 1_500_000_000}
    environment["parameters"] = {"total": 3_400_000, "trainable": 12_810}
    (run / "environment.json").write_text(json.dumps(environment))
    (run / "model.keras").write_bytes(b"0" * 2_500_000)
    page = report_of(run)[0].replace("\u202f", " ")
    for text in ("Peak memory", "1.5 GB", "12,810 of 3,400,000 parameters were trained", "The model file has 2.5 MB"):
        assert text in page


def test_wanted_sensitivity_is_told_with_its_threshold(tmp_path: Path, build_run: Callable[..., Path]) -> None:
    folder = build_run(tmp_path / "run", num_images=200, digits=(1, 8), class_names=("one", "eight"))
    metrics = json.loads((folder / "metrics.json").read_text())
    judged = metrics["test"]["two_classes"] | {"threshold": 0.123}
    metrics["screening"] = {"wanted_sensitivity": 0.95, "validation": judged, "test": judged}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    page, markdown, _ = report_of(folder)
    for text in (page.replace("\u202f", " "), markdown.replace("\u202f", " ")):
        assert "0.123" in text
        assert "chosen on the validation images to find 95.0 % of them" in text


def test_failed_run_is_said_to_have_failed(run: Path) -> None:
    (run / "state.json").write_text('{"status": "failed", "version": 1}')
    assert "This run failed before its end" in report_of(run)[0]


@pytest.mark.parametrize("digest", ["../secret", "/etc/passwd", "ABCDEF", ""])
def test_a_digest_cannot_name_another_folder(run: Path, digest: str) -> None:
    (run / "secret.jpg").write_bytes(b"\xff\xd8\xff secret")
    text = (run / "manifest.csv").read_text().splitlines()
    text[1:] = [",".join([*(cells := line.split(","))[:4], digest, *cells[5:]]) for line in text[1:]]
    (run / "manifest.csv").write_text("\n".join(text) + "\n")
    assert "data:image" not in report_of(run)[0].split("<script>")[0]


def test_page_stays_below_5_mb_with_800_large_thumbnails(tmp_path: Path, write_folder: Callable[..., None]) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(4, size=1600)
    probabilities = generator.dirichlet(np.ones(4), size=1600).astype(np.float32)
    folder = made_run(tmp_path / "run", write_folder, labels, probabilities, list("abcd"))
    for digest in (digest_of(index) for index in range(1600) if index % 4 > 1):
        (folder / "thumbnails" / f"{digest[:32]}.jpg").write_bytes(b"\xff\xd8\xff" + generator.bytes(9_000))
    size = write_report(folder).stat().st_size
    assert 3_000_000 < size < 5_000_000


HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(2)>',
    "{{ 7 * 7 }}{% raw %}",
    "=HYPERLINK(1)",
    "\u202egnp.exe",
    "`code` | *star* [link](javascript:alert(3))",
    "<!-- comment",
    "a'b\"c &amp; \\",
    "名前 の クラス",
    "line one<br>\u2028line two",
)


def test_hostile_names_are_text_in_the_markdown(tmp_path: Path, build_run: Callable[..., Path]) -> None:
    folder = build_run(tmp_path / "run", class_names=HOSTILE, item_name="{label}/{number}<img src=y>.png")
    _, markdown, _ = report_of(folder)
    shown = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    assert set(re.findall(r"<([a-z0-9]+)", shown)) <= {"h1", "h2", "h3", "p", "ul", "li", "strong", "pre", "code"} | {
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    tables = re.findall(r"<table>.*?</table>", shown, re.DOTALL)
    assert all(len(set(re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL))) > 1 for table in tables)
    assert "\u202e" not in markdown
    assert "名前 の クラス" in markdown


@pytest.mark.slow
def test_many_images_and_classes_stay_within_memory(tmp_path: Path, write_folder: Callable[..., None]) -> None:
    pytest.importorskip("resource")
    generator = np.random.default_rng(0)
    labels = generator.integers(100, size=20_000)
    scores = generator.normal(size=(20_000, 100)) + 4 * np.eye(100)[labels]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    folder = made_run(tmp_path / "run", write_folder, labels, probabilities, [f"class {index}" for index in range(100)])
    code = (
        "import resource, sys; from tlkit.report import write_report; write_report(sys.argv[1]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 1_000_000_000
