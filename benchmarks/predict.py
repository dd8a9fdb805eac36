"""How fast pictures are predicted, and which runtime is fastest on this machine.

    python benchmarks/predict.py [--pictures 2000] [--backbone mobilenetv2] [--runtimes mobilenetv2,resnet50]

Predicts JPEGs of 500 x 375 pixels with a network of random weights at its own size (which computes as fast as a trained
one), and prints the rate beside what decoding and computing one after the other would give. With --runtimes it exports
networks to every format and prints how many pictures a second each computes.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tlkit.backend import start_keras

TLKIT = (sys.executable, "-c", "import sys; from tlkit.cli import main; sys.exit(main())")
CLASSES = tuple(f"class {number}" for number in range(10))
BATCHES = (1, 32)
SECONDS = 4.0  # Of each timing.
FEW = 32  # Pictures, for what starting takes: Python, Keras, the model, compiling.


def make_pictures(folder: Path, count: int) -> list[Path]:
    """Writes parts of two photographs as JPEGs of 500 x 375 pixels."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    rng = np.random.default_rng(0)
    paths = [folder / f"{number:05d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        left, top = int(rng.integers(0, 140)), int(rng.integers(0, 52))
        photographs[number % 2].crop((left, top, left + 500, top + 375)).save(path, quality=90)
    return paths


def make_run(folder: Path, backbone: str) -> None:
    """Writes a run folder around a network of random weights."""
    from tlkit import run
    from tlkit.backbones.registry import get_backbone
    from tlkit.classifier import build_classifier
    from tlkit.data.transform import make_transform

    folder.mkdir()
    size = get_backbone(backbone).default_image_size
    build_classifier(backbone, len(CLASSES), weights="none").save(folder / run.MODEL)
    run.write_labels(folder, CLASSES)
    run.write_json(folder / run.TRANSFORM, make_transform(size).to_dict())
    run.write_state(folder, "complete")


def seconds_a_call(call: Callable[[], object]) -> float:
    """Returns the mean time of a call, after one that is not counted."""
    call()
    start, calls = time.perf_counter(), 0
    while calls < 3 or time.perf_counter() - start < SECONDS:
        call()
        calls += 1
    return (time.perf_counter() - start) / calls


def measure_predict(folder: Path, backbone: str, count: int) -> None:
    """Prints the rate of predictions in this process and of the whole command, and what they are made of."""
    from tlkit.prediction import load_run, predict

    (folder / "pictures").mkdir()
    paths = make_pictures(folder / "pictures", count)
    make_run(folder / "run", backbone)
    classifier = load_run(folder / "run")
    size = classifier.transform.image_size
    batch = np.zeros((32, size, size, 3), np.uint8)
    list(predict(classifier, paths[:64]))  # Compiles.
    forward = seconds_a_call(lambda: classifier.model.predict_on_batch(batch)) / len(batch)
    files = [io.BytesIO(path.read_bytes()).getvalue() for path in paths[:100]]
    decode = seconds_a_call(lambda: [classifier.transform(data) for data in files]) / len(files)
    serial = 1 / (forward + decode)
    start = time.perf_counter()
    done = sum(not one.problem for one in predict(classifier, paths))
    rate = done / (time.perf_counter() - start)
    print(f"{backbone} at {size} px, {count:,} JPEGs of 500 x 375")
    print(
        f"  forward {1000 * forward:.2f} ms, decode and resize {1000 * decode:.2f} ms: in turn {serial:.1f} pictures/s"
    )
    print(f"  tlkit.predict: {rate:.1f} pictures/s, {rate / serial:.2f} of that")
    few = folder / "few"
    few.mkdir()
    for path in paths[:FEW]:
        (few / path.name).hardlink_to(path)
    start_up = seconds_of_command(folder / "run", few)
    whole = seconds_of_command(folder / "run", folder / "pictures")
    rate = (count - FEW) / (whole - start_up)
    print(f"  tlkit predict: {rate:.1f} pictures/s after the first {FEW}, {rate / serial:.2f} of that")
    share = count / whole / serial
    print(f"  whole command: {whole:.1f} s, {share:.2f} of that; the first {FEW} take {start_up:.1f} s")


def seconds_of_command(run_folder: Path, pictures: Path) -> float:
    """Returns what the command takes from its start to its end."""
    start = time.perf_counter()
    arguments = ["predict", str(run_folder), str(pictures), "--format", "csv"]
    subprocess.run([*TLKIT, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure_runtimes(folder: Path, backbone: str) -> None:
    """Prints how many pictures a second each format computes, and the fastest at each batch size."""
    from tlkit.classifier import build_classifier
    from tlkit.export.conversion import converting
    from tlkit.export.deployable import deployable_model
    from tlkit.export.formats import FORMATS

    model = deployable_model(build_classifier(backbone, len(CLASSES), weights="none"))
    size = model.input.shape[1]
    rates: dict[int, dict[str, float]] = {batch: {} for batch in BATCHES}
    for name, found in FORMATS.items():
        target = folder / backbone / name
        target.mkdir(parents=True)
        with converting(model, name):
            found.write["float32"](model, target / found.file)
            run = found.open(target / found.file)
            for batch in BATCHES:
                pixels = np.random.default_rng(0).uniform(0, 255, (batch, size, size, 3)).astype("float32")
                rates[batch][name] = batch / seconds_a_call(lambda run=run, pixels=pixels: run(pixels))
    for batch, found_rates in rates.items():
        told = ", ".join(f"{name} {rate:.1f}" for name, rate in found_rates.items())
        fastest = max(found_rates, key=found_rates.__getitem__)
        print(f"{backbone} {size} px, batch {batch}, pictures/s: {told}; fastest {fastest}")


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--backbone", default="mobilenetv2")
    parser.add_argument("--runtimes", default="", help="Names of networks, separated by commas.")
    given = parser.parse_args()
    start_keras()
    with tempfile.TemporaryDirectory() as folder:
        if given.pictures:
            measure_predict(Path(folder), given.backbone, given.pictures)
        for backbone in filter(None, given.runtimes.split(",")):
            measure_runtimes(Path(folder), backbone)


if __name__ == "__main__":
    main()
