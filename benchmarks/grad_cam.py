"""What Grad-CAM costs beside a forward and backward pass of the same images.

    python benchmarks/grad_cam.py [--backbone mobilenetv2] [--size 224] [--rounds 7]

64 images of random pixels through a network of random weights. Grad-CAM and the pass (the gradient of the loss by all
weights, eagerly, in the same batches) take turns; printed are the seconds of both and the ratio of each round. Mark: 2.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from tlkit.backend import start_keras

IMAGES, BATCH, CLASSES = 64, 32, 10


def seconds(work: Callable[[], object]) -> float:
    """Returns how long a call took."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def spread(values: list[float]) -> str:
    """Returns median, smallest and largest."""
    return f"median {statistics.median(values):.2f}, {min(values):.2f} to {max(values):.2f}"


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="mobilenetv2")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    start_keras()
    import tlkit
    from tlkit.analysis.gradcam import grad_cam
    from tlkit.analysis.gradient_flow import gradient_flow

    shape = (IMAGES, arguments.size, arguments.size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape).astype("float32")
    labels = np.arange(IMAGES) % CLASSES
    model = tlkit.build_classifier(arguments.backbone, CLASSES, image_size=arguments.size, weights="none")
    model.compile(loss="sparse_categorical_crossentropy")

    def both_ways() -> None:
        for start in range(0, IMAGES, BATCH):
            part = slice(start, start + BATCH)
            gradient_flow(model, images[part], labels[part], training=False)

    def maps() -> None:
        grad_cam(model, images, labels, batch_size=BATCH)

    both_ways(), maps()  # Once unmeasured.
    passes, found = [], []
    for _ in range(arguments.rounds):
        passes.append(seconds(both_ways))
        found.append(seconds(maps))
    ratios = [one / other for one, other in zip(found, passes, strict=True)]
    print(f"{arguments.backbone}, {IMAGES} images of {arguments.size} px, n={arguments.rounds}")
    print(f"  forward and backward, s: {spread(passes)}")
    print(f"  Grad-CAM, s:             {spread(found)}")
    print(f"  ratio (mark 2):          {spread(ratios)}")


if __name__ == "__main__":
    main()
