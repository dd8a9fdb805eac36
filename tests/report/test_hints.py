"""Each hint appears where its figures call for it, and not otherwise."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tlkit.report.facts import gather_facts
from tlkit.report.hints import MOST_HINTS, make_hints
from tlkit.report.reading import read_run

Facts = dict[str, Any]


@pytest.fixture(scope="module")
def healthy(kept_run: Path) -> Facts:
    """Facts of a run that gives no cause for any hint."""
    facts = gather_facts(read_run(kept_run))
    for row in facts["per_class"]:
        row.update(recall=0.95, predicted=row["support"])
    facts["results"]["test"].update(accuracy=0.95, intervals={"accuracy": [0.93, 0.97]})
    facts["results"]["validation"].update(accuracy=0.95)
    facts.update(confused_pairs=[], sure_mistakes=0, calibration=None)
    facts["data"]["set_aside"] = []
    facts["explained"] |= {"phases": [], "label_issues": None, "cross_validation": None}
    row = {"epoch": 0, "penalty": None, "loss": 0.1, "accuracy": 0.96, "val_loss": 0.2, "val_accuracy": 0.95}
    facts["training"]["phases"] = [{"name": "head", "kind": "epochs", "best": 1, "rows": [row] * 3}]
    return facts


def rare_class(facts: Facts) -> None:
    facts["per_class"][3].update(recall=0.3, support=10, train=9)


def no_better_than_guessing(facts: Facts) -> None:
    facts["baseline"] = {"class_name": "zero", "accuracy": 0.94}


def no_test_part(facts: Facts) -> None:
    facts["judged_split"] = "validation"


def class_without_images(facts: Facts) -> None:
    facts["per_class"][2].update(support=0, recall=None)


def class_never_named(facts: Facts) -> None:
    facts["per_class"][2].update(predicted=0)


def one_class_named(facts: Facts) -> None:
    for row in facts["per_class"][1:]:
        row.update(predicted=0)


def confused_pair(facts: Facts) -> None:
    facts["confused_pairs"] = [{"label": "five", "predicted": "six", "count": 7, "support": 30, "reverse": 2}]


def sure_mistakes(facts: Facts) -> None:
    facts["sure_mistakes"] = 4


def learnt_by_heart(facts: Facts) -> None:
    facts["training"]["phases"][0]["rows"] = [row | {"val_accuracy": 0.7} for row in phase_rows(facts)]


def still_improving(facts: Facts) -> None:
    facts["training"]["phases"][0]["best"] = 2


def end_of_the_path(facts: Facts) -> None:
    rows = [row | {"penalty": 10.0**-index} for index, row in enumerate(phase_rows(facts))]
    facts["training"]["phases"][0].update(kind="penalties", rows=rows, best=0)


def phase_rows(facts: Facts) -> list[Facts]:
    return facts["training"]["phases"][0]["rows"]


def wide_interval(facts: Facts) -> None:
    facts["results"]["test"]["intervals"] = {"accuracy": [0.8, 0.99]}


def validation_flatters(facts: Facts) -> None:
    facts["results"]["test"].update(accuracy=0.8, intervals={"accuracy": [0.78, 0.82]})


def too_sure(facts: Facts) -> None:
    measured = {"before": {"expected_calibration_error": 0.12}, "after": {"expected_calibration_error": 0.02}}
    facts["calibration"] = {"temperature": 1.8, "test": measured}


def scaling_harms(facts: Facts) -> None:
    measured = {"before": {"expected_calibration_error": 0.02}, "after": {"expected_calibration_error": 0.04}}
    facts["calibration"] = {"temperature": 0.8, "test": measured}


def one_picture_under_two_labels(facts: Facts) -> None:
    message = "1 picture under two labels, the very same file, such as a/1.png (a), b/1.png (b)."
    facts["data"]["findings"] = [{"kind": "conflicting labels", "severity": "error", "message": message}]


def uneven_classes(facts: Facts) -> None:
    facts["data"]["classes"][0]["train"] = 2


def files_set_aside(facts: Facts) -> None:
    facts["data"]["set_aside"] = [{"item": "a", "label": "b", "problem": "c"}]


def test_a_healthy_run_gives_no_hint(healthy: Facts) -> None:
    assert make_hints(healthy) == []


@pytest.mark.parametrize(
    ("change", "severity", "text"),
    [
        (rare_class, "warning", "Class “three” has 9 training images and recall 0.30 (3 of 10 found). More pictures"),
        (no_better_than_guessing, "warning", "not shown to beat the simplest guess"),
        (no_test_part, "warning", "There is no test part"),
        (class_without_images, "warning", "1 class has no test image, so nothing is known about “two”"),
        (class_never_named, "warning", "The model never names “two”"),
        (one_class_named, "warning", "names “zero” for every image"),
        (confused_pair, "note", "7 of 30 images of “five” are taken for “six” (the reverse: 2)"),
        (sure_mistakes, "note", "4 mistakes had a confidence above 99.0"),
        (learnt_by_heart, "note", "learnt the training images by heart"),
        (still_improving, "note", "still improving in its last epoch"),
        (end_of_the_path, "note", "The best penalty, 1, is at the end of the path"),
        (wide_interval, "note", "With 150 test images the accuracy is known only to 80.0–99.0"),
        (validation_flatters, "note", "trust the test figure"),
        (too_sure, "note", "too sure of itself: its confidence is off by 12.0 points"),
        (scaling_harms, "note", "confidence is off by 2.0 points as the model stands and by 4.0 after it"),
        (one_picture_under_two_labels, "warning", "b/1.png (b). At most one of the labels is right"),
        (uneven_classes, "note", "Classes are uneven: 35 training images of “three”, 2 of “zero”"),
        (files_set_aside, "note", "1 of 602 files could not be used and was set aside"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_hint_for_its_cause(healthy: Facts, change: Callable[[Facts], None], severity: str, text: str) -> None:
    facts = copy.deepcopy(healthy)
    change(facts)
    hints = make_hints(facts)
    assert [hint["severity"] for hint in hints if text in hint["text"]] == [severity], hints


def test_what_names_one_class_is_not_said_to_have_learnt_by_heart(healthy: Facts) -> None:
    facts = copy.deepcopy(healthy)
    learnt_by_heart(facts)
    one_class_named(facts)
    assert not any("by heart" in hint["text"] for hint in make_hints(facts))


def test_warnings_come_first_and_the_list_ends(healthy: Facts) -> None:
    facts = copy.deepcopy(healthy)
    for change in (confused_pair, sure_mistakes, learnt_by_heart, still_improving, wide_interval, validation_flatters):
        change(facts)
    for change in (too_sure, uneven_classes, files_set_aside, rare_class, class_never_named, no_better_than_guessing):
        change(facts)
    hints = make_hints(facts)
    assert len(hints) == MOST_HINTS
    severities = [hint["severity"] for hint in hints]
    assert severities == sorted(severities, reverse=True)
    assert severities.count("warning") == 3
