"""The receptive field: which pixels a unit of a layer can see, worked out from the layers before it.

A unit is one position of a feature map. Branches that join see the union of what each sees. Nothing is cut off at the
borders of the image, as in published figures: the field of a unit may be larger than the image, the rest being padding.

Luo et al., Understanding the effective receptive field in deep convolutional neural networks, 2016, tell why the
field that matters is smaller; `effective_field` measures it. Araujo et al., Computing receptive fields of
convolutional neural networks, 2019, give the closed forms for chains.
"""

from __future__ import annotations

from dataclasses import dataclass

from tlkit.analysis.intervals import IDENTITY, AxisMap
from tlkit.analysis.reach import WHOLE, reach, space
from tlkit.analysis.trace import Step


@dataclass(frozen=True)
class ReceptiveField:
    """What the units of one layer see of the image.

    Attributes:
        axes: For each axis of space, the pixels that each unit sees through windows; None where no unit is tied to a
            place: after global pooling, Flatten or an unknown layer.
        whole: Name of the first layer through which every unit sees the whole image as well, empty where there is
            none. Squeeze-and-excite gates and attention are such layers.
        unknown: Why the field cannot be told from here on, empty where it can.
    """

    axes: tuple[AxisMap, ...] | None
    whole: str = ""
    unknown: str = ""

    @property
    def size(self) -> tuple[int, ...] | None:
        """Pixels along each axis that a unit sees through windows."""
        return None if self.axes is None else tuple(axis.size for axis in self.axes)

    @property
    def stride(self) -> tuple[float, ...] | None:
        """Pixels from one unit to the next."""
        return None if self.axes is None else tuple(float(axis.stride) for axis in self.axes)

    @property
    def start(self) -> tuple[int, ...] | None:
        """First pixel that unit 0 sees; negative where it sees padding."""
        return None if self.axes is None else tuple(axis.low[0] for axis in self.axes)

    @property
    def centre(self) -> tuple[float, ...] | None:
        """Pixel in the middle of what unit 0 sees; pixel 0 has its middle at 0."""
        return None if self.axes is None else tuple(axis.centre for axis in self.axes)


def receptive_fields(steps: tuple[Step, ...]) -> tuple[ReceptiveField, ...]:
    """Returns the receptive field of every step.

    Args:
        steps: From `trace`. Where a model has several inputs, the fields are those within the first one of rank 3 or
            more; the others are taken to hold no image.

    Example:
        fields = receptive_fields(trace(keras.applications.VGG16(weights=None)))
    """
    fields: list[ReceptiveField | None] = []
    image = image_input(steps)
    for position, step in enumerate(steps):
        if not step.sources:
            rank = len(step.output_shape) - 2
            fields.append(ReceptiveField((IDENTITY,) * rank) if position == image else None)
            continue
        sources = [(field, steps[source]) for source in step.sources if (field := fields[source]) is not None]
        fields.append(_through(step, sources) if sources else None)
    return tuple(field or ReceptiveField(None) for field in fields)


def image_input(steps: tuple[Step, ...]) -> int:
    """Returns the position of the input that holds the image: the first of rank 3 or more, else the first."""
    inputs = [position for position, step in enumerate(steps) if not step.sources]
    return next((position for position in inputs if len(steps[position].output_shape) >= 3), inputs[0])


def _through(step: Step, sources: list[tuple[ReceptiveField, Step]]) -> ReceptiveField:
    """Returns the field after a step from those of the steps that it reads."""
    unknown = next((field.unknown for field, _ in sources if field.unknown), "")
    whole = next((field.whole for field, _ in sources if field.whole), "")
    local = [field.axes for field, _ in sources if field.axes is not None]
    sizes = {space(step.operation, source.output_shape) for field, source in sources if field.axes is not None}
    if unknown or not local:
        return ReceptiveField(None, whole, unknown)
    seen = reach(step)
    if seen == WHOLE:
        return ReceptiveField(None, whole or step.name)
    if isinstance(seen, str) or len(sizes) > 1:
        reason = seen if isinstance(seen, str) else "maps of different size meet"
        return ReceptiveField(None, whole, f"{reason} ({step.name})")
    joined: tuple[AxisMap | None, ...] = local[0]
    for axes in local[1:]:
        joined = tuple(a.union(b) if a is not None else None for a, b in zip(joined, axes, strict=True))
    if None in joined:
        return ReceptiveField(None, whole, f"branches of different stride meet ({step.name})")
    return ReceptiveField(
        tuple(own.after(axis) for own, axis in zip(seen, joined, strict=True) if axis is not None), whole
    )


Box = tuple[tuple[int, int], ...]


def seen_box(steps: tuple[Step, ...], position: int, unit: tuple[int, ...]) -> Box:
    """Returns the pixels that one unit sees, followed back step by step and cut off at the border of every map.

    Args:
        steps: From `trace`, with the size of the image known.
        position: Of the step whose unit it is.
        unit: Its position in the feature map; not looked at where the step has none.

    Returns:
        (first pixel, one past the last) for each axis of the image: the smallest box that holds all it sees, holes of
        dilation included; all of the image where it sees it whole, or where this cannot be told; an empty one,
        (0, 0), where it sees padding alone.
    """
    image = image_input(steps)
    every = tuple((0, side) for side in space(steps[image].operation, steps[image].output_shape))
    if receptive_fields(steps)[position].axes is None:
        return every
    boxes: dict[int, Box] = {position: tuple((place, place + 1) for place in unit)}
    for at in range(position, image, -1):
        if at not in boxes or not steps[at].sources:
            continue
        seen = reach(steps[at])
        if isinstance(seen, str):
            return every
        for source in steps[at].sources:
            sides = space(steps[at].operation, steps[source].output_shape)
            box = tuple(_read(axis, bounds, side) for axis, bounds, side in zip(seen, boxes[at], sides, strict=True))
            if all(low < high for low, high in box):
                boxes[source] = _around(boxes.get(source), box)
    return boxes.get(image, tuple((0, 0) for _ in every))


def _read(axis: AxisMap, bounds: tuple[int, int], side: int) -> tuple[int, int]:
    """Returns the inputs that a run of outputs reads, within a map of `side` values."""
    return max(axis.interval(bounds[0])[0], 0), min(axis.interval(bounds[1] - 1)[1] + 1, side)


def _around(box: Box | None, other: Box) -> Box:
    if box is None:
        return other
    return tuple((min(a, c), max(b, d)) for (a, b), (c, d) in zip(box, other, strict=True))
