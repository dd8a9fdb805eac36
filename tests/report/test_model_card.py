"""The model card: a head that a hub can read, text that holds the run's figures."""

from __future__ import annotations

import json
from pathlib import Path

from tlkit.report import write_report


def test_head_holds_the_metrics_and_text_the_use(run: Path) -> None:
    (run / "config.toml").write_text('[data]\ndata = "a: [b] \\n---\\n#"\n[model]\nimage_size = 96\n')
    write_report(run)
    card = (run / "model_card.md").read_text(encoding="utf-8")
    _, head, text = card.split("---\n", 2)
    lines = dict(line.split(": ", 1) for line in head.splitlines() if not line.startswith(("-", "model-index")))
    assert lines["library_name"] == "keras"
    assert json.loads(lines["tags"])[0] == "keras"
    (index,) = (json.loads(line[2:]) for line in head.splitlines() if line.startswith("- "))
    (result,) = index["results"]
    metrics = json.loads((run / "metrics.json").read_text())["test"]
    assert {one["type"]: one["value"] for one in result["metrics"]} == {
        "accuracy": metrics["accuracy"],
        "f1": metrics["macro_f1"],
    }
    assert result["dataset"]["name"] == "a: [b] \n---\n#"
    assert "(images, 96, 96, 3)" in text
    assert 'keras.models.load_model("model.keras")' in text
    assert "## Limitations" in text
