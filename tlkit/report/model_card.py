"""Makes model_card.md in the form that the Hugging Face hub reads: metadata first, then text.

Source: https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import json
from typing import Any

import tlkit.report.words as words
from tlkit.report.markdown import markdown_table, plain, plain_sentence
from tlkit.report.telling import FIGURES, figure_cells

METRICS = (("accuracy", "Accuracy", "accuracy"), ("f1", "Macro F1", "macro_f1"))


def render_model_card(facts: dict[str, Any]) -> str:
    """Returns the model card of a run.

    Args:
        facts: From `gather_facts`.
    """
    parts = [_metadata(facts), f"# {plain(facts['run'])}", plain_sentence(facts["verdict"])]
    parts += _use(facts) + _data(facts) + _training(facts) + _evaluation(facts) + _limits(facts)
    return "\n\n".join(parts) + "\n"


def _metadata(facts: dict[str, Any]) -> str:
    """Returns the YAML head; each value is written as JSON, which YAML takes as it is."""
    lines = ["---", "library_name: keras", "pipeline_tag: image-classification"]
    lines.append("tags: " + json.dumps(["keras", "image-classification", "transfer-learning", "tlkit"]))
    if facts["judged_split"]:
        lines += ["model-index:", "- " + json.dumps(_index(facts), ensure_ascii=False)]
    return "\n".join([*lines, "---"])


def _index(facts: dict[str, Any]) -> dict[str, Any]:
    judged = facts["results"][facts["judged_split"]]
    metrics = [
        {"type": kind, "name": label, "value": judged[name]}
        for kind, label, name in METRICS
        if judged.get(name) is not None
    ]
    dataset = {"type": "imagefolder", "name": str(facts["data"]["source"]), "split": facts["judged_split"]}
    result = {"task": {"type": "image-classification"}, "dataset": dataset, "metrics": metrics}
    return {"name": facts["run"], "results": [result]}


def _use(facts: dict[str, Any]) -> list[str]:
    model = facts["asked"]["config"].get("model", {})
    size = facts["data"]["transform"].get("image_size") or model.get("image_size") or "SIZE"
    told = (
        f"The model takes raw pixels from 0 to 255 of shape (images, {size}, {size}, 3) and gives one probability a "
        f"class, in the order of labels.txt ({words.counted(len(facts['class_names']), 'class', 'classes')}). "
        "Preprocessing is part of it."
    )
    code = (
        '```python\nimport keras\n\nmodel = keras.models.load_model("model.keras")\n'
        'class_names = open("labels.txt", encoding="utf-8").read().splitlines()\n'
        "probabilities = model.predict(images)\n```"
    )
    return ["## How to use", told, code]


def _data(facts: dict[str, Any]) -> list[str]:
    data, totals = facts["data"], facts["data"]["totals"]
    told = (
        f"{words.counted(data['usable'], 'image')} from {plain(data['source'])}: {totals['train']:,} for training, "
        f"{totals['validation']:,} for validation, {totals['test']:,} for test."
    )
    return ["## Training data", told]


def _training(facts: dict[str, Any]) -> list[str]:
    settings = [
        f"- {plain(table)}.{plain(option)}: {plain(value)}"
        for table, options in facts["asked"]["config"].items()
        if isinstance(options, dict)
        for option, value in options.items()
    ]
    return ["## Training procedure", "\n".join(settings)] if settings else []


def _evaluation(facts: dict[str, Any]) -> list[str]:
    split = facts["judged_split"]
    if split is None:
        return []
    judged = facts["results"][split]
    rows = [(label, *figure_cells(judged, name, kind)) for label, name, kind in FIGURES if judged.get(name) is not None]
    return ["## Evaluation", markdown_table(("Figure", split.capitalize(), "95 % interval"), rows)]


def _limits(facts: dict[str, Any]) -> list[str]:
    lines = [f"- {plain_sentence(hint['text'])}" for hint in facts["hints"]]
    return ["## Limitations", "\n".join(lines)] if lines else []
