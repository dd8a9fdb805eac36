"""The pictures of a report: which images to show, and their thumbnails as data URIs within a budget."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlkit import run as run_folder
from tlkit.report.reading import Run

NUM_MISTAKES = 24
NUM_UNSURE = 12
NUM_PAIRS = 6
PICTURES_A_SIDE = 4
PAGE_BUDGET = 3_400_000  # Bytes of base64; with the rest of the page below the promised 5 MB.
HEAT_MAP_BUDGET = 600_000  # Likewise, of their own: 24 maps of 160 pixels have some 200 kB.
LARGEST_THUMBNAIL = 60_000  # A JPEG of 96 pixels has 2 to 6 kB; a larger file is no thumbnail.
DIGEST = re.compile(r"[0-9a-f]{8,64}")
JPEG_START = b"\xff\xd8\xff"


@dataclass
class Album:
    """Thumbnails by digest, each read once, until the budget of the page is spent.

    Attributes:
        folder: The run's `thumbnails`.
        left: Bytes of base64 that may still be added.
        sources: Data URI by digest; empty for a picture that is not kept.
    """

    folder: Path
    left: int = PAGE_BUDGET
    sources: dict[str, str] = field(default_factory=dict)

    def source(self, digest: str) -> str:
        """Returns the data URI of an image's thumbnail, or an empty text where there is none."""
        if digest not in self.sources:
            self.sources[digest] = self._read(digest)
        return self.sources[digest]

    def _read(self, digest: str) -> str:
        if not DIGEST.fullmatch(digest):  # It comes from a file; it must not name another folder.
            return ""
        path = self.folder / f"{digest[:32]}.jpg"
        if not path.is_file() or path.stat().st_size > LARGEST_THUMBNAIL:
            return ""
        data = path.read_bytes()
        if not data.startswith(JPEG_START) or len(data) * 4 // 3 > self.left:
            return ""
        source = "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")
        self.left -= len(source)
        return source


def open_album(run: Run) -> Album:
    """Returns the album of a run; a run without thumbnails has an empty one."""
    return Album(run.path / run_folder.THUMBNAILS)


def open_heat_maps(run: Run) -> Album:
    """Returns the heat maps of a run; a run without any has an empty album."""
    return Album(run.path / run_folder.HEAT_MAPS, HEAT_MAP_BUDGET)


def judged_images(run: Run) -> pd.DataFrame:
    """Returns the images of the judged split.

    Returns:
        One row an image, columns `item`, `digest`, `label`, `predicted` (class indices), `confidence`, `correct`, and
        `true_probability`, the probability of the true class.
    """
    images = run.predictions.assign(row=np.arange(len(run.predictions)))
    images = images[images["split"] == (run.judged_split or "")]
    digests = dict(zip(run.manifest["item"], run.manifest["digest"], strict=True))
    rows, labels = images["row"].to_numpy(), images["label"].to_numpy()
    return images.assign(
        digest=images["item"].map(digests).fillna(""),
        correct=images["label"] == images["predicted"],
        true_probability=np.asarray(run.probabilities[rows, labels], np.float64),
    ).reset_index(drop=True)


def worst_mistakes(images: pd.DataFrame) -> pd.DataFrame:
    """Returns the wrong images, those with the least probability for the truth first."""
    wrong = images[~images["correct"]]
    return wrong.sort_values(["true_probability", "confidence", "item"], ascending=[True, False, True], kind="stable")


def least_sure_hits(images: pd.DataFrame) -> pd.DataFrame:
    """Returns the right images, the least sure first."""
    return images[images["correct"]].sort_values(["confidence", "item"], kind="stable")


def show_first_with_picture(images: pd.DataFrame, album: Album, most: int) -> pd.DataFrame:
    """Returns the first images that have a thumbnail, in the order given."""
    kept: list[int] = []
    for position, digest in enumerate(images["digest"]):
        if len(kept) == most:
            break
        if album.source(digest):
            kept.append(position)
    return images.iloc[kept]


def picture_rows(images: pd.DataFrame, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Returns one dict an image, with class names, ready for JSON."""
    return [
        {
            "item": row.item,
            "digest": row.digest,
            "label": class_names[row.label],
            "predicted": class_names[row.predicted],
            "confidence": round(float(row.confidence), 4),
            "true_probability": round(float(row.true_probability), 4),
        }
        for row in _tuples(images)
    ]


def _tuples(images: pd.DataFrame) -> Iterable[Any]:
    return images.itertuples(index=False)


def gallery(images: pd.DataFrame, album: Album) -> list[list[Any]]:
    """Returns what the page needs to open the pictures of any cell of the matrix, worst first.

    Returns:
        One list an image that has a thumbnail: item, true class, predicted class, confidence, data URI.
    """
    ordered = pd.concat([worst_mistakes(images), least_sure_hits(images)])
    rows = []
    for row in _tuples(ordered):
        source = album.source(row.digest)
        if source:
            rows.append([row.item, int(row.label), int(row.predicted), round(float(row.confidence), 4), source])
    return rows
