"""The contenders that run in tlkit's own environment, each in a process of its own; `features.py` starts them.

    python benchmarks/contenders.py NAME FOLDER BACKBONE

Prints one line of JSON: `seconds` from the first file read to the trained model, accuracies on val and test, and
`curve`, the pairs (seconds, val accuracy) on the way. Importing and building the network are not in `seconds`; the
whole process is timed by who starts it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

SIDE = 96
BATCH = 32
EPOCHS = 10
FULL_EPOCHS = 3
HEAD_RATE, BODY_RATE = 1e-3, 1e-4
Result = dict[str, Any]


class Curve(keras.callbacks.Callback):
    """Notes when which validation accuracy was reached."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.start, self.points = start, []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.points.append((time.perf_counter() - self.start, float((logs or {})["val_accuracy"])))


def classifier(backbone: str) -> keras.Model:
    """The network that all contenders here start from."""
    from tlkit.backbones.registry import get_backbone
    from tlkit.classifier import build_classifier

    keras.utils.set_random_seed(0)
    weights = "imagenet" if get_backbone(backbone).weights == "packaged" else "none"
    return build_classifier(backbone, 10, image_size=SIDE, weights=weights)


# --- tlkit ---


def tlkit_run(folder: Path, backbone: str, phases: Any, **extraction: str) -> Result:
    """Trains as tlkit does, from an empty cache."""
    from tlkit import data
    from tlkit.config import ExtractionConfig
    from tlkit.training import Recipe, evaluate, fine_tune

    model = classifier(backbone)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TLKIT_CACHE"] = cache
        start = time.perf_counter()
        manifest = data.from_directory(folder).split(seed=0)
        train, val, test = (data.load(manifest, part, image_size=SIDE, batch_size=BATCH) for part in PARTS)
        decoded = time.perf_counter() - start
        history = fine_tune(
            model,
            train,
            validation_data=val,
            strategy=phases(model),
            recipe=Recipe(extraction=ExtractionConfig(**extraction)),
        )
        seconds = time.perf_counter() - start
        metrics = evaluate(model, test)
        best = max(history.history["val_accuracy"])
    return {
        "seconds": seconds,
        "decoded": decoded,
        "val_accuracy": best,
        "test_accuracy": metrics["accuracy"],
        "curve": [(seconds, best)],
        "extractions": history.extractions,
    }


PARTS = ("train", "validation", "test")


def head(model: keras.Model) -> Any:
    """The convex head alone."""
    from tlkit.strategies import CONVEX_HEAD

    return (CONVEX_HEAD,)


def last_stage(model: keras.Model) -> Any:
    """The convex head, then the last blocks."""
    from tlkit.phases import Phase
    from tlkit.strategies import CONVEX_HEAD, stages_of

    stage = stages_of(model)[-2].name  # With the convolution that ends the network, which is a stage of its own.
    return (CONVEX_HEAD, Phase("last", stage, epochs=EPOCHS, learning_rate=BODY_RATE))


def everything(model: keras.Model) -> Any:
    """Everything at once, as the others do it."""
    from tlkit.phases import Phase

    return (Phase("all", "input", epochs=FULL_EPOCHS, learning_rate=BODY_RATE, warmup=0.0),)


# --- Keras as its guide has it ---


def files(folder: Path, part: str, shuffle: bool) -> Any:
    """Keras's own loader."""
    return keras.utils.image_dataset_from_directory(
        folder / part, image_size=(SIDE, SIDE), batch_size=BATCH, shuffle=shuffle, seed=0, verbose=False
    )


def cached(dataset: Any) -> Any:
    """The dataset decoded once, kept in memory."""
    return dataset.cache().prefetch(4)


def plain(dataset: Any) -> Any:
    """The dataset decoded in every epoch."""
    return dataset.prefetch(4)


def keras_run(folder: Path, backbone: str, keep: Callable, freeze: Callable, rate: float, epochs: int) -> Result:
    """Compiles and fits."""
    model = classifier(backbone)
    freeze(model)
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False
    )
    start = time.perf_counter()
    train, val, test = (keep(files(folder, part, part == "train")) for part in ("train", "val", "test"))
    curve = Curve(start)
    model.fit(train, validation_data=val, epochs=epochs, callbacks=[curve], verbose=0)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "val_accuracy": max(accuracy for _, accuracy in curve.points),
        "test_accuracy": model.evaluate(test, verbose=0)[1],
        "curve": curve.points,
    }


def freeze_base(model: keras.Model) -> None:
    """All but the head."""
    for layer in model.layers:
        layer.trainable = layer.name == "head"


def freeze_all_but_last_stage(model: keras.Model) -> None:
    """What comes before the last stage, and BatchNormalization."""
    from tlkit.graph import layers_after
    from tlkit.strategies import stages_of

    last = {id(layer) for layer in layers_after(model, stages_of(model)[-3].layer)}
    for layer in model.layers:
        frozen = id(layer) not in last or isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = not frozen


def freeze_normalisation(model: keras.Model) -> None:
    """BatchNormalization alone."""
    for layer in model.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)


def raw_steps(folder: Path, backbone: str) -> Result:
    """Steps on tensors that lie in memory: no loader, no callbacks, no validation."""
    model = classifier(backbone)
    freeze_normalisation(model)
    model.compile(keras.optimizers.Adam(BODY_RATE), "sparse_categorical_crossentropy", jit_compile=False)
    batches = [(np.asarray(x), np.asarray(y)) for x, y in files(folder, "train", True)]
    start = time.perf_counter()
    for _ in range(FULL_EPOCHS):
        for x, y in batches:
            model.train_on_batch(x, y)
    return {"seconds": time.perf_counter() - start, "curve": []}


def sklearn_run(folder: Path, backbone: str) -> Result:
    """Features from Keras's `predict`, then scikit-learn's logistic regression over three penalties."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    model = classifier(backbone)
    features = keras.Model(model.inputs[0], model.get_layer("pooled_features").output)
    start = time.perf_counter()
    parts = {}
    for part in ("train", "val", "test"):
        dataset = files(folder, part, False)
        labels = np.concatenate([np.asarray(y) for _, y in dataset])
        parts[part] = (features.predict(dataset, verbose=0), labels)
    scaler = StandardScaler().fit(parts["train"][0])
    fits = []
    for strength in (1e-3, 1e-2, 1e-1):
        found = LogisticRegression(C=strength, max_iter=1000).fit(
            scaler.transform(parts["train"][0]), parts["train"][1]
        )
        fits.append((found.score(scaler.transform(parts["val"][0]), parts["val"][1]), found))
    best = max(fits, key=lambda pair: pair[0])
    seconds = time.perf_counter() - start
    test = best[1].score(scaler.transform(parts["test"][0]), parts["test"][1])
    return {"seconds": seconds, "val_accuracy": best[0], "test_accuracy": test, "curve": [(seconds, best[0])]}


CONTENDERS: dict[str, Callable[[Path, str], Result]] = {
    "frozen: tlkit, Keras engine": lambda folder, name: tlkit_run(folder, name, head, engine="keras"),
    "frozen: tlkit, OpenVINO": lambda folder, name: tlkit_run(folder, name, head, engine="openvino"),
    "frozen: tlkit, OpenVINO bfloat16": lambda folder, name: tlkit_run(folder, name, head, engine="openvino-bfloat16"),
    "frozen: Keras guide": lambda folder, name: keras_run(folder, name, plain, freeze_base, HEAD_RATE, EPOCHS),
    "frozen: Keras, tf.data cache": lambda folder, name: keras_run(
        folder, name, cached, freeze_base, HEAD_RATE, EPOCHS
    ),
    "frozen: scikit-learn": sklearn_run,
    "partial: tlkit cached": lambda folder, name: tlkit_run(folder, name, last_stage, engine="keras"),
    "partial: tlkit uncached": lambda folder, name: tlkit_run(folder, name, last_stage, engine="keras", cache="off"),
    "partial: Keras": lambda folder, name: keras_run(
        folder, name, cached, freeze_all_but_last_stage, BODY_RATE, EPOCHS
    ),
    "full: tlkit": lambda folder, name: tlkit_run(folder, name, everything, engine="keras"),
    "full: Keras": lambda folder, name: keras_run(folder, name, cached, freeze_normalisation, BODY_RATE, FULL_EPOCHS),
    "full: raw steps": raw_steps,
}


if __name__ == "__main__":
    chosen, pictures, network = sys.argv[1:]
    print(json.dumps(CONTENDERS[chosen](Path(pictures), network)))
