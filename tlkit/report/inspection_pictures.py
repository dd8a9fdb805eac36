"""Arrays of an inspection as small pictures inside the page: filters, maps, fields, photographs with a frame."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 96  # Pixels of a thumbnail, as the style sheet shows it.
FIELD_SIDE = 160
COARSE = 48  # Squares along the side of a field that are told apart.
MOST_FILTERS = 96
SHEET_COLUMNS = 16
FILTER_SIDE = 28
GAP = 4
# Five colours of viridis (S. van der Walt, N. Smith), dark to light: even steps to the eye, also in grey.
SHADES = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], np.float32)
HEAT = np.array([255, 120, 30], np.float32)
FRAME = np.array([255, 120, 30], np.uint8)

Box = Sequence[Sequence[int]]


def png(pixels: NDArray) -> str:
    """Returns uint8 pixels (height, width[, 3 or 4]) as a data URI."""
    return _uri(Image.fromarray(pixels), "PNG")


def _uri(image: Image.Image, kind: str) -> str:
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 86} if kind == "JPEG" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64," + base64.b64encode(file.getvalue()).decode("ascii")


def filter_sheet(weights: NDArray[np.float32], in_pixels: bool) -> str:
    """Draws filters beside one another, each on its own scale, zero being mid-grey.

    Args:
        weights: (filters, height, width, channels).
        in_pixels: Whether three channels are red, green and blue; other filters are drawn as their mean in grey.
    """
    if weights.ndim != 4:
        return ""
    weights = weights[:MOST_FILTERS]
    if not (in_pixels and weights.shape[-1] == 3):
        weights = weights.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    pixels = np.rint(127.5 + 127.5 * weights / np.maximum(largest, 1e-12)).astype(np.uint8)
    scale = max(FILTER_SIDE // weights.shape[1], 1)
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    columns = min(SHEET_COLUMNS, len(pixels))
    rows = -(-len(pixels) // columns)
    height, width = pixels.shape[1:3]
    sheet = np.zeros((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 4), np.uint8)
    for place, one in enumerate(pixels):
        top, left = (place // columns) * (height + GAP), (place % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = np.dstack([one, np.full(one.shape[:2], 255, np.uint8)])
    return png(sheet)


def shaded(values: NDArray[np.float32]) -> str:
    """Draws a map (height, width) from its smallest value, dark, to its largest, light."""
    low, high = float(values.min()), float(values.max())
    places = (values - low) / max(high - low, 1e-12) * (len(SHADES) - 1)
    below = np.minimum(places.astype(int), len(SHADES) - 2)
    part = (places - below)[..., None]
    pixels = np.rint(SHADES[below] * (1 - part) + SHADES[below + 1] * part).astype(np.uint8)
    return png(_enlarged(pixels, SIDE))


def _enlarged(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Repeats pixels until the picture is about as large as it is shown."""
    factor = max(side // max(pixels.shape[:2]), 1)
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def photograph(image: NDArray, box: Box | None = None, side: int = SIDE) -> str:
    """Draws a picture, what lies outside a box dimmed and the box framed."""
    pixels = _scaled(_in_colour(image), side)
    if box is not None and not _is_whole(box, image):
        scale = [side / size for size in image.shape[:2]]
        (top, bottom), (left, right) = (
            (int(bounds[0] * factor), max(int(bounds[1] * factor), int(bounds[0] * factor) + 2))
            for bounds, factor in zip(box, scale, strict=True)
        )
        inside = np.zeros(pixels.shape[:2], bool)
        inside[top:bottom, left:right] = True
        pixels[~inside] = pixels[~inside] // 2 + 40
        _frame(pixels, top, bottom, left, right)
    return _uri(Image.fromarray(pixels), "JPEG")


def field_picture(image: NDArray, mass: NDArray[np.float32], box: Box) -> str:
    """Draws the share of the gradient on each pixel over a picture, and the box of what the unit can see at all."""
    grey = _scaled(_in_colour(image), FIELD_SIDE).mean(axis=-1, keepdims=True) * 0.6 + 40
    # Gradients are noisy from pixel to pixel: means over small squares show where they lie, the root their tails.
    coarse = tuple(min(side, COARSE) for side in reversed(mass.shape))
    smooth = Image.fromarray(mass.astype(np.float32)).resize(coarse, Image.Resampling.BOX)
    smooth = smooth.resize((FIELD_SIDE, FIELD_SIDE), Image.Resampling.BILINEAR)
    heat = np.sqrt(np.asarray(smooth) / max(np.asarray(smooth).max(), 1e-12))[..., None]
    pixels = np.rint(grey * (1 - heat) + HEAT * heat).astype(np.uint8)
    scale = FIELD_SIDE / mass.shape[0], FIELD_SIDE / mass.shape[1]
    (top, bottom), (left, right) = (
        (int(bounds[0] * factor), int(bounds[1] * factor)) for bounds, factor in zip(box, scale, strict=True)
    )
    _frame(pixels, top, bottom, left, right)
    return _uri(Image.fromarray(pixels), "JPEG")


def _frame(pixels: NDArray[np.uint8], top: int, bottom: int, left: int, right: int) -> None:
    last_row, last_column = min(bottom, pixels.shape[0]) - 1, min(right, pixels.shape[1]) - 1
    pixels[[top, last_row], left : last_column + 1] = FRAME
    pixels[top : last_row + 1, [left, last_column]] = FRAME


def _is_whole(box: Box, image: NDArray) -> bool:
    return all(low == 0 and high == size for (low, high), size in zip(box, image.shape[:2], strict=True))


def _in_colour(image: NDArray) -> NDArray[np.uint8]:
    pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return pixels.repeat(3, axis=-1) if pixels.shape[-1] == 1 else pixels[..., :3]


def _scaled(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    method = Image.Resampling.NEAREST if max(pixels.shape[:2]) * 2 <= side else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(pixels).resize((side, side), method))


def drawn_maps(maps: Sequence[Any]) -> list[dict[str, Any]]:
    """Returns the maps of each layer as pictures: dicts of `layer` and `maps`, pairs of channel and data URI."""
    return [
        {"layer": layer, "maps": [(channel, shaded(one)) for channel, one in zip(channels, values, strict=True)]}
        for layer, channels, values in maps
    ]
