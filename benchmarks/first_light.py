"""The figures of the main command: accuracy over seeds, wall time, start-up time, repeatability.

    python benchmarks/first_light.py [--seeds 10]

Runs `tlkit finetune` on builtin:digits at 96 px with efficientnet_lite0 in processes of its own, as a user does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TLKIT = (sys.executable, "-c", "import sys; from tlkit.cli import main; sys.exit(main())")
STARTS = 7


def run(*arguments: str) -> float:
    """Runs tlkit and returns the seconds it took."""
    start = time.monotonic()
    subprocess.run([*TLKIT, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def finetune(output: Path, seed: int) -> float:
    """Runs the demo's job with a seed and returns the seconds it took."""
    return run("demo", "--seed", str(seed), "--output", str(output))


def spread(values: list[float], digits: int = 2) -> str:
    """Returns median, smallest and largest of values."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"median {middle:.{digits}f}, {low:.{digits}f} to {high:.{digits}f} (n={len(values)})"


def measure_accuracy(folder: Path, seeds: int) -> None:
    """Prints test accuracy over seeds, the time of the first command (nothing cached) and of the others."""
    seconds = [finetune(folder / f"seed{seed}", seed) for seed in range(seeds)]
    metrics = [json.loads((folder / f"seed{seed}" / "metrics.json").read_text()) for seed in range(seeds)]
    accuracies = [found["test"]["accuracy"] for found in metrics]
    mean, worst = statistics.mean(accuracies), min(accuracies)
    print(f"test accuracy, frozen, 96 px: mean {mean:.4f}, worst {worst:.4f}, {seeds} seeds")
    print(f"whole command, nothing cached: {seconds[0]:.1f} s")
    if seeds > 1:
        print(f"whole command, images and weights cached, s: {spread(seconds[1:], 1)}")


def measure_repeatability(folder: Path) -> None:
    """Prints whether the same seed gives the same files."""
    finetune(folder / "again", 0)
    for name in ("metrics.json", "predictions.csv", "probabilities.npy", "manifest.csv"):
        same = (folder / "seed0" / name).read_bytes() == (folder / "again" / name).read_bytes()
        print(f"same seed twice, {name}: {'identical' if same else 'DIFFERENT'}")


def main() -> None:
    """Prints all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    seeds = parser.parse_args().seeds
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TLKIT_CACHE"] = str(Path(folder) / "cache")
        for verb in (["--help"], ["backbones"]):
            print(f"tlkit {' '.join(verb)}, s: {spread([run(*verb) for _ in range(STARTS)])}")
        measure_accuracy(Path(folder), seeds)
        measure_repeatability(Path(folder))


if __name__ == "__main__":
    main()
