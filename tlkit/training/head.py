"""The convex head: fitted on features, written into the model's Dense layer, recorded in the history."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from tlkit.console import OnProgress
from tlkit.errors import InputError
from tlkit.graph import feature_layer, head_dense, layers_after
from tlkit.probe import Probe, fit_head
from tlkit.training.recipe import Recipe

SCORES = ("loss", "accuracy", "val_loss", "val_accuracy")
Features = tuple[np.ndarray, np.ndarray]


def set_convex_head(
    model: keras.Model, train: Features, validation: Features, recipe: Recipe, on_progress: OnProgress | None
) -> Probe:
    """Fits the convex head and writes it into the model's Dense layer.

    Args:
        model: The classifier.
        train: Features (images, ...) and labels int (images,).
        validation: The same for validation.
        recipe: Says how the head is fitted.
        on_progress: Called with (penalties tried, penalties at most).

    Raises:
        InputError: Between features and output stands more than one Dense layer.
    """
    head = head_dense(model)
    train, validation = ((_flat(rows), labels) for rows, labels in (train, validation))
    between = [layer.name for layer in layers_after(model, feature_layer(model)) if layer.weights and layer is not head]
    if between or head.kernel.shape[0] != train[0].shape[1]:
        raise InputError(
            f"Expected one Dense layer between the features and the output, for the convex head. Received: also "
            f"{', '.join(between)}. Use strategy 'scratch', or phases of your own: tlkit.Phase('head', epochs=20)."
        )
    probe = fit_head(*train, *validation, num_classes=head.units, wanted=recipe.head_options, on_progress=on_progress)
    head.set_weights([probe.kernel, probe.bias] if head.use_bias else [probe.kernel])
    return probe


def set_head_on_views(
    model: keras.Model,
    train: Features,
    views: Sequence[np.ndarray],
    validation: Features,
    recipe: Recipe,
    on_progress: OnProgress | None,
) -> tuple[Probe, bool]:
    """Fits the convex head to plain pictures, and to them and their augmented views, and keeps what validates better.

    Args:
        model: The classifier.
        train: As `set_convex_head` takes it, of plain pictures.
        views: Features of augmented views of the same pictures, each (images, ...).
        validation: As `set_convex_head` takes it.
        recipe: Says how the head is fitted.
        on_progress: Called with (penalties tried, penalties at most), twice.

    Returns:
        The probe, and whether it has seen the views.
    """
    head = head_dense(model)
    plain = set_convex_head(model, train, validation, recipe, on_progress)
    before = head.get_weights()
    rows = np.concatenate([np.asarray(train[0]), *(np.asarray(view) for view in views)])
    varied = set_convex_head(model, (rows, np.tile(train[1], 1 + len(views))), validation, recipe, on_progress)
    if min(point.val_loss for point in varied.path) < min(point.val_loss for point in plain.path):
        return varied, True
    head.set_weights(before)
    return plain, False


def record_probe(history: keras.callbacks.History, probe: Probe) -> None:
    """Adds a row for each penalty tried."""
    for index, point in enumerate(probe.path):
        row = {"phase": "probe", "epoch": index, "penalty": point.penalty, "learning_rate": None}
        scores = {name: getattr(point, name) for name in SCORES} | {"val_tempered_loss": None}
        history.on_epoch_end(len(history.epoch), row | scores | {"best": point.penalty == probe.penalty})


def _flat(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows).reshape(len(rows), -1)
