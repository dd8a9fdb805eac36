"""How much memory a training step takes an image, beside what `--batch-size auto` reckons with.

    python benchmarks/memory.py [--backbones mobilenetv2 resnet50] [--image-size 96]

Each step runs in a process of its own, at two batch sizes: the difference of their peaks, by image, is what outputs of
layers and their gradients take. Printed is the ratio to the outputs' own size, which `tlkit.training.memory.OVERHEAD`
must not be far below.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

SIZES = (16, 64)
STEP = """
import resource, sys
import keras, numpy as np, tlkit
from tlkit.phases import Phase
from tlkit.strategies import apply_phase, stages_of
from tlkit.training import memory
name, size, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = tlkit.build_classifier(name, 10, image_size=size, weights="none")
apply_phase(model, Phase("all", "input", epochs=1), stages_of(model))
model.compile("adamw", "sparse_categorical_crossentropy", jit_compile=False)
x, y = np.zeros((batch, size, size, 3), "uint8"), np.zeros(batch, "int64")
for _ in range(2):
    model.train_on_batch(x, y)
outputs = (memory.step_bytes(model, 2) - memory.step_bytes(model, 1)) / memory.OVERHEAD
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, outputs, memory.step_bytes(model, batch))
"""


def peak(name: str, image_size: int, batch_size: int) -> tuple[float, float, float]:
    """Returns the peak of a process, the size of the outputs an image, and the estimate for the step, in bytes."""
    command = [sys.executable, "-c", STEP, name, str(image_size), str(batch_size)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(told[-3]), float(told[-2]), float(told[-1])


def main() -> None:
    """Prints one line a backbone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["efficientnet_lite0", "mobilenetv2", "resnet50"])
    parser.add_argument("--image-size", type=int, default=96)
    options = parser.parse_args()
    for name in options.backbones:
        (small, outputs, _), (large, _, estimate) = (peak(name, options.image_size, size) for size in SIZES)
        image = (large - small) / (SIZES[1] - SIZES[0])
        print(
            f"{name} {options.image_size} px: {image / 1e6:.1f} MB an image, outputs {outputs / 1e6:.1f} MB, ratio "
            f"{image / outputs:.2f}; peak at {SIZES[1]} images {large / 1e9:.2f} GB, estimate {estimate / 1e9:.2f} GB",
            flush=True,
        )


if __name__ == "__main__":
    main()
