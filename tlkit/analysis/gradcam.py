"""Grad-CAM: where on the image the last feature map speaks for a class, by gradients.

Source: R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlkit.analysis.gradients import value_and_gradients
from tlkit.analysis.heat_maps import HeatMaps, checked_images, chosen_classes
from tlkit.analysis.trace import Step, cut_positions, trace
from tlkit.backbones.flatten import flatten
from tlkit.console import OnProgress
from tlkit.errors import InputError, unknown_name
from tlkit.features import predicted_batches

SQUASHING = (keras.activations.softmax, keras.activations.sigmoid)


@dataclass(frozen=True)
class _Halves:
    """A model cut at a feature map.

    Attributes:
        layer: Name of the layer that gives the map.
        before: From images to the map.
        after: From the map to what `score` takes.
        score: From there to class scores before softmax or sigmoid, (n, classes).
    """

    layer: str
    before: keras.Model
    after: keras.Model
    score: Callable[[Any], Any]


def grad_cam(
    model: keras.Model,
    images: NDArray,
    classes: NDArray | None = None,
    *,
    layer: str | None = None,
    batch_size: int = 32,
    on_progress: OnProgress | None = None,
) -> HeatMaps:
    """Shows where each image speaks for a class: the feature map, weighted by the mean gradient of the class's score.

    The score is the one before softmax, which would flatten the gradient of a sure prediction to zero. Where global
    average pooling and one Dense layer follow the map, this is class activation mapping. The model runs in inference
    mode and is not changed; models nested in it are opened.

    Args:
        model: A functional or Sequential classifier with one input, of any backend.
        images: As the model takes them, (n, height, width, channels).
        classes: Class to look at for each image, int (n,); the one that the model names when None.
        layer: Layer whose feature map is looked at; the last one with more than one place when None.
        batch_size: Images at once.
        on_progress: Called with (batches done, batches in all).

    Returns:
        Maps of the feature map's own size; `resized` draws them at the image's.

    Raises:
        InputError: The model has no such layer, or its paths run past it.
    """
    images = checked_images(images)
    halves = _cut(model, layer, images.shape[1:3])
    gradients = value_and_gradients(lambda tensors, weights: _weighted_scores(halves, tensors[0], weights))
    maps, looked_at = [], []
    done = 0
    for features, _ in predicted_batches(halves.before, (images, images), batch_size, on_progress):
        outputs = keras.ops.convert_to_numpy(halves.score(halves.after(features, training=False)))
        mine = chosen_classes(None if classes is None else np.asarray(classes)[done : done + len(features)], outputs)
        _, (gradient,) = gradients([features], _one_hot(mine, outputs.shape[1]))
        maps.append(_map(features, keras.ops.convert_to_numpy(gradient)))
        looked_at.append(mine)
        done += len(features)
    return HeatMaps("grad-cam", halves.layer, np.concatenate(looked_at), np.concatenate(maps))


def _weighted_scores(halves: _Halves, features: Any, weights: Any) -> Any:
    # Images do not influence each other in inference mode, so that one sum gives the gradient of every image.
    return keras.ops.sum(halves.score(halves.after(features, training=False)) * weights)


def _one_hot(classes: NDArray[np.int64], num_scores: int) -> NDArray[np.float32]:
    if num_scores == 1:  # One score stands for two classes: below zero it speaks for the first.
        return np.where(classes == 1, 1, -1).astype(np.float32)[:, None]
    return np.eye(num_scores, dtype=np.float32)[classes]


def _map(features: NDArray, gradient: NDArray) -> NDArray[np.float32]:
    weights = gradient.astype(np.float32).mean(axis=(1, 2))
    return np.maximum(np.einsum("nhwc,nc->nhw", features.astype(np.float32), weights), 0)


def _cut(model: keras.Model, layer: str | None, size: tuple[int, ...]) -> _Halves:
    flat = flatten(model)
    if len(flat.inputs) != 1 or len(flat.outputs) != 1:
        raise InputError(f"Expected a model with one input and one output. Received: {model.name}.")
    steps = trace(flat, size[0])
    first = next((at for at, step in enumerate(steps) if getattr(step.operation, "weights", None)), len(steps))
    candidates = [steps[at] for at in cut_positions(steps) if at >= first and _is_map(steps[at])]
    found = _chosen(candidates, layer, model.name)
    scores, score = _before_squashing(flat)
    feature_map = found.operation.output
    return _Halves(found.name, keras.Model(flat.inputs[0], feature_map), keras.Model(feature_map, scores), score)


def _is_map(step: Step) -> bool:
    """Tells whether a step gives a feature map of more than one place, and only once."""
    shape = step.output_shape
    return len(shape) == 4 and not step.repeated and ":" not in step.name and shape[1:3] != (1, 1)


def _chosen(candidates: list[Step], layer: str | None, model_name: str) -> Step:
    if not candidates:
        raise InputError(
            f"Expected a model with a feature map that all paths pass through. Received: {model_name}, which has none. "
            "tlkit.analysis.occlusion explains any model."
        )
    by_name = {step.name: step for step in candidates}
    if layer is not None and layer not in by_name:
        raise unknown_name("layer", layer, by_name)
    return candidates[-1] if layer is None else by_name[layer]


def _before_squashing(model: keras.Model) -> tuple[Any, Callable[[Any], Any]]:
    """Returns the tensor from which the scores before softmax or sigmoid are had, and how."""
    output = model.outputs[0]
    last = output._keras_history.operation
    activation = getattr(last, "activation", None)
    if isinstance(last, keras.layers.Dense) and activation in SQUASHING:
        return last.input, lambda features: _linear(last, features)
    if isinstance(last, keras.layers.Softmax) or (
        isinstance(last, keras.layers.Activation) and activation in SQUASHING
    ):
        return last.input, lambda scores: keras.ops.cast(scores, "float32")
    return output, lambda scores: keras.ops.cast(scores, "float32")


def _linear(dense: keras.layers.Dense, features: Any) -> Any:
    scores = keras.ops.matmul(keras.ops.cast(features, "float32"), keras.ops.cast(dense.kernel, "float32"))
    return scores if dense.bias is None else scores + keras.ops.cast(dense.bias, "float32")
