"""What our training loop costs: epochs of strategy full against raw `fit` of the same compiled model.

    python benchmarks/step_time.py [--epochs 20] [--image-size 96]

Contenders take turns, one epoch each, on the same compiled model: `raw` fits tensors in memory without a callback,
`again` is raw once more (an A/A run, for the spread), `ours` reads the packed store and has the callbacks of a phase.
Printed are medians of the seconds of a step and of the ratios, round by round. Mark: ours at most 1.03, or within the
spread of the A/A run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np

import tlkit
from tlkit import data
from tlkit.callbacks import BestWeights, FiniteLoss, RateLog
from tlkit.phases import Phase
from tlkit.strategies import apply_phase, stages_of
from tlkit.training.compiling import compile_part
from tlkit.training.datasets import prepare
from tlkit.training.job import Job
from tlkit.training.outcome import FineTuneHistory
from tlkit.training.recipe import Recipe


class NoValidation(BestWeights):
    """Keeps the best weights as in training, with a validation loss that costs nothing: always a better one."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        super().on_epoch_end(epoch, {"val_tempered_log_loss": 0.0})


def contenders(image_size: int, images: int) -> tuple[dict[str, Callable[[], object]], int]:
    """Returns what runs one epoch each, by name, and the steps of an epoch."""
    manifest = data.builtin("digits").split(seed=0).few_shot(images, seed=0)
    train = data.load(manifest, "train", image_size, shuffle=False)
    model = tlkit.build_classifier("efficientnet_lite0", 10, image_size=image_size)
    phase = Phase("full", "input", epochs=1000, learning_rate=1e-4)
    stages = stages_of(model)
    apply_phase(model, phase, stages)
    twin = keras.Model(model.inputs[0], model.outputs[0])
    part = prepare(train, 10, "training", shuffle=True)
    job = Job(model, stages, train, None, Recipe(), 0, FineTuneHistory())
    compile_part(job, twin, phase, part, 1e-4, "float32", 1)
    x, y = data.as_numpy(train)
    tensors = keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(np.asarray(y))
    best = NoValidation(1e9, images=1)
    # Weights are put back when training ends, which here would be after every epoch.
    best.on_train_end = lambda logs=None: None  # type: ignore[method-assign]
    callbacks = [RateLog(), FiniteLoss("full"), best]
    raw = lambda: twin.fit(*tensors, batch_size=32, verbose=0)  # noqa: E731
    ours = lambda: twin.fit(part.data, shuffle=False, callbacks=callbacks, verbose=0)  # noqa: E731
    return {"raw": raw, "again": raw, "ours": ours}, part.steps


def main() -> None:
    """Runs the rounds and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--images", type=int, default=32, help="a class")
    options = parser.parse_args()
    runs, steps = contenders(options.image_size, options.images)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for epoch in range(options.epochs + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if epoch:  # The first compiles.
                seconds[name].append(time.perf_counter() - start)
    for name, taken in seconds.items():
        ratios = sorted(one / raw for one, raw in zip(taken, seconds["raw"], strict=True))
        print(
            f"{name}: {1000 * statistics.median(taken) / steps:.1f} ms a step, over raw {statistics.median(ratios):.3f}"
            f" ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        )


if __name__ == "__main__":
    main()
