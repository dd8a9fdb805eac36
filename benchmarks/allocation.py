"""What keeping freed memory in the process saves: one training with and without it, each in processes of their own.

    python benchmarks/allocation.py --rounds 5      # writes benchmarks/allocation.md

A side trains EfficientNet-Lite0 for a few epochs and tells the seconds of an epoch, the first of which compiles, left
out, the page faults of a step, and the most memory that the process had. Sides take turns; the ratio is that of the
medians of each round, its spread that over rounds. The limit is the training without any page fault.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

TABLE = Path(__file__).with_suffix(".md")
CASES = [("full", 96, 320), ("full", 32, 1600), ("partial", 32, 1600)]  # Strategy, pixels, images.
EPOCHS, BATCH = 5, 32


def train(strategy: str, image_size: int, images: int, kept: bool) -> None:
    """Trains in this process and prints what it took."""
    import resource

    import keras

    import tlkit

    if kept and not tlkit.keep_freed_memory():
        sys.exit("Expected the GNU C library and no choice of its own in the environment.")

    class Watch(keras.callbacks.Callback):
        seconds, faults = list[float](), list[int]()

        def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            self.began, self.before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            self.seconds.append(time.monotonic() - self.began)
            self.faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - self.before)

    generator, watch = np.random.default_rng(0), Watch()
    x = generator.integers(0, 256, (images, image_size, image_size, 3), np.uint8)
    y = generator.integers(0, 10, images)
    model = tlkit.build_classifier("efficientnet_lite0", 10, image_size=image_size)
    part = (x[:BATCH], y[:BATCH])
    tlkit.fine_tune(model, (x, y), validation_data=part, strategy=strategy, epochs=EPOCHS, callbacks=[watch])
    found = {
        "seconds": statistics.median(watch.seconds[1:]),
        "faults": statistics.median(watch.faults[1:]) / (images // BATCH),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(found))


def side(case: tuple[str, int, int], kept: bool) -> dict[str, float]:
    """Trains in a process of its own."""
    arguments = [*map(str, case), *(["--kept"] if kept else [])]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, "--train", *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(rounds: int) -> str:
    """Runs both sides in turn and returns the table."""
    lines = [
        "| strategy | pixels | seconds of an epoch, kept / given back | ratio | page faults a step | peak memory, MB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for case in CASES:
        pairs = [(side(case, True), side(case, False)) for _ in range(rounds)]
        ratios = sorted(kept["seconds"] / given["seconds"] for kept, given in pairs)
        middle = {
            name: [statistics.median(one[name] for one in found) for found in zip(*pairs, strict=True)]
            for name in ("seconds", "faults", "megabytes")
        }
        told = (
            f"{middle['seconds'][0]:.2f} / {middle['seconds'][1]:.2f}",
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})",
            f"{middle['faults'][0]:,.0f} / {middle['faults'][1]:,.0f}",
            f"{middle['megabytes'][0]:,.0f} / {middle['megabytes'][1]:,.0f}",
        )
        lines.append(f"| {case[0]} | {case[1]} | " + " | ".join(told) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train", nargs=3, metavar=("STRATEGY", "PIXELS", "IMAGES"), help=argparse.SUPPRESS)
    parser.add_argument("--kept", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        train(given.train[0], int(given.train[1]), int(given.train[2]), given.kept)
    else:
        TABLE.write_text(
            "# Freed memory kept in the process\n\n"
            f"EfficientNet-Lite0, batches of {BATCH}, {os.cpu_count()} cores, {given.rounds} rounds. Written by "
            f"`python benchmarks/allocation.py`, which tells how.\n\n{compare(given.rounds)}\n"
        )
