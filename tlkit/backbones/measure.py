"""What a backbone costs on this machine: parameters by stage, milliseconds an image, megabytes."""

from __future__ import annotations

import statistics
import time
from typing import Any

import keras
import numpy as np

from tlkit.backbones.build import prepare_backbone
from tlkit.backbones.custom import is_model_file
from tlkit.backbones.registry import BYTES_PER_MEGABYTE, Stage
from tlkit.console import OnProgress


def measure_backbone(
    name: str,
    image_size: int | None = None,
    *,
    batch_size: int = 8,
    repetitions: int = 10,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Builds a backbone with random weights and times its forward pass.

    Args:
        name: Name of a registered backbone, or the path of a `.keras` file that scales its input itself.
        image_size: Side of the images in pixels; the backbone's own default when None.
        batch_size: Images a forward pass.
        repetitions: Passes timed, after one that is not.
        on_progress: Called with (passes done, passes in all).

    Returns:
        `name`, `image_size`, `batch_size`, `backend`; `parameters`; `megabytes` of weights as they lie in memory;
        `stages`: a list of `name`, `layer`, `parameters`, `output_shape`; `milliseconds_per_image` (median of the
        passes), `milliseconds_lowest` and `milliseconds_highest`; `build_seconds`.

    Raises:
        InputError: The name is unknown or the size too small.
    """
    start = time.perf_counter()
    weights = "imagenet" if is_model_file(name) else "none"  # A saved model has its own; for times any weights will do.
    prepared = prepare_backbone(name, image_size=image_size, weights=weights)
    built = time.perf_counter() - start
    model, size = prepared.model, prepared.model.input.shape[1]
    times = _time_passes(model, batch_size, repetitions, on_progress)
    return {
        "name": prepared.backbone.name,
        "image_size": size,
        "batch_size": batch_size,
        "backend": keras.config.backend(),
        "parameters": model.count_params(),
        "megabytes": round(sum(np.asarray(weight).nbytes for weight in model.get_weights()) / BYTES_PER_MEGABYTE, 1),
        "stages": stage_parameters(model, prepared.backbone.stages),
        "milliseconds_per_image": round(statistics.median(times), 2),
        "milliseconds_lowest": round(min(times), 2),
        "milliseconds_highest": round(max(times), 2),
        "build_seconds": round(built, 2),
    }


def stage_parameters(model: keras.Model, stages: tuple[Stage, ...]) -> list[dict[str, Any]]:
    """Counts the parameters of each stage; what lies before the first boundary belongs to the first stage."""
    counted, rows = 0, []
    for stage in stages:
        tensor = model.get_layer(stage.layer).output
        up_to_here = keras.Model(model.input, tensor).count_params()
        rows.append(
            {
                "name": stage.name,
                "layer": stage.layer,
                "parameters": up_to_here - counted,
                "output_shape": list(tensor.shape[1:]),
            }
        )
        counted = up_to_here
    return rows


def _time_passes(model: keras.Model, batch_size: int, repetitions: int, on_progress: OnProgress | None) -> list[float]:
    """Returns milliseconds an image for each pass; the first pass, which compiles, is not among them."""
    images = np.random.default_rng(0).integers(0, 256, (batch_size, *model.input.shape[1:])).astype("float32")
    times = []
    for done in range(repetitions + 1):
        start = time.perf_counter()
        model.predict_on_batch(images)
        times.append(1000 * (time.perf_counter() - start) / batch_size)
        if on_progress is not None:
            on_progress(done + 1, repetitions + 1)
    return times[1:]
