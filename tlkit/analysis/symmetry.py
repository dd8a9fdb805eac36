"""Invariance and equivariance, measured: does an answer stay, or move along, when the picture is moved?

Invariant: f(t(x)) = f(x). Equivariant: f(t(x)) = t(f(x)). Convolution is equivariant to shifts, pooling makes a net
invariant to small ones; rotation and scale have to be learnt from augmented data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from tlkit.analysis.activations import Taps
from tlkit.analysis.receptive_field import ReceptiveField, receptive_fields
from tlkit.analysis.trace import find_step, trace
from tlkit.analysis.warp import Grid, Transformation, transform
from tlkit.errors import InputError

LARGEST_MARGIN = 0.25  # Of a map's side, on each side: the fields of deep layers are larger than the picture.


@dataclass(frozen=True)
class SymmetryError:
    """How far a layer is from being invariant and equivariant to one transformation.

    Both errors are root mean squares of a difference, over those of differences between unrelated answers of the same
    layer: 0 is exact, 1 is as unlike as answers to different places and pictures.

    Attributes:
        layer: The layer's name.
        transformation: What was done to the pictures.
        invariance: Error of f(t(x)) = f(x); None where a layer answers the same to everything.
        equivariance: Error of f(t(x)) = t(f(x)); None for layers without a feature map.
        agreement: Share of pictures with the same strongest channel before and after; None for feature maps.
    """

    layer: str
    transformation: Transformation
    invariance: float | None
    equivariance: float | None
    agreement: float | None


def default_transformations(image_size: int) -> tuple[Transformation, ...]:
    """Returns shifts, rotations, scales and a flip, small to large, for pictures of a size."""
    shifts = dict.fromkeys(max(image_size // part, 1) for part in (32, 16, 8, 4))
    return (
        *(Transformation("shift", pixels) for pixels in shifts),
        *(Transformation("rotation", degrees) for degrees in (5, 15, 45, 90, 180)),
        *(Transformation("scale", factor) for factor in (0.8, 0.9, 1.1, 1.25)),
        Transformation("flip"),
    )


def symmetry_errors(
    model: keras.Model, images: NDArray, layers: Sequence[str], transformations: Sequence[Transformation]
) -> tuple[SymmetryError, ...]:
    """Measures invariance and equivariance of layers.

    Places near the border of a map, where padding or what comes from outside the picture is seen, are left out, up to
    a quarter of its side.

    Args:
        model: A functional model with one image as input, channels last.
        images: At least two, (n, height, width, channels), as the model takes them.
        layers: Names of layers, such as the ends of stages and the output.
        transformations: See `Transformation` and `default_transformations`.

    Returns:
        One entry for each transformation and layer, in that order.

    Raises:
        InputError: Too few images, or no pictures; a layer that is not there.
    """
    images = np.asarray(images)
    if images.ndim != 4 or len(images) < 2:
        raise InputError(f"Expected at least two images (n, height, width, channels). Received: shape {images.shape}.")
    size = images.shape[1:3]
    steps = trace(model, size[0])
    fields = receptive_fields(steps)
    taps = Taps(model, layers)
    placed = [(size, fields[find_step(steps, layer)]) for layer in layers]
    before = taps.collect(images)
    errors = []
    for transformation in transformations:
        moved, _ = transform(images, transformation, size)
        after = taps.collect(moved.astype(images.dtype))
        errors += [
            _compare(layer, transformation, before[name], after[name], place)
            for layer, name, place in zip(layers, taps.names, placed, strict=True)
        ]
    return tuple(errors)


Place = tuple[tuple[int, int], ReceptiveField]


def _compare(
    layer: str, transformation: Transformation, before: NDArray, after: NDArray, place: Place
) -> SymmetryError:
    if before.ndim != 4:
        flat_before, flat_after = before.reshape(len(before), -1), after.reshape(len(after), -1)
        same = flat_before.argmax(axis=1) == flat_after.argmax(axis=1)
        error = _relative_error(flat_before, flat_after)
        return SymmetryError(layer, transformation, error, None, float(same.mean()))
    image, field = place
    sides = before.shape[1:3]
    margin = _margin(field, sides)
    expected, inside = transform(before, transformation, image, _grid(field, image, sides), margin)
    inside[~_middle(sides, margin)] = False
    if not inside.any():
        return SymmetryError(layer, transformation, None, None, None)
    return SymmetryError(
        layer,
        transformation,
        _relative_error(before[:, inside], after[:, inside]),
        _relative_error(expected[:, inside], after[:, inside]),
        None,
    )


def _grid(field: ReceptiveField, image: tuple[int, int], sides: tuple[int, int]) -> Grid:
    """Returns how a map lies on the picture: by its receptive field, or spread evenly where that is not known."""
    if field.centre is not None and field.stride is not None:
        return Grid((field.centre[0], field.centre[1]), (field.stride[0], field.stride[1]))
    stride = (image[0] / sides[0], image[1] / sides[1])
    return Grid(((stride[0] - 1) / 2, (stride[1] - 1) / 2), stride)


def _margin(field: ReceptiveField, sides: tuple[int, int]) -> tuple[int, int]:
    """Returns how many places at a border see padding, at most a quarter of the side."""
    reach = [math.ceil((axis.size - 1) / 2 / float(axis.stride)) for axis in field.axes] if field.axes else [0, 0]
    rows, columns = (min(one, int(side * LARGEST_MARGIN)) for one, side in zip(reach, sides, strict=True))
    return rows, columns


def _middle(sides: tuple[int, int], margin: tuple[int, int]) -> NDArray[np.bool_]:
    """Returns the places of a map that keep off its borders."""
    middle = np.zeros(sides, bool)
    middle[tuple(slice(edge, side - edge) for edge, side in zip(margin, sides, strict=True))] = True
    return middle


def _relative_error(a: NDArray, b: NDArray) -> float | None:
    """Returns the difference of two sets of answers, (n, ..., channels), over that of unrelated ones."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    both = np.concatenate([a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])])
    spread = 2 * both.var(axis=0).mean()
    return float(np.sqrt(np.square(a - b).mean() / spread)) if spread > 0 else None
