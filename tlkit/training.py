"""The loop over phases: set trainable, compile, fit; with the frozen part computed once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import keras
import numpy as np

from tlkit import strategies
from tlkit.activations import Activations, RowDataset, activations
from tlkit.backbones.registry import Stage
from tlkit.callbacks import BestWeights, EpochProgress, FiniteLoss, RateLog
from tlkit.console import OnProgress
from tlkit.data.loader import ImageDataset
from tlkit.errors import InputError
from tlkit.evaluation import evaluate_probabilities
from tlkit.features import batches, has_accelerator, predict_in_order
from tlkit.graph import feature_layer, head_dense, layers_after, require_functional, split_model
from tlkit.optimizers import make_optimizer, normalisation_and_biases, warmup_cosine
from tlkit.probe import Probe, fit_probe
from tlkit.strategies import Phase

BATCH_SIZE = 32  # For arrays; datasets bring their own.


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
    train_from: str | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    step: Step = _silent,
) -> keras.callbacks.History:
    """Fine-tunes a classifier in place, phase by phase.

    What is frozen in a phase is computed once, in inference mode, and the rest of the network trains on its outputs.
    That gives the very weights of training the whole with a truly frozen base: no BatchNorm statistic moves, no
    dropout of the base is active. Each phase ends with the weights of its best epoch by validation loss, or with those
    it began with where no epoch was better.

    Args:
        model: A functional model with one input, a global pooling (or Flatten) layer and a Dense head that gives
            softmax probabilities or logits; `build_classifier` makes one, any other will do.
        data: What `keras.Model.fit` takes as training data: a `PyDataset`, a `tf.data.Dataset`, or `(x, y)`, with
            integer labels of shape (batch,) from 0 to classes - 1.
        validation_data: The same for validation: it chooses the penalty of the convex head and the best epochs.
        strategy: Name of a strategy (see `tlkit.strategies.get_strategy`), or phases of your own.
        train_from: For a named strategy: first stage that `partial` and `gradual` train.
        epochs: For a named strategy: epochs of each phase instead of its own number.
        learning_rate: For a named strategy: peak rate of each phase instead of its own.
        seed: Seed of shuffling and dropout.
        step: Shows the steps of the work; silent by default.

    Returns:
        A Keras `History`, one entry per penalty tried and per epoch, with the columns of a run's history.csv.

    Raises:
        InputError: The model cannot be split into base and head, labels are out of range, or a name is unknown.
    """
    require_functional(model)
    stages = strategies.stages_of(model)
    phases = (
        strategy
        if not isinstance(strategy, str)
        else _named(model, strategy, stages, train_from, epochs, learning_rate)
    )
    for phase in phases:
        strategies.cut_of(model, phase, stages)  # A stage that does not exist is told before anything is trained.
    history = keras.callbacks.History()
    history.set_model(model)
    history.on_train_begin()
    for phase in phases:
        _run_phase(model, phase, stages, (data, validation_data), seed, history, step)
    return history


def _named(
    model: keras.Model,
    name: str,
    stages: Sequence[Stage],
    train_from: str | None,
    epochs: int | None,
    learning_rate: float | None,
) -> tuple[Phase, ...]:
    if train_from is None and name in ("partial", "gradual"):
        if not stages:
            raise InputError(f"Expected a model with stages for strategy {name!r}. Received: {model.name}, with none.")
        train_from = strategies.stages_at_last_resolution(model, stages)
    return strategies.get_strategy(name, stages, last_stages=train_from, epochs=epochs, learning_rate=learning_rate)


def _run_phase(
    model: keras.Model,
    phase: Phase,
    stages: Sequence[Stage],
    data: tuple[Any, Any],
    seed: int,
    history: keras.callbacks.History,
    step: Step,
) -> None:
    """Sets what trains, computes what does not, fits."""
    strategies.apply_phase(model, phase, stages)
    cut = strategies.cut_of(model, phase, stages)
    if cut is None:
        # A twin over the same layers is compiled, so that the model saves and loads without our optimizer.
        twin = keras.Model(model.inputs[0], model.outputs[0])
        _fit(model, twin, phase, stages, (_shuffled(data[0], seed), data[1]), seed, history, step)
        return
    prefix, suffix = split_model(model, cut)
    train, validation = (_computed(prefix, part, name, step) for part, name in zip(data, PARTS, strict=True))
    num_classes = head_dense(model).units
    labels = [
        _checked_labels(part.labels, num_classes, name) for part, name in zip((train, validation), PARTS, strict=True)
    ]
    if phase.convex_head:
        with step("Fitting the head", "penalties") as on_progress:
            features = (_flat(train.rows), labels[0]), (_flat(validation.rows), labels[1])
            _record_probe(history, _set_convex_head(model, *features, on_progress))
    if phase.epochs:
        size = getattr(data[0], "batch_size", BATCH_SIZE)
        rows = RowDataset(train.rows, labels[0], size, True, seed), RowDataset(validation.rows, labels[1], size)
        _fit(model, suffix, phase, stages, rows, seed, history, step)
    train.close()
    validation.close()


PARTS = ("training", "validation")


def _computed(prefix: keras.Model, data: Any, name: str, step: Step) -> Activations:
    with step(f"Computing features of the {name} images", "batches") as on_progress:
        return activations(prefix, data, on_progress)


def _flat(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows).reshape(len(rows), -1)


def _shuffled(data: Any, seed: int) -> Any:
    """Returns a data set of ours in a new order each epoch, and other data as they are."""
    if not isinstance(data, ImageDataset):
        return data
    return ImageDataset(
        data.store, data.indices, data.labels, data.batch_size, True, seed, data.one_hot, data.sample_weight
    )


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


Features = tuple[np.ndarray, np.ndarray]


def _set_convex_head(
    model: keras.Model, train: Features, validation: Features, on_progress: OnProgress | None
) -> Probe:
    """Fits the convex head and writes it into the model's Dense layer."""
    head = head_dense(model)
    between = [layer.name for layer in layers_after(model, feature_layer(model)) if layer.weights and layer is not head]
    if between or head.kernel.shape[0] != train[0].shape[1]:
        raise InputError(
            f"Expected one Dense layer between the features and the output, for the convex head. Received: also "
            f"{', '.join(between)}. Use phases of your own instead: tlkit.Phase('head', epochs=20)."
        )
    probe = fit_probe(*train, *validation, num_classes=head.units, on_progress=on_progress)
    head.set_weights([probe.kernel, probe.bias] if head.use_bias else [probe.kernel])
    return probe


def _record_probe(history: keras.callbacks.History, probe: Probe) -> None:
    for index, point in enumerate(probe.path):
        row = {"phase": "probe", "epoch": index, "penalty": point.penalty, "learning_rate": None}
        scores = {name: getattr(point, name) for name in SCORES}
        history.on_epoch_end(len(history.epoch), row | scores | {"best": point.penalty == probe.penalty})


SCORES = ("loss", "accuracy", "val_loss", "val_accuracy")


def _fit(
    model: keras.Model,
    suffix: keras.Model,
    phase: Phase,
    stages: Sequence[Stage],
    data: tuple[Any, Any],
    seed: int,
    history: keras.callbacks.History,
    step: Step,
) -> None:
    """Compiles and fits the part of the model that trains, and keeps its best epoch."""
    keras.utils.set_random_seed(seed)
    train, validation = (_as_fit_takes_it(part) for part in data)
    _compile(model, suffix, phase, stages, _number_of_steps(train) * phase.epochs, _has_one_hot_labels(data[0]))
    start_loss = suffix.evaluate(**validation, verbose=0, return_dict=True)["loss"]
    best = BestWeights(start_loss, phase.patience)
    with step(f"Training {phase.name} for up to {phase.epochs} epochs", "epochs") as on_progress:
        callbacks = [RateLog(), best, FiniteLoss(phase.name, phase.learning_rate)]
        callbacks += [EpochProgress(on_progress)] if on_progress else []
        held_out = validation["x"] if "y" not in validation else (validation["x"], validation["y"])
        logs = suffix.fit(
            **train,
            shuffle="y" in train,  # Datasets bring their own order, by seed and epoch.
            validation_data=held_out,
            epochs=phase.epochs,
            callbacks=callbacks,
            verbose=0,
        ).history
    for epoch in range(len(logs["loss"])):
        row = {
            "phase": phase.name,
            "epoch": epoch,
            "penalty": None,
            "learning_rate": float(logs["learning_rate"][epoch]),
        }
        scores = {name: float(logs[name][epoch]) for name in SCORES}
        history.on_epoch_end(len(history.epoch), row | scores | {"best": epoch == best.best_epoch})


def _compile(
    model: keras.Model, suffix: keras.Model, phase: Phase, stages: Sequence[Stage], steps: int, one_hot: bool
) -> None:
    from_logits = not _gives_probabilities(model)
    losses = keras.losses.CategoricalCrossentropy if one_hot else keras.losses.SparseCategoricalCrossentropy
    metric = keras.metrics.CategoricalAccuracy if one_hot else keras.metrics.SparseCategoricalAccuracy
    on_cpu_with_tensorflow = keras.backend.backend() == "tensorflow" and not has_accelerator()
    suffix.compile(
        optimizer=make_optimizer(
            phase.optimizer,
            warmup_cosine(phase.learning_rate, steps, phase.warmup),
            factors=strategies.rate_factors(model, phase, stages),
            weight_decay=phase.weight_decay,
            not_decayed=normalisation_and_biases(suffix),
        ),
        loss=losses(from_logits=from_logits),
        metrics=[metric(name="accuracy")],
        jit_compile=False if on_cpu_with_tensorflow else "auto",
    )


def _as_fit_takes_it(data: Any) -> dict[str, Any]:
    if isinstance(data, tuple):
        return {"x": data[0], "y": data[1], "batch_size": BATCH_SIZE}
    return {"x": data}


def _number_of_steps(train: dict[str, Any]) -> int:
    """Steps of an epoch; data that do not know theirs get a long schedule."""
    if "y" in train:
        return -(-len(train["x"]) // BATCH_SIZE)
    try:
        return len(train["x"])
    except TypeError:
        return UNKNOWN_STEPS


UNKNOWN_STEPS = 1000


def _has_one_hot_labels(data: Any) -> bool:
    _, labels = next(iter(batches(data)))
    return labels is not None and labels.ndim == 2


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
