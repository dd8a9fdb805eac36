"""Measures `tlkit search` against plain KerasTuner random search: same space, objective, images and wall time.

The plain side is what KerasTuner's guide shows: a `build` that unfreezes what the trial says, `fit` on images, early
stopping, all in one process. What it does not vary is held at what it does: one rate for all layers, no augmentation.
Ours is the command, extraction of features and starts of processes counted. The score of a trial is on both sides the
validation accuracy of its best epoch. Marks, of the means over seeds: at equal wall time our best score is no lower;
plain's final one is reached in 0.33 of that time. How long plain itself took to reach it is told beside.

    python benchmarks/search.py --minutes 10 --seeds 3   # digits and Fashion-MNIST, a few images a class
    python benchmarks/search.py --memory head            # memory over 50 head trials, and their time
    python benchmarks/search.py --memory body            # memory over 50 trials that train a small network
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 64
PER_CLASS = {"train": 35, "val": 50, "test": 10}  # Few-shot; and enough to validate on that luck does not reach 1.
SPACE = """preset = "quick"
[space]
strategy = ["frozen", "partial", "full"]
learning_rate = { low = 3e-5, high = 3e-3, sampling = "log" }
layer_decay = 1.0
label_smoothing = [0.0, 0.1]
augment = "none"
pooling = ["avg", "both"]
"""
COMMAND = [sys.executable, "-c", "import sys; from tlkit.cli import main; sys.exit(main())", "search"]
Progress = list[tuple[float, float]]


def few_images(name: str, folder: Path, seed: int) -> Path:
    """Writes a few images of each class, divided into parts, as an .npz file."""
    from tlkit import data

    manifest = data.from_spec({"digits": "builtin:digits", "fashion": "idx:/usr/share/datasets/fashion-mnist"}[name])
    labels = manifest.labels()
    generator = np.random.default_rng(seed)
    ends = np.cumsum(list(PER_CLASS.values()))
    by_class = [generator.permutation(np.flatnonzero(labels == one))[: ends[-1]] for one in range(10)]
    arrays = {}
    for part, found in zip(PER_CLASS, np.split(np.stack(by_class), ends[:-1], axis=1), strict=True):
        rows = found.ravel()
        images = [np.asarray(manifest.source.read(manifest.items["item"].iloc[row])) for row in rows]
        arrays |= {f"x_{part}": np.stack(images), f"y_{part}": labels[rows]}
    path = folder / f"{name}-{seed}.npz"
    np.savez(path, **arrays)
    return path


def ours(data: Path, folder: Path, seconds: float, seed: int) -> Progress:
    """Runs the command and returns (seconds, best validation accuracy so far) after each trial."""
    space = folder / "space.toml"
    space.write_text(SPACE)
    output = folder / "search"
    arguments = ["--data", str(data), "--image-size", str(SIDE), "--space", str(space), "--trials", "1000"]
    arguments += ["--time-budget", f"{seconds:.0f}s", "--repeats", "0", "--seed", str(seed), "--output", str(output)]
    began = time.time()
    environment = os.environ | {"TLKIT_CACHE": str(folder / "cache")}  # Nothing decoded or extracted before.
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, env=environment)
    while process.poll() is None and time.time() - began < seconds:
        time.sleep(0.2)
    process.kill()  # The winner's own run belongs to neither side.
    process.wait()
    found = {path: json.loads(path.read_text()) for path in output.glob("trials/*/trial.json")}
    ended = sorted(
        (trial["ended"] - began, best_epoch(path.with_name("history.csv")))
        for path, trial in found.items()
        if trial["status"] == "completed"
    )
    return best_so_far([point for point in ended if point[0] <= seconds])


def best_epoch(history: Path) -> float:
    """Returns the score of a trial as KerasTuner counts it: its best epoch's, whichever epoch we keep."""
    with history.open() as file:
        return max(float(row["val_accuracy"]) for row in csv.DictReader(file))


def plain(data: Path, folder: Path, seconds: float, seed: int) -> Progress:
    """Runs plain KerasTuner in a process of its own and returns the same."""
    output = folder / "plain.json"
    process = subprocess.Popen([sys.executable, __file__, "--plain", str(data), str(output), str(seed)])
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    found = json.loads(output.read_text()) if output.exists() else []
    return best_so_far([(when, score) for when, score in found if when <= seconds])


def best_so_far(points: list[tuple[float, float]]) -> Progress:
    """Returns each point with the best score up to it."""
    return [(when, max(score for _, score in points[: index + 1])) for index, (when, _) in enumerate(points)]


def run_plain(data: str, output: str, seed: int) -> None:
    """The plain side: what a user of KerasTuner writes."""
    began = time.time()
    import keras
    import keras_tuner

    from tlkit import data as tlkit_data
    from tlkit.classifier import build_classifier
    from tlkit.data.loader import ImageDataset
    from tlkit.strategies import HEAD, INPUT, Phase, apply_phase, stages_at_last_resolution, stages_of

    manifest = tlkit_data.from_spec(data)
    store = tlkit_data.open_store(manifest, tlkit_data.make_transform(SIDE))
    manifest = tlkit_data.audit(manifest, store.facts).manifest.split(0.15, 0.15, seed=seed)
    train, validation = (
        ImageDataset(store, manifest.indices(part), manifest.labels(part), shuffle=part == "train")
        for part in ("train", "validation")
    )
    scores: list[tuple[float, float]] = []

    def build(hp: Any) -> Any:
        strategy = hp.Choice("strategy", ["frozen", "partial", "full"])
        rate = hp.Float("learning_rate", 3e-5, 3e-3, sampling="log")
        smoothing = hp.Choice("label_smoothing", [0.0, 0.1])
        model = build_classifier(
            "efficientnet_lite0", 10, image_size=SIDE, pooling=hp.Choice("pooling", ["avg", "both"])
        )
        stages = stages_of(model)
        start = {"frozen": HEAD, "full": INPUT, "partial": stages_at_last_resolution(model, stages)}[strategy]
        apply_phase(model, Phase("plain", start, 1), stages)
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
        model.compile(keras.optimizers.AdamW(rate), loss, metrics=["accuracy"], jit_compile=False)
        return model

    class Timed(keras_tuner.RandomSearch):
        def on_trial_end(self, trial: Any) -> None:
            super().on_trial_end(trial)
            if trial.status == "COMPLETED":
                scores.append((time.time() - began, trial.metrics.get_best_value("val_accuracy")))
                Path(output).write_text(json.dumps(scores))

    def one_hot(dataset: ImageDataset) -> tuple[np.ndarray, np.ndarray]:
        return store.images(dataset.indices).astype("float32"), np.eye(10)[dataset.labels]

    with tempfile.TemporaryDirectory() as folder:
        tuner = Timed(build, "val_accuracy", max_trials=1000, seed=seed + 1, directory=folder, project_name="plain")
        tuner.search(
            *one_hot(train),
            validation_data=one_hot(validation),
            epochs=10,
            callbacks=[keras.callbacks.EarlyStopping("val_loss", patience=3)],
            verbose=0,
        )


def mean_over_seeds(runs: list[Progress]) -> Progress:
    """Returns the mean of the best scores so far whenever one of the runs ended a trial; 0 before a first."""
    moments = sorted({when for progress in runs for when, _ in progress})
    return [
        (
            moment,
            sum(max((best for when, best in progress if when <= moment), default=0.0) for progress in runs) / len(runs),
        )
        for moment in moments
    ]


def first_reaching(progress: Progress, score: float) -> float | None:
    """Returns the seconds after which a score was reached."""
    return next((when for when, best in progress if best >= score - 1e-6), None)


def told_scores(sides: list[Progress], seconds: float) -> str:
    """Returns the best scores of both sides, when each reached plain's, and the share of the time that ours took."""
    best = [progress[-1][1] if progress else 0.0 for progress in sides]
    reached = [first_reaching(progress, best[1]) for progress in sides]
    share = reached[0] / seconds if reached[0] else float("inf")
    told = f"{reached[0] or 0:8.0f} / {reached[1] or 0:<8.0f}"
    return f"    {best[0]:.4f}     {best[1]:.4f}   {told}             {share:.2f}"


def compare(minutes: float, seeds: int) -> None:
    """Prints a row for each data set and seed, and the marks."""
    print(f"{os.cpu_count()} cores, {minutes:g} minutes a side, {SIDE} px, images a class: {PER_CLASS}")
    print("data     seed  trials ours/plain  best ours  best plain  seconds to plain's best, ours/plain  of wall time")
    for name in ("digits", "fashion"):
        runs: list[list[Progress]] = []
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                data = few_images(name, folder, seed)
                sides = [side(data, folder, 60 * minutes, seed) for side in (ours, plain)]
            runs.append(sides)
            trials = f"{len(sides[0]):6d} / {len(sides[1]):<6d}"
            print(f"{name:8s} {seed:4d}  {trials} {told_scores(sides, 60 * minutes)}", flush=True)
        means = [mean_over_seeds(list(side)) for side in zip(*runs, strict=True)]
        print(f"{name:8s} mean  {'':15s} {told_scores(means, 60 * minutes)}", flush=True)


BODY_SPACE = """[space]
strategy = "scratch"
weights = "none"
learning_rate = { low = 1e-4, high = 1e-2, sampling = "log" }
"""


def resident_megabytes(process: int) -> float:
    """Returns the memory of a process that is not shared with a file; 0 where it has ended. Linux only."""
    try:
        return int(Path(f"/proc/{process}/status").read_text().partition("RssAnon:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        return 0.0


def children_of(process: int) -> list[int]:
    """Returns the processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rsplit(")", 1)[1].split()[1]) == process:
                found.append(int(path.parent.name))
        except OSError:  # It has ended meanwhile.
            continue
    return found


def measure_memory(kind: str) -> None:
    """Prints the memory of a search and the processes that it keeps over 50 trials; of head trials the time, too."""
    with tempfile.TemporaryDirectory() as temporary:
        output, space = Path(temporary) / "search", Path(temporary) / "space.toml"
        space.write_text(BODY_SPACE)
        network = ["--backbone", "scratch:lenet5", "--image-size", "32", "--epochs", "1"]
        wanted = ["--space", "head"] if kind == "head" else ["--space", str(space), *network]
        arguments = ["--data", "builtin:digits", *wanted, "--trials", "50", "--output", str(output)]
        process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL)
        resident: dict[int, float] = {}  # By how many trials have ended: the most of the search and what it keeps.
        while process.poll() is None and len(resident) <= 50:
            done = sum('"completed"' in path.read_text() for path in output.glob("trials/*/trial.json"))
            kept = [process.pid, *children_of(process.pid)]
            resident[done] = max(resident.get(done, 0.0), sum(map(resident_megabytes, kept)))
            if done >= 50:
                break
            time.sleep(0.1)
        process.kill()
        process.wait()
        trials = [json.loads(path.read_text()) for path in sorted(output.glob("trials/*/trial.json"))]
    if kind == "head":
        extraction = sum(one["seconds"].get("extraction", 0.0) for one in trials)
        heads = sum(one["seconds"].get("head", 0.0) for one in trials)
        wall = max(one["ended"] for one in trials) - min(one["ended"] for one in trials)
        wall += sum(trials[0]["seconds"].values())
        print(f"{len(trials)} head trials: {wall:.1f} s, extraction {extraction:.1f} s, heads {heads:.1f} s")
        print(f"ratio {wall / extraction:.2f} (mark: at most 2)")
    early = max(value for done, value in resident.items() if done <= 10)
    late = max(value for done, value in resident.items() if done >= 40)
    print(f"search and the processes it keeps: {early:.0f} MB up to trial 10, {late:.0f} MB from trial 40 on")
    peaks = [one["peak_memory_bytes"] / 1e6 for one in trials if one["peak_memory_bytes"]]
    print(f"processes of trials: at most {max(peaks[:10]):.0f} MB up to trial 10, {max(peaks[-10:]):.0f} MB at the end")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--memory", choices=("head", "body"))
    parser.add_argument("--plain", nargs=3, metavar=("DATA", "OUTPUT", "SEED"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plain:
        run_plain(given.plain[0], given.plain[1], int(given.plain[2]))
    elif given.memory:
        measure_memory(given.memory)
    else:
        compare(given.minutes, given.seeds)
