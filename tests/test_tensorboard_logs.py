from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tlkit.tensorboard_logs import write_tensorboard_logs

PROBE = {"phase": "probe", "epoch": 0, "penalty": 0.1, "learning_rate": None, "loss": 9.0, "accuracy": 0.1}


def epoch(phase: str, number: int, loss: float, **given: object) -> dict:
    row = {"phase": phase, "epoch": number, "penalty": None, "learning_rate": 1e-3 / (number + 1), "loss": loss}
    return row | {"accuracy": 1 - loss / 10, "val_loss": loss + 0.5, "val_accuracy": 0.9 - loss / 10} | given


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_tensorboard_reads_every_epoch_of_every_phase(tmp_path: Path) -> None:
    rows = [PROBE, epoch("head", 0, 2.0), epoch("head", 1, 1.5), epoch("body", 0, 1.0)]
    folder = write_tensorboard_logs(tmp_path / "logs", rows)
    train, validation = read(folder / "train"), read(folder / "validation")
    assert train["epoch_loss"] == [(0, 2.0), (1, 1.5), (2, 1.0)]
    assert validation["epoch_loss"] == [(0, 2.5), (1, 2.0), (2, 1.5)]
    assert [value for _, value in train["epoch_learning_rate"]] == pytest.approx([1e-3, 5e-4, 1e-3])
    assert [value for _, value in validation["epoch_accuracy"]] == pytest.approx([0.7, 0.75, 0.8])


def test_missing_values_and_no_epoch_are_no_trouble(tmp_path: Path) -> None:
    row = epoch("head", 0, 2.0, val_loss="", val_accuracy=None, penalty="")
    write_tensorboard_logs(tmp_path / "some", [row])
    assert read(tmp_path / "some" / "validation") == {}
    assert read(tmp_path / "some" / "train")["epoch_loss"] == [(0, 2.0)]
    write_tensorboard_logs(tmp_path / "none", [PROBE])
    assert read(tmp_path / "none" / "train") == {}
