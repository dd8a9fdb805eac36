"""What computing the frozen part once is worth: tlkit against the loops that people write, on the same files.

    python benchmarks/features.py                                   # all, 10,000 pictures, 3 rounds: some hours
    python benchmarks/features.py --only frozen --images 2000       # one table
    python benchmarks/features.py --only frozen --pictures digits   # 1,197 of them
    python benchmarks/features.py --only startup,memory
    python benchmarks/features.py --only frozen --backbone mobilenetv2 --contenders guide,tlkit    # some of a table

Fashion-MNIST, or digits, as JPEGs at 96 px; EfficientNet-Lite0, whose ImageNet weights come with the installation.
Other networks are given random weights here, with which their times are right and their accuracies mean nothing. Every
contender runs in a process of its own; rounds alternate, and the first contender of a table runs twice in each: the row
`A/A` shows the noise. Ratios are those of a round: lowest, median, highest. Figures go to benchmarks/results/NAME.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers import make_environment, weights_file
from pictures import SETS, SIDE, write_pictures

HERE = Path(__file__).parent
BACKBONE = "efficientnet_lite0"
TLKIT = (sys.executable, "-c", "import sys; from tlkit.cli import main; sys.exit(main())")
FROZEN = ("--strategy", "frozen", "--image-size", "96")
TABLES = {
    "frozen": (
        "frozen: Keras guide",
        "frozen: Keras, tf.data cache",
        "frozen: PyTorch + timm",
        "frozen: PyTorch + timm, features once",
        "frozen: scikit-learn",
        "frozen: tlkit, Keras engine",
        "frozen: tlkit, OpenVINO",
        "frozen: tlkit, OpenVINO bfloat16",
    ),
    "partial": ("partial: Keras", "partial: PyTorch + timm", "partial: tlkit uncached", "partial: tlkit cached"),
    "full": ("full: Keras", "full: PyTorch + timm", "full: raw steps", "full: tlkit"),
}
Row = dict[str, Any]


class Bench:
    """Where things lie, and what was measured."""

    def __init__(self, given: argparse.Namespace, peers: bool):
        self.rounds, self.backbone = given.rounds, given.backbone
        self.python = make_environment(given.folder / "peers") if peers else None
        self.pictures = write_pictures(given.folder / f"{given.pictures}-{given.images}", given.images, given.pictures)

    def run(self, name: str) -> Row | None:
        """Runs one contender and returns what it printed, with the seconds of the whole process; None without peers."""
        if "PyTorch" in name:
            if self.python is None:
                return None
            command = [self.python, HERE / "peers_torch.py", name, self.pictures, weights_file()]
        else:
            command = [sys.executable, HERE / "contenders.py", name, self.pictures, self.backbone]
        start = time.perf_counter()
        quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=quiet)
        if done.returncode:
            raise RuntimeError(f"{name} failed:\n{done.stderr[-3000:]}")
        return json.loads(done.stdout.splitlines()[-1]) | {"process_seconds": time.perf_counter() - start}


def measure_table(bench: Bench, names: Sequence[str]) -> dict[str, list[Row]]:
    """Runs all contenders in turn, round after round; the first twice, as `A/A`."""
    found: dict[str, list[Row]] = {}
    for number in range(bench.rounds):
        for label, name in [(name, name) for name in names] + [("A/A", names[0])]:
            row = bench.run(name)
            if row is not None:
                found.setdefault(label, []).append(row)
                print(f"  round {number + 1}: {label}: {row['seconds']:.1f} s", file=sys.stderr, flush=True)
    return found


def print_table(found: dict[str, list[Row]]) -> None:
    """Prints seconds, ratios to the first contender and accuracies."""
    base = next(iter(found))
    print(f"\n{'':42}{'seconds':>24}{'times faster than the first':>30}{'val':>8}{'test':>8}")
    for name, rows in found.items():
        seconds = [row["seconds"] for row in rows]
        ratios = [first["seconds"] / row["seconds"] for first, row in zip(found[base], rows, strict=True)]
        accuracies = "".join(f"{rows[0][key]:8.3f}" if key in rows[0] else f"{'':8}" for key in ACCURACIES)
        print(f"{name:42}{spread(seconds, 1):>24}{spread(ratios, 2):>30}{accuracies}")


ACCURACIES = ("val_accuracy", "test_accuracy")


def spread(values: Sequence[float], digits: int) -> str:
    """Returns lowest, median and highest."""
    ordered = (min(values), statistics.median(values), max(values))
    return " / ".join(f"{value:.{digits}f}" for value in ordered)


def print_time_to_accuracy(tables: dict[str, dict[str, list[Row]]]) -> dict[str, list[float | None]]:
    """Prints when each contender first had 95 % of the best validation accuracy that any of them reached."""
    rows = {name: found for table in tables.values() for name, found in table.items() if name != "A/A"}
    best = max((value for found in rows.values() for row in found for _, value in row["curve"]), default=0.0)
    reached: dict[str, list[float | None]] = {}
    print(f"\nSeconds to a validation accuracy of {0.95 * best:.3f}, 95 % of the best reached ({best:.3f})")
    for name, found in rows.items():
        times = [next((seconds for seconds, value in row["curve"] if value >= 0.95 * best), None) for row in found]
        reached[name] = times
        known = [value for value in times if value is not None]
        print(f"{name:42}{spread(known, 1) if len(known) == len(times) else 'not reached':>24}")
    return reached


def measure_startup(rounds: int) -> dict[str, list[float]]:
    """Prints the seconds until help, a listing and the end of the first training step."""
    first_step = (
        "import numpy as np, tlkit; x = np.zeros((32, 96, 96, 3), 'uint8'); y = np.arange(32) % 10; "
        f"model = tlkit.build_classifier('{BACKBONE}', 10, image_size=96); "
        "tlkit.fine_tune(model, (x, y), validation_data=(x, y), strategy=[tlkit.Phase('one', epochs=1)])"
    )
    commands = {
        "tlkit --help": (*TLKIT, "--help"),
        "tlkit backbones": (*TLKIT, "backbones"),
        "first training step": (sys.executable, "-c", first_step),
    }
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            found.setdefault(name, []).append(time.perf_counter() - start)
    print()
    for name, seconds in found.items():
        print(f"{name:42}{spread(seconds, 2):>24} s")
    return found


def measure_commands(bench: Bench) -> dict[str, list[float]]:
    """Prints the seconds of whole commands: `tlkit finetune` of the head, with its report, and the guide's script."""
    found: dict[str, list[float]] = {}
    for number in range(bench.rounds):
        for engine in ("keras", "auto"):
            with tempfile.TemporaryDirectory() as empty:
                environment = os.environ | {"TLKIT_CACHE": str(Path(empty, "cache"))}
                options = (*FROZEN, "--backbone", bench.backbone, "--engine", engine)
                command = [*TLKIT, "finetune", "--data", str(bench.pictures), *options, "--output", f"{empty}/run"]
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True, env=environment)
                found.setdefault(f"tlkit finetune --engine {engine}", []).append(time.perf_counter() - start)
        guide = bench.run("frozen: Keras guide")
        assert guide is not None
        found.setdefault("Keras guide, whole script", []).append(guide["process_seconds"])
        print(f"  round {number + 1} of whole commands", file=sys.stderr, flush=True)
    print()
    guides = found["Keras guide, whole script"]
    for name, seconds in found.items():
        ratios = [theirs / ours for theirs, ours in zip(guides, seconds, strict=True)]
        print(f"{name:42}{spread(seconds, 1):>24}{spread(ratios, 2):>30}")
    return found


MEMORY = """
import json, os, sys, tempfile, threading, time
from pathlib import Path
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024
peak, ended = [0.0], threading.Event()
def watch():
    while not ended.wait(0.02):
        peak[0] = max(peak[0], anonymous())
threading.Thread(target=watch, daemon=True).start()
from tlkit.cli import app
try:
    app(sys.argv[1:], standalone_mode=False)
finally:
    ended.set()
print(json.dumps({"peak": peak[0]}))
"""


def measure_memory(folder: Path, counts: Sequence[int]) -> dict[str, dict[int, float]]:
    """Prints the peak of anonymous memory of `tlkit finetune`, in MB, by engine and number of training pictures."""
    peaks: dict[str, dict[int, float]] = {"keras": {}, "auto": {}}
    for engine, count in itertools.product(peaks, counts):
        pictures = write_pictures(folder / f"fashion-{count}", count)
        with tempfile.TemporaryDirectory(dir=folder) as empty:
            options = (*FROZEN, "--backbone", BACKBONE, "--engine", engine, "--output", f"{empty}/run")
            command = [sys.executable, "-c", MEMORY, "finetune", "--data", str(pictures), *options]
            environment = os.environ | {"TLKIT_CACHE": str(Path(empty, "cache"))}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        peaks[engine][count] = json.loads(done.stdout.splitlines()[-1])["peak"]
        print(f"--engine {engine:6}{count:7,} pictures: {peaks[engine][count]:,.0f} MB anonymous at most", flush=True)
    return peaks


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="frozen,partial,full,commands,startup,memory")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--pictures", choices=SETS, default="fashion")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backbone", default=BACKBONE, help="of the tables and the whole commands")
    parser.add_argument("--contenders", default="", help="words of their names, separated by commas; all by default")
    parser.add_argument("--memory-images", default="1000,10000,50000")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "tlkit-bench"))
    parser.add_argument("--without-peers", action="store_true", help="leave PyTorch + timm out")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "features.json")
    given = parser.parse_args()
    wanted = given.only.split(",")
    compared = [name for name in TABLES if name in wanted]
    given.folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {name: getattr(given, name) for name in ("pictures", "images", "rounds", "backbone")}
    results["side"] = SIDE
    if compared or "commands" in wanted:
        peers = bool(compared) and not given.without_peers
        bench = Bench(given, peers)
        words = given.contenders.split(",")
        tables = {}
        for name in compared:
            tables[name] = measure_table(bench, [row for row in TABLES[name] if any(word in row for word in words)])
            print_table(tables[name])
        results["tables"] = tables
        if tables:
            results["seconds_to_95_percent"] = print_time_to_accuracy(tables)
        if "commands" in wanted:
            results["commands"] = measure_commands(bench)
    if "startup" in wanted:
        results["startup"] = measure_startup(max(given.rounds, 3))
    if "memory" in wanted:
        results["memory"] = measure_memory(given.folder, [int(count) for count in given.memory_images.split(",")])
    given.output.parent.mkdir(exist_ok=True)
    given.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
