"""What layers answer: activations of any layer and channel, and the images that excite a channel most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlkit.analysis.receptive_field import Box, image_input, seen_box
from tlkit.analysis.trace import Step, find_step, run, trace
from tlkit.console import OnProgress
from tlkit.errors import InputError
from tlkit.features import batches, prepare_inference

BATCH_SIZE = 32


class Taps(keras.Model):
    """A model that gives the outputs of chosen steps of another, whose weights it shares; nested layers too.

    Args:
        model: A functional model, flat or nested.
        layers: Names of steps; see `trace`.

    Raises:
        InputError: There is no such layer; the nearest one is told.
    """

    def __init__(self, model: keras.Model, layers: Sequence[str]) -> None:
        steps = trace(model)
        names = [steps[find_step(steps, layer)].name for layer in layers]
        super().__init__(name=f"{model.name}_taps")
        self.tapped, self.names = model, names

    def call(self, images: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        images = keras.ops.cast(images, self.tapped.inputs[0].dtype)

        def visit(name: str, operation: Any, args: tuple, kwargs: dict) -> Any:
            outputs = operation(*args, **kwargs)
            found[name] = outputs
            return outputs

        found[self.tapped.inputs[0]._keras_history.operation.name] = images
        run(self.tapped, images, visit)
        return {name: keras.ops.cast(found[name], "float32") for name in self.names}

    def stream(self, data: Any, on_progress: OnProgress | None = None) -> Iterator[tuple[NDArray, Any, dict]]:
        """Yields (images, labels or None, outputs by layer) batch by batch, in inference mode.

        Args:
            data: An array of images, or anything that `fit` takes.
            on_progress: Called with (batches done, batches in all) where that number is known.
        """
        prepare_inference(self)
        images_alone = isinstance(data, np.ndarray)
        source = (data, np.zeros(len(data))) if images_alone else data
        total = -(-len(data) // BATCH_SIZE) if images_alone else len(data) if hasattr(data, "__len__") else 0
        for done, (x, y) in enumerate(batches(source, BATCH_SIZE), start=1):
            outputs = self.predict_on_batch(x)
            yield x, None if images_alone else y, outputs
            if on_progress and total:
                on_progress(done, total)

    def collect(self, data: Any) -> dict[str, NDArray[np.float32]]:
        """Returns the outputs by step name, of all images; they are all kept in memory."""
        found: list[dict] = [outputs for _, _, outputs in self.stream(data)]
        return {name: np.concatenate([np.asarray(outputs[name]) for outputs in found]) for name in self.names}


def activations(model: keras.Model, data: Any, layers: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Returns the outputs of layers, in inference mode.

    Args:
        model: A functional model, flat or nested.
        data: Images as the model takes them: an array, or anything that `fit` takes. All outputs are kept in memory.
        layers: Names; a layer in a nested model is `outer/inner`.

    Returns:
        By name as given, float32 (n, ...) as the layer puts out.

    Raises:
        InputError: There is no such layer; the nearest one is told.
    """
    taps = Taps(model, layers)
    found = taps.collect(data)
    return {layer: found[name] for layer, name in zip(layers, taps.names, strict=True)}


def channel_activations(model: keras.Model, data: Any, layer: str, channel: int) -> NDArray[np.float32]:
    """Returns one channel of one layer, float32 (n, ...) without the axis of channels.

    Raises:
        InputError: There is no such layer or channel; the nearest one is told.
    """
    require_channels(layer, count_channels(model, layer), [channel])
    return activations(model, data, [layer])[layer][..., channel]


def count_channels(model: keras.Model, layer: str) -> int:
    """Returns how many channels a layer puts out."""
    steps = trace(model)
    return _channels(steps[find_step(steps, layer)])


def _channels(step: Step) -> int:
    if step.output_shape[-1] is None:
        raise InputError(f"Expected a layer with a fixed number of channels. Received: {step.name}.")
    return step.output_shape[-1]


def require_channels(layer: str, count: int, channels: Sequence[int]) -> None:
    """Raises InputError where a layer has no such channels."""
    for channel in channels:
        if not 0 <= channel < count:
            nearest = min(max(channel, 0), count - 1)
            raise InputError(
                f"Expected a channel of {layer} from 0 to {count - 1}. Received: {channel}. The nearest is {nearest}."
            )


@dataclass(frozen=True)
class Excitement:
    """The images that excite one channel of a layer most, strongest first.

    Attributes:
        layer: The layer's name.
        channel: The channel.
        values: Largest activation of the channel in each image, float32 (top,).
        indices: Position of each image in the data, int64 (top,).
        units: Where in the feature map it was, int64 (top, axes of space).
        boxes: What that unit sees: (first pixel, one past the last) for each axis, by image.
        images: The images, as the data gave them, (top, height, width, channels).
    """

    layer: str
    channel: int
    values: NDArray[np.float32]
    indices: NDArray[np.int64]
    units: NDArray[np.int64]
    boxes: tuple[Box, ...]
    images: NDArray


def strongest_images(
    model: keras.Model,
    data: Any,
    layer: str,
    channels: Sequence[int],
    *,
    top: int = 9,
    on_progress: OnProgress | None = None,
) -> tuple[Excitement, ...]:
    """Finds the images that excite channels most, in one pass over data of any size.

    Args:
        model: A functional model, flat or nested.
        data: Images as the model takes them: an array, or anything that `fit` takes; only the best are kept.
        layer: Name of a layer.
        channels: Its channels.
        top: How many images to keep for each channel.
        on_progress: Called with (batches done, batches in all) where that number is known.

    Returns:
        One entry a channel; fewer than `top` images where the data has fewer.

    Raises:
        InputError: There is no such layer or channel; the nearest one is told.
    """
    require_channels(layer, count_channels(model, layer), channels)
    taps = Taps(model, [layer])
    best = [_Best(top) for _ in channels]
    start = 0
    image_shape: tuple[int, ...] = ()
    for x, _, outputs in taps.stream(data, on_progress):
        maps = np.asarray(outputs[taps.names[0]])
        image_shape = x.shape[1:]
        for place, channel in enumerate(channels):
            best[place].add(maps[..., channel], x, start)
        start += len(x)
    steps = trace(model, image_shape[0] if len(image_shape) == 3 else None)
    position = find_step(steps, layer)
    return tuple(
        found.finish(taps.names[0], channel, steps, position) for found, channel in zip(best, channels, strict=True)
    )


class _Best:
    """The strongest answers of one channel so far."""

    def __init__(self, top: int) -> None:
        self.top = top
        self.entries: list[tuple[float, int, tuple[int, ...], NDArray]] = []

    def add(self, maps: NDArray, images: NDArray, start: int) -> None:
        flat = maps.reshape(len(maps), -1)
        values, places = flat.max(axis=1), flat.argmax(axis=1)
        for row in np.argsort(-values, kind="stable")[: self.top]:
            if len(self.entries) == self.top and values[row] <= self.entries[-1][0]:
                break
            unit = tuple(int(axis) for axis in np.unravel_index(places[row], maps.shape[1:])) if maps.ndim > 1 else ()
            self.entries.append((float(values[row]), start + int(row), unit, np.array(images[row])))
            self.entries.sort(key=lambda entry: (-entry[0], entry[1]))
            del self.entries[self.top :]

    def finish(self, layer: str, channel: int, steps: tuple[Step, ...], position: int) -> Excitement:
        known = None not in steps[image_input(steps)].output_shape[1:]
        return Excitement(
            layer,
            channel,
            np.array([entry[0] for entry in self.entries], np.float32),
            np.array([entry[1] for entry in self.entries], np.int64),
            np.array([entry[2] for entry in self.entries], np.int64).reshape(len(self.entries), -1),
            tuple(seen_box(steps, position, entry[2]) for entry in self.entries) if known else (),
            np.array([entry[3] for entry in self.entries]),
        )
