"""The history of a run as TensorBoard event files, for those who keep their runs there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# Name of a scalar in TensorBoard, part of the data, column of history.csv.
SCALARS = (
    ("loss", "train", "loss"),
    ("accuracy", "train", "accuracy"),
    ("learning_rate", "train", "learning_rate"),
    ("loss", "validation", "val_loss"),
    ("accuracy", "validation", "val_accuracy"),
)


def write_tensorboard_logs(folder: str | Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes the epochs of a history as event files, as `keras.callbacks.TensorBoard` names them.

    Training and validation lie in folders of their own, so that TensorBoard draws both in one chart. Epochs are
    counted through all phases; the penalties of a convex head are no epochs and are left out.

    Args:
        folder: Where to write; `train` and `validation` are made in it.
        rows: Of history.csv: `penalty`, `learning_rate`, `loss`, `accuracy`, `val_loss`, `val_accuracy`; None or an
            empty text where a value is missing.

    Returns:
        The folder, for `tensorboard --logdir`.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder = Path(folder)
    writers = {part: EventFileWriter(str(folder / part)) for part in ("train", "validation")}
    epochs = [row for row in rows if row.get("penalty") in (None, "")]
    for step, row in enumerate(epochs):
        for name, part, column in SCALARS:
            if row.get(column) not in (None, ""):
                value = Summary.Value(tag=f"epoch_{name}", simple_value=float(row[column]))
                writers[part].add_event(Event(step=step, summary=Summary(value=[value])))
    for writer in writers.values():
        writer.close()
    return folder
