"""The loop over phases: set trainable, compile, fit; and the convex head that comes first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import keras
import numpy as np

from tlkit import strategies
from tlkit.callbacks import BestWeights, EpochProgress
from tlkit.console import OnProgress
from tlkit.errors import InputError
from tlkit.evaluation import evaluate_probabilities
from tlkit.features import predict_in_order
from tlkit.graph import feature_layer, head_dense, layers_after, require_functional, split_model
from tlkit.probe import Probe, fit_probe
from tlkit.strategies import Phase

Features = tuple[np.ndarray, np.ndarray]


class Step(Protocol):
    """Opens one named step of the work and gives what to call with (done, total)."""

    def __call__(self, text: str, unit: str = "") -> AbstractContextManager[OnProgress | None]: ...


def _silent(text: str, unit: str = "") -> AbstractContextManager[OnProgress | None]:
    return nullcontext(None)


def fine_tune(
    model: keras.Model,
    data: Any,
    *,
    validation_data: Any,
    strategy: str | Sequence[Phase] = "frozen",
    epochs: int = 0,
    learning_rate: float = 1e-3,
    seed: int = 0,
    step: Step = _silent,
) -> keras.callbacks.History:
    """Fine-tunes a classifier in place, phase by phase.

    The features of the frozen part are computed once, with the frozen part in inference mode, and the head is trained
    on them. That gives the very weights of training the whole model with a truly frozen base, and no BatchNorm
    statistic moves.

    Args:
        model: A functional model with one input, a global pooling (or Flatten) layer and a Dense head that gives
            softmax probabilities or logits; `build_classifier` makes one, any other will do.
        data: What `keras.Model.fit` takes as training data: a `PyDataset`, a `tf.data.Dataset`, or `(x, y)`, with
            integer labels of shape (batch,) from 0 to classes - 1.
        validation_data: The same for validation: it chooses the penalty of the convex head and the best epoch.
        strategy: Name of a strategy, or phases of your own.
        epochs: Epochs of gradient training after the convex fit, for a named strategy.
        learning_rate: Peak learning rate of gradient training, for a named strategy.
        seed: Seed of shuffling.
        step: Shows the steps of the work; silent by default.

    Returns:
        A Keras `History`, one entry per penalty tried and per epoch, with the columns of a run's history.csv.

    Raises:
        InputError: The model cannot be split into base and head, labels are out of range, or a name is unknown.
    """
    require_functional(model)
    phases = strategies.get_strategy(strategy, epochs, learning_rate) if isinstance(strategy, str) else strategy
    history = keras.callbacks.History()
    history.set_model(model)
    history.on_train_begin()
    for phase in phases:
        strategies.apply_phase(model, phase)
        train, validation = _head_features(model, data, validation_data, step)
        if phase.convex_head:
            with step("Fitting the head", "penalties") as on_progress:
                _record_probe(history, phase, _set_convex_head(model, train, validation, on_progress))
        if phase.epochs:
            with step(f"Training the head for {phase.epochs} epochs", "epochs") as on_progress:
                _fit_head(model, phase, train, validation, seed, history, on_progress)
    return history


def _head_features(model: keras.Model, data: Any, validation_data: Any, step: Step) -> tuple[Features, Features]:
    """Computes the features of both parts, once, and checks their labels."""
    prefix, _ = split_model(model, feature_layer(model))
    num_classes = head_dense(model).units
    found = []
    for name, part in (("training", data), ("validation", validation_data)):
        with step(f"Computing features of the {name} images", "batches") as on_progress:
            features, labels = predict_in_order(prefix, part, on_progress=on_progress)
        found.append((features, _checked_labels(labels, num_classes, name)))
    return found[0], found[1]


def _checked_labels(labels: np.ndarray | None, num_classes: int, name: str) -> np.ndarray:
    expected = f"Expected integer {name} labels of shape (images,) from 0 to {num_classes - 1}. Received: "
    if labels is None:
        raise InputError(f"{expected}none. Give batches (images, labels).")
    if labels.ndim == 2 and labels.shape[1] == num_classes:
        labels = labels.argmax(axis=1)  # One-hot labels, as Keras users often have them.
    if labels.ndim != 1:
        raise InputError(f"{expected}shape {labels.shape}.")
    if len(labels) and (labels.min() < 0 or labels.max() >= num_classes):
        raise InputError(f"{expected}{labels.min()} to {labels.max()}.")
    return labels.astype("int64")


def _set_convex_head(
    model: keras.Model, train: Features, validation: Features, on_progress: OnProgress | None
) -> Probe:
    """Fits the convex head and writes it into the model's Dense layer."""
    head = head_dense(model)
    between = [layer.name for layer in layers_after(model, feature_layer(model)) if layer.weights and layer is not head]
    if between or head.kernel.shape[0] != train[0].shape[1]:
        raise InputError(
            f"Expected one Dense layer between the features and the output, for the convex head. Received: also "
            f"{', '.join(between)}. Use phases with convex_head=False and epochs, such as strategies.frozen(epochs=20, "
            "convex_head=False)."
        )
    probe = fit_probe(*train, *validation, num_classes=head.units, on_progress=on_progress)
    head.set_weights([probe.kernel, probe.bias] if head.use_bias else [probe.kernel])
    return probe


def _record_probe(history: keras.callbacks.History, phase: Phase, probe: Probe) -> None:
    for index, point in enumerate(probe.path):
        row = {
            "phase": "probe",
            "epoch": index,
            "penalty": point.penalty,
            "learning_rate": None,
            "loss": point.loss,
            "accuracy": point.accuracy,
            "val_loss": point.val_loss,
            "val_accuracy": point.val_accuracy,
            "best": point.penalty == probe.penalty,
        }
        history.on_epoch_end(len(history.epoch), row)


def _fit_head(
    model: keras.Model,
    phase: Phase,
    train: Features,
    validation: Features,
    seed: int,
    history: keras.callbacks.History,
    on_progress: OnProgress | None,
) -> None:
    """Trains the layers after the features on the features, and keeps the best epoch by validation loss."""
    _, suffix = split_model(model, feature_layer(model))
    keras.utils.set_random_seed(seed)
    suffix.compile(
        optimizer=keras.optimizers.Adam(phase.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=not _gives_probabilities(model)),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    start_loss, _ = suffix.evaluate(*validation, verbose=0)
    best = BestWeights(start_loss)
    callbacks = [best, EpochProgress(on_progress)] if on_progress else [best]
    logs = suffix.fit(*train, validation_data=validation, epochs=phase.epochs, callbacks=callbacks, verbose=0).history
    for epoch in range(phase.epochs):
        row = {name: float(values[epoch]) for name, values in logs.items()}
        extra = {"phase": phase.name, "epoch": epoch, "penalty": None, "learning_rate": phase.learning_rate}
        history.on_epoch_end(len(history.epoch), extra | row | {"best": epoch == best.best_epoch})


def evaluate(
    model: keras.Model, data: Any, *, class_names: Sequence[str] | None = None, seed: int = 0
) -> dict[str, Any]:
    """Predicts `data` and measures the predictions: accuracy, log-loss, calibration and more, with 95 % intervals.

    Args:
        model: A classifier that gives probabilities or logits of shape (batch, classes).
        data: What `keras.Model.fit` takes, with integer (or one-hot) labels.
        class_names: Names of the classes in index order; `"0"`, `"1"`, ... when None.
        seed: Seed of the bootstrap.

    Returns:
        The dict of `tlkit.evaluate_probabilities`.
    """
    outputs, labels = predict_in_order(model, data)
    if not _gives_probabilities(model):
        outputs = np.asarray(keras.ops.softmax(outputs))
    names = [str(index) for index in range(outputs.shape[1])] if class_names is None else class_names
    return evaluate_probabilities(_checked_labels(labels, outputs.shape[1], "test"), outputs, names, seed=seed)


def _gives_probabilities(model: keras.Model) -> bool:
    """Tells whether the model's output went through softmax or sigmoid; the last layer says so."""
    activation = getattr(model.layers[-1], "activation", None)
    return isinstance(model.layers[-1], keras.layers.Softmax) or activation in (
        keras.activations.softmax,
        keras.activations.sigmoid,
    )
