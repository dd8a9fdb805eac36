"""Makes report.md: the facts of the page as text, readable as it stands and by any Markdown viewer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import tlkit.report.words as words
from tlkit.report.telling import (
    FIGURES,
    environment_rows,
    figure_cells,
    told_best,
    told_cross_validation,
    told_label_issues,
)
from tlkit.report.varied import told_augmentation

# What Markdown takes for markup anywhere; an underscore inside a word, or an ampersand that opens no entity, is none.
ANYWHERE = re.compile(r"[\\`*\[\]<|~]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")
AT_START = re.compile(r"^(\d*)([-+#>=]|(?<=\d)[.)](?=\s|$))")
MOST_ROWS = 20
MOST_FILES = 200


def plain(text: Any) -> str:
    """Returns text from the data so that no Markdown viewer takes any of it for markup or for a link."""
    return AT_START.sub(r"\1\\\2", plain_sentence(words.visible(str(text))))


def render_markdown(facts: dict[str, Any]) -> str:
    """Returns the report as Markdown.

    Args:
        facts: From `gather_facts`.
    """
    parts = [f"# {plain(facts['run'])}", plain_sentence(facts["verdict"])]
    parts += [plain(note) for note in (facts["evaluated"] or {}).get("notes", [])]
    parts += _hints(facts) + _results(facts) + _classes(facts) + _mistakes(facts) + _calibration(facts)
    parts += _data(facts) + _labels(facts) + _training(facts) + _symmetry(facts) + _made(facts)
    return "\n\n".join(parts) + "\n"


def plain_sentence(text: str) -> str:
    """Escapes a sentence of ours that quotes names from the data."""
    return ANYWHERE.sub(lambda match: f"\\{match.group()}", text).replace("://", ":\\//")


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a table; its cells must be plain already."""
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    return "\n".join([head, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def _hints(facts: dict[str, Any]) -> list[str]:
    if not facts["hints"]:
        return []
    lines = [
        f"- {'**Warning:** ' if hint['severity'] == 'warning' else ''}{plain_sentence(hint['text'])}"
        for hint in facts["hints"]
    ]
    return ["## What to look at", "\n".join(lines)]


def _results(facts: dict[str, Any]) -> list[str]:
    results = {split: one for split, one in facts["results"].items() if one}
    if not results:
        return ["## Results", "No image was evaluated."]
    columns = ["Figure"] + [text for split in results for text in (split.capitalize(), "95 % interval")]
    rows = []
    for label, name, kind in FIGURES:
        if any(one.get(name) is not None for one in results.values()):
            rows.append([label, *(text for one in results.values() for text in figure_cells(one, name, kind))])
    return ["## Results", markdown_table(columns, rows), *_pairs(facts), *_two_classes(facts)]


def _pairs(facts: dict[str, Any]) -> list[str]:
    if not facts["confused_pairs"]:
        return []
    rows = [
        (plain(pair["label"]), plain(pair["predicted"]), pair["count"], pair["support"], pair["reverse"])
        for pair in facts["confused_pairs"][:MOST_ROWS]
    ]
    return ["### Commonest mistakes", markdown_table(("True class", "Taken for", "Images", "Of", "Reverse"), rows)]


def _two_classes(facts: dict[str, Any]) -> list[str]:
    two = facts["two_classes"]
    if not two:
        return []
    rows = [
        (name.capitalize(), words.percent(two[name]), words.percent_interval(two[f"{name}_interval"]))
        for name in ("sensitivity", "specificity", "precision")
    ]
    told = f"Class to find: {plain(facts['class_names'][1])}, threshold {words.number(two['threshold'])}."
    if two["wanted_sensitivity"] is not None:
        told += f" It was chosen on the validation images to find {words.percent(two['wanted_sensitivity'])} of them."
    return ["### Two classes", told, markdown_table(("Figure", "Value", "95 % interval"), rows)]


def _classes(facts: dict[str, Any]) -> list[str]:
    rows = [
        (
            plain(row["class_name"]),
            row["train"],
            row["support"],
            words.percent(row["recall"]),
            words.percent_interval(row["recall_interval"]),
            words.percent(row["precision"]),
            words.number(row["f1"]),
        )
        for row in facts["per_class"]
    ]
    columns = ("Class", "Training images", "Images", "Recall", "95 % interval", "Precision", "F1")
    return ["## Classes", markdown_table(columns, rows)] if rows else []


def _mistakes(facts: dict[str, Any]) -> list[str]:
    rows = [
        (plain(row["item"]), plain(row["label"]), plain(row["predicted"]), words.percent(row["confidence"]))
        for row in facts["mistakes"]
    ]
    return (
        ["## Worst mistakes", markdown_table(("Image", "True class", "Taken for", "Confidence"), rows)] if rows else []
    )


def _calibration(facts: dict[str, Any]) -> list[str]:
    measured = (facts["calibration"] or {}).get(facts["judged_split"])
    if not measured:
        return []
    rows = [
        (when, words.number(measured[when]["expected_calibration_error"]), words.number(measured[when]["log_loss"]))
        for when in ("before", "after")
    ]
    told = f"Temperature {words.number(facts['calibration']['temperature'])}, chosen on the validation images."
    return ["## Calibration", told, markdown_table(("Scaling", "Expected calibration error", "Log-loss"), rows)]


def _data(facts: dict[str, Any]) -> list[str]:
    data = facts["data"]
    parts = [
        "## Data",
        f"{words.counted(data['items'], 'file')} from {plain(data['source'])}, {data['usable']:,} usable.",
    ]
    findings = [
        f"- {finding['severity']}: {plain_sentence(words.visible(finding['message']))}" for finding in data["findings"]
    ]
    parts += ["\n".join(findings)] if findings else []
    if data["set_aside"]:
        rows = [(plain(row["item"]), plain(row["problem"])) for row in data["set_aside"][:MOST_FILES]]
        parts += ["### Files set aside", markdown_table(("File", "Why"), rows)]
        parts += [f"The first {MOST_FILES}; manifest.csv names all."] if len(data["set_aside"]) > MOST_FILES else []
    splits = [split for split in ("train", "validation", "test") if data["totals"][split]]
    rows = [(plain(row["class_name"]), *(row[split] for split in splits)) for row in data["classes"]]
    rows.append(("**All classes**", *(data["totals"][split] for split in splits)))
    return [*parts, "### Images by class", markdown_table(("Class", *(split.capitalize() for split in splits)), rows)]


def _labels(facts: dict[str, Any]) -> list[str]:
    found = facts["explained"]["label_issues"]
    if not found:
        return []
    rows = [
        (
            plain(row["item"]),
            plain(row["split"]),
            plain(row["label"]),
            plain(row["suggested"]),
            words.percent(row["confidence"]),
        )
        for row in found["shown"]
    ]
    columns = ("Image", "Part", "Labelled", "Looks like", "Confidence")
    return ["## Labels that look wrong", told_label_issues(found), *([markdown_table(columns, rows)] if rows else [])]


def _phases(facts: dict[str, Any]) -> list[str]:
    folds = facts["explained"]["cross_validation"]
    rows = [
        (
            plain(row["phase"]) + ("" if row.get("kept", True) else " (undone)"),
            words.percent(row["accuracy"]),
            words.points(row["gain"]),
            words.points_interval([row["low"], row["high"]]),
            words.number(row["log_loss"]),
        )
        for row in facts["explained"]["phases"]
    ]
    columns = ("Phase", "Validation accuracy", "Gain, points", "95 % interval", "Log-loss")
    parts = [told_cross_validation(folds)] if folds else []
    return [*parts, *(["### What each phase gained", markdown_table(columns, rows)] if rows else [])]


def _training(facts: dict[str, Any]) -> list[str]:
    parts = ["## Training", *_augmentation(facts), *_phases(facts)]
    for phase in facts["training"]["phases"]:
        place = "Penalty" if phase["kind"] == "penalties" else "Epoch"
        rows = [
            (
                words.short_number(row["penalty"]) if phase["kind"] == "penalties" else (row["epoch"] or 0) + 1,
                words.number(row["loss"], 4),
                words.percent(row["accuracy"]),
                words.number(row["val_loss"], 4),
                words.percent(row["val_accuracy"]),
            )
            for row in phase["rows"]
        ]
        columns = (place, "Loss", "Accuracy", "Validation loss", "Validation accuracy")
        parts += [f"### Phase {plain(phase['name'])}", told_best(phase), markdown_table(columns, rows)]
        parts += [f"Gradients: {plain_sentence(phase['gradients']['message'])}"] if phase["gradients"] else []
    return parts


def _augmentation(facts: dict[str, Any]) -> list[str]:
    found = facts["augmentation"]
    if not found:
        return []
    told = plain_sentence(" ".join([f"Preset {found['preset']}.", *told_augmentation(found)]))
    layers = "\n".join(f"- {plain(layer)}" for layer in found["layers"])
    return ["### How training pictures were varied", told, *([layers] if layers else [])]


def _symmetry(facts: dict[str, Any]) -> list[str]:
    rows = [
        (
            plain(row["transformation"]),
            *(
                words.percent(row[when][name]) if row[when] else words.UNDEFINED
                for name in ("agreement", "change")
                for when in ("before", "after")
            ),
        )
        for row in facts["symmetry"]
    ]
    columns = ("Moved by", "Same class before", "After", "Probability moved before", "After")
    return ["## Symmetry", markdown_table(columns, rows)] if rows else []


def _made(facts: dict[str, Any]) -> list[str]:
    command = facts["asked"]["command"]
    parts = ["## How it was made"]
    if command:
        fence = "`" * (max([2, *(len(run) for run in re.findall("`+", command))]) + 1)
        parts.append(f"{fence}\n{words.visible(command)}\n{fence}")
    steps = [(plain(step), words.duration(seconds)) for step, seconds in facts["cost"]["seconds"].items()]
    parts.append(
        markdown_table(("Step", "Time"), [*steps, ("All steps", words.duration(facts["cost"]["total_seconds"]))])
    )
    lines = [f"- {plain(name)}: {plain(value)}" for name, value in environment_rows(facts)]
    return [*parts, "\n".join(lines)]
