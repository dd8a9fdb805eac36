"""Time, memory and size of the report of 10,000 test images of 100 classes.

Run from the root of the repository: python benchmarks/report.py [--images 10000] [--classes 100]
The marks: at most 20 seconds, 1 GB and 5 MB, on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

NUM_THUMBNAILS = 800
NUM_FEATURES = 12
MAKE_RUN = Path(__file__).resolve().parent.parent / "tests" / "report" / "make_run.py"
MEASURE = (
    "import resource, sys, time; start = time.perf_counter(); from tlkit.report import write_report; "
    "path = write_report(sys.argv[1]); "
    "print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, path.stat().st_size)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_run(Path(folder) / "run", options.images, options.classes)
        print(f"evaluated {options.images:,} validation and test images in {time.perf_counter() - start:.1f} s")
        command = [sys.executable, "-c", MEASURE, str(Path(folder) / "run")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, kilobytes, size = map(float, done.stdout.split())
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in kilobytes elsewhere.
    print(f"report of {options.images:,} test images, {options.classes} classes:")
    print(f"  time   {seconds:6.1f} s   (mark 20 s,  {seconds / 20:.2f} of it)")
    print(f"  memory {kilobytes * unit / 1e6:6.0f} MB  (mark 1 GB, {kilobytes * unit / 1e9:.2f} of it)")
    print(f"  page   {size / 1e6:6.2f} MB  (mark 5 MB, {size / 5e6:.2f} of it)")


def write_run(folder: Path, num_test: int, num_classes: int) -> None:
    """Writes a run with classes that lie in pairs, so that there is a pattern of mistakes to show."""
    generator = np.random.default_rng(0)
    num_images = num_test + num_test // 10
    centres = generator.normal(size=(num_classes, NUM_FEATURES))
    centres[1::2] = centres[: num_classes // 2 * 2 : 2] + generator.normal(size=(num_classes // 2, NUM_FEATURES)) / 2
    labels = generator.integers(num_classes, size=num_images)
    features = centres[labels] + generator.normal(size=(num_images, NUM_FEATURES)) * 0.55
    scores = 3.2 * (features @ centres.T - (centres**2).sum(axis=1) / 2)
    probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    splits = np.where(np.arange(num_images) < num_test, "test", "validation").astype(object)
    digests = [hashlib.sha256(str(index).encode()).hexdigest() for index in range(num_images)]
    row = {"phase": "probe", "epoch": 0, "penalty": 0.1, "learning_rate": "", "loss": 1, "accuracy": 0.5}
    runpy.run_path(str(MAKE_RUN))["write_folder"](
        folder,
        [f"images/{index:06d}.jpg" for index in range(num_images)],
        labels,
        splits,
        digests,
        [f"species {index:03d}" for index in range(num_classes)],
        {split: probabilities[splits == split] for split in ("validation", "test")},
        [row | {"val_loss": 1, "val_accuracy": 0.5, "best": True}],
    )
    for digest in digests[:NUM_THUMBNAILS]:
        (folder / "thumbnails" / f"{digest[:32]}.jpg").write_bytes(picture(generator))


def picture(generator: np.random.Generator) -> bytes:
    """A JPEG of 96 pixels with as much detail as a photograph has."""
    blocks = np.kron(generator.integers(0, 255, (12, 12, 3)), np.ones((8, 8, 1)))
    noisy = np.clip(blocks + generator.normal(0, 8, (96, 96, 3)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
