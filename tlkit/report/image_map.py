"""The map of images: points that stand without a script, and what the script tells of each."""

from __future__ import annotations

from typing import Any

import pandas as pd
from markupsafe import Markup

import tlkit.report.words as words

WIDTH, MARGIN, RADIUS = 720, 14, 4.5


def image_map(
    embedding: pd.DataFrame | None, images: pd.DataFrame, gallery: list[list[Any]]
) -> tuple[Markup, list[list[Any]]] | None:
    """Returns the points as SVG and, in the same order, what they stand for; None where no judged image has a place.

    Args:
        embedding: Columns item, x, y from 0 to 1.
        images: From `judged_images`.
        gallery: From `pictures.gallery`: rows that begin with an item and end with its picture.

    Returns:
        The SVG, and one list an image: x, y (in the SVG's units), class, predicted class, confidence, item, and its row
        in `gallery` or -1.
    """
    if embedding is None:
        return None
    placed = images.merge(embedding[["item", "x", "y"]].drop_duplicates("item"), on="item")
    if placed.empty:
        return None
    placed = placed.sort_values("correct", ascending=False, kind="stable")  # Mistakes are drawn over the rest.
    row_of = {row[0]: index for index, row in enumerate(gallery)}
    low, high = placed["y"].min(), placed["y"].max()
    scale = WIDTH - 2 * MARGIN
    points = [
        [
            round(MARGIN + row.x * scale, 1),
            round(MARGIN + (high - row.y) * scale, 1),
            int(row.label),
            int(row.predicted),
            round(float(row.confidence), 4),
            words.visible(row.item),
            row_of.get(row.item, -1),
        ]
        for row in placed.itertuples(index=False)
    ]
    return _svg(points, round(2 * MARGIN + (high - low) * scale, 1)), points


def _svg(points: list[list[Any]], height: float) -> Markup:
    circles = [
        f'<circle class="{"right" if label == predicted else "wrong"}" cx="{x:g}" cy="{y:g}" r="{RADIUS}"/>'
        for x, y, label, predicted, *_ in points
    ]
    label = "Map of the images; arrow keys move from image to image, the text beside it tells what each is"
    return Markup(
        f'<svg id="image-map" class="image-map" viewBox="0 0 {WIDTH} {height:g}" tabindex="0" role="img" '
        f'aria-label="{label}">{"".join(circles)}</svg>'
    )
