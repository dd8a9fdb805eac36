"""What a run leaves behind for the report: predictions, probabilities, small pictures."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit import environment, run

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from tlkit.data.manifest import Manifest
    from tlkit.data.store import Store

MAX_THUMBNAILS = 800
KEPT_FOR_LABEL_ISSUES = 24  # Of those 800: training images whose label looks wrong.
THUMBNAIL_SIZE = 96  # Pixels of the longer side.


def prediction_table(manifest: Manifest, probabilities: dict[str, np.ndarray]) -> pd.DataFrame:
    """Returns one row a predicted image, part after part.

    Args:
        manifest: With its split.
        probabilities: For each part of the split, float of shape (images of the part, classes), in manifest order.

    Returns:
        Columns item, split, label, predicted (class names), confidence (0 to 1, the probability of the predicted
        class), correct and true_probability; the index is the image's row in the manifest.
    """
    import pandas as pd

    names = np.array(manifest.class_names, dtype=object)
    parts = []
    for split, values in probabilities.items():
        indices = manifest.indices(split)
        labels, predicted = manifest.labels(split), values.argmax(axis=1)
        columns = {
            "item": manifest.items["item"].to_numpy()[indices],
            "split": split,
            "label": names[labels],
            "predicted": names[predicted],
            "confidence": values.max(axis=1).round(6),
            "correct": labels == predicted,
            "true_probability": values[np.arange(len(labels)), labels].round(6),
        }
        parts.append(pd.DataFrame(columns, index=indices))
    return pd.concat(parts)


def write_predictions(folder: Path, table: pd.DataFrame, probabilities: dict[str, np.ndarray]) -> None:
    """Writes predictions.csv and, row by row the same, probabilities.npy (float32)."""
    safe = table.assign(**{name: table[name].map(run.safe_cell) for name in ("item", "label", "predicted")})
    run.write_text(folder / run.PREDICTIONS, safe.to_csv(index=False, lineterminator="\n"))
    buffer = io.BytesIO()
    np.save(buffer, np.concatenate(list(probabilities.values())).astype("float32"), allow_pickle=False)
    run.write_bytes(folder / run.PROBABILITIES, buffer.getvalue())


def write_thumbnails(folder: Path, table: pd.DataFrame, manifest: Manifest, store: Store) -> None:
    """Writes small JPEGs of the pictures the report may show: the worst mistakes and least sure first, every class."""
    save_thumbnails(folder, chosen_pictures(table), manifest, store)


def save_thumbnails(folder: Path, rows: Iterable[int], manifest: Manifest, store: Store) -> None:
    """Writes small JPEGs of rows of the manifest, named by digest; whole ones that are there stay."""
    from PIL import Image

    (folder / run.THUMBNAILS).mkdir(exist_ok=True)
    digests = manifest.items["digest"].to_numpy()
    for row in rows:
        path = folder / run.THUMBNAILS / f"{digests[row][:32]}.jpg"
        if not (path.exists() and path.stat().st_size):  # A power cut may have left an empty one.
            image = Image.fromarray(store.pixels(np.array([row]))[0])
            image.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))
            run.write_bytes(path, jpeg(image), durable=False)


def jpeg(image: Image.Image) -> bytes:
    """Returns a picture as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def chosen_pictures(table: pd.DataFrame) -> list[int]:
    """Picks at most 776 images of the judged part, as many of each class, by how wrong, then how unsure, they are."""
    shown = judged_part(table)
    order = np.where(shown["correct"], 1 + shown["confidence"], 1 - shown["confidence"])
    ranked = shown.assign(order=order).sort_values("order", kind="stable")
    rank_in_class = ranked.groupby("label", sort=False).cumcount()
    return ranked.index[np.argsort(rank_in_class.to_numpy(), kind="stable")][
        : MAX_THUMBNAILS - KEPT_FOR_LABEL_ISSUES
    ].tolist()


def judged_part(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of the test part, or all where there is no test part."""
    shown = table[table["split"] == "test"]
    return shown if len(shown) else table


def write_environment(folder: Path, command: str, started: str, cost: dict[str, Any]) -> None:
    """Writes environment.json: the machine, the backend, and what the run took of them.

    Args:
        folder: The run folder.
        command: That makes the run again.
        started: From `environment.timestamp`.
        cost: Seconds by step, and what else was measured.
    """
    import keras

    devices = {"backend": keras.backend.backend(), "devices": keras.distribution.list_devices()}
    told = {"command": command, "started": started}
    run.write_json(folder / run.ENVIRONMENT, environment.describe() | devices | told | cost)
