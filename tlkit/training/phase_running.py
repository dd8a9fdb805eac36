"""One phase: set what trains, compute once what does not, fit, judge on validation, and keep it or not."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import keras
import numpy as np

from tlkit.activations import Activations, RowDataset, compute
from tlkit.augment.batches import AugmentedDataset
from tlkit.auxiliary import with_auxiliary_losses
from tlkit.durations import tell_duration
from tlkit.errors import InputError
from tlkit.features import check_finite, predict_in_order
from tlkit.graph import split_model
from tlkit.phase_gains import Gain, measure_gain, worth_keeping
from tlkit.phases import Phase
from tlkit.regularisation import with_stochastic_depth
from tlkit.strategies import apply_phase, auxiliary_layers, cut_of
from tlkit.training.augmented import MIXES_ALONE, Augmented, tell_head
from tlkit.training.checks import checked_labels
from tlkit.training.compiling import gives_probabilities
from tlkit.training.datasets import BATCH_SIZE, Part, prepare, with_labels_like, without_augmentation
from tlkit.training.fitting import fit_part
from tlkit.training.gradient_training import Fitted
from tlkit.training.head import record_probe, set_convex_head, set_head_on_views
from tlkit.training.job import Job
from tlkit.training.outcome import PhaseOutcome

PARTS = ("training", "validation")


@dataclass(frozen=True)
class _Trained:
    labels: np.ndarray
    probabilities: np.ndarray
    fitted: Fitted


def run_phase(job: Job, phase: Phase, deadline: float) -> PhaseOutcome:
    """Runs one phase to its end and returns what it brought.

    Args:
        job: What is trained.
        phase: What trains.
        deadline: When its gradient training must have ended, as `time.monotonic()` tells time.

    Raises:
        InputError: The data cannot be used, or the loss is not finite.
    """
    began = time.monotonic() - job.saves.seconds_before
    keras.utils.set_random_seed(job.seed)
    resumed = job.saves.resumed is not None
    if phase.epochs and not phase.convex_head and time.monotonic() >= deadline and not resumed:
        return _not_tried(phase, began, ("No time was left for it.",))
    if phase.only_if_better and not job.history.outcomes:
        job.history.outcomes.append(_start(job))
    before = job.model.get_weights() if phase.only_if_better else None
    apply_phase(job.model, phase, job.stages)
    trained = _train_whole(job, phase, deadline) if cut_of(job.model, phase, job.stages) is None else None
    trained = trained or _train_after_cut(job, phase, deadline)
    if before is not None and trained.fitted.gave_up is not None:
        job.model.set_weights(before)
        return _not_tried(phase, began, (*trained.fitted.notes, _too_long(trained.fitted.gave_up)))
    gain = _gain(job, trained)
    kept = _is_kept(phase, gain, trained.fitted.went_back)
    if before is not None and not kept:
        job.model.set_weights(before)
    for row in trained.fitted.rows:
        job.history.on_epoch_end(len(job.history.epoch), row | {"best": row["best"] and kept})
    notes, seconds = trained.fitted.notes, time.monotonic() - began
    flow = trained.fitted.flow
    return PhaseOutcome(phase, trained.labels, trained.probabilities, gain, kept, seconds, notes, flow)


def _is_kept(phase: Phase, gain: Gain | None, went_back: bool) -> bool:
    if phase.only_if_better:
        return gain is not None and worth_keeping(gain)
    return gain is None or phase.convex_head or not went_back


def _not_tried(phase: Phase, began: float, notes: tuple[str, ...]) -> PhaseOutcome:
    return PhaseOutcome(phase, np.zeros(0, np.int64), None, None, False, time.monotonic() - began, notes)


def _too_long(epoch_seconds: float) -> str:
    return (
        "Given back, for what is left of the time budget does not hold its first epoch, which takes about "
        f"{tell_duration(epoch_seconds)} beside what it takes to begin: a longer --time-budget tries it."
    )


def _start(job: Job) -> PhaseOutcome:
    """The model as it came, for a first phase to be held against."""
    outputs, labels = predict_in_order(job.model, job.validation)
    known = checked_labels(labels, job.num_classes, PARTS[1])
    return PhaseOutcome(Phase("start"), known, _probabilities(job.model, outputs), None, True, 0.0)


def _gain(job: Job, trained: _Trained) -> Gain | None:
    """What the phase changed against the last one kept."""
    before = next((outcome for outcome in reversed(job.history.outcomes) if outcome.kept), None)
    if before is None or before.probabilities is None:
        return None
    if not np.array_equal(before.labels, trained.labels):
        raise InputError(
            "Expected validation data in the same order in every pass, so that phases can be compared image by image. "
            "Received: other orders. Leave the shuffling of the validation data out."
        )
    return measure_gain(trained.labels, before.probabilities, trained.probabilities, groups=job.groups, seed=job.seed)


def _train_whole(job: Job, phase: Phase, deadline: float) -> _Trained:
    """Trains everything, on a twin over the same layers: so the model saves and loads without our optimizer."""
    twin = keras.Model(job.model.inputs[0], job.model.outputs[0])
    if job.recipe.stochastic_depth:
        twin = with_stochastic_depth(job.model, job.recipe.stochastic_depth)
    layers = auxiliary_layers(job.model) if job.recipe.auxiliary else ()
    if layers:
        twin = with_auxiliary_losses(job.model, layers, job.recipe.auxiliary)
    size = job.recipe.batch_size if isinstance(job.recipe.batch_size, int) else None
    train = prepare(job.train, job.num_classes, PARTS[0], batch_size=size, shuffle=True, seed=job.seed)
    validation = prepare(job.validation, job.num_classes, PARTS[1], batch_size=size)
    validation = with_labels_like(validation, train, job.num_classes)
    fitted = fit_part(job, twin, phase, train, validation, deadline)
    if layers:
        heads = f"those of {len(layers)} auxiliary heads, at a weight of {job.recipe.auxiliary:g}"
        fitted = replace(
            fitted, notes=(*fitted.notes, f"The training loss holds {heads}; the validation loss does not.")
        )
    return _judged(job, job.model, validation, fitted)


def _train_after_cut(job: Job, phase: Phase, deadline: float) -> _Trained:
    """Trains what follows the cut on what the frozen part gives, which is computed once."""
    cut = cut_of(job.model, phase, job.stages)
    assert cut is not None
    prefix, suffix = split_model(job.model, cut)
    pairs = zip((without_augmentation(job.train), job.validation), PARTS, strict=True)
    computed = [compute(prefix, data, name, job.step, job.recipe.extraction) for data, name in pairs]
    views = Augmented(job, prefix) if isinstance(job.train, AugmentedDataset) else None
    try:
        labels = _labels_of(job, computed)
        notes = list(dict.fromkeys(note for found in computed for note in found.notes))
        resumed = job.saves.resumed is not None
        if not resumed:
            told = zip(computed, PARTS, strict=True)
            job.history.extractions += [{"phase": phase.name, "part": name, **found.facts} for found, name in told]
        if phase.convex_head and not resumed:
            notes += _fit_head(job, computed, labels, views)
        train, validation = _parts_of(job, computed, labels)
        if views and phase.epochs:
            train = views.part(labels[0], train.batch_size)
            validation = with_labels_like(validation, train, job.num_classes)
            notes.append(views.tell(phase.epochs))
        job.saves.notes = job.saves.notes if resumed else tuple(notes)
        fitted = fit_part(job, suffix, phase, train, validation, deadline) if phase.epochs else Fitted(())
        return _judged(job, suffix, validation, replace(fitted, notes=(*job.saves.notes, *fitted.notes)))
    finally:
        for found in computed:
            found.close()
        if views:
            views.close()


def _labels_of(job: Job, computed: list[Activations]) -> list[np.ndarray]:
    """Returns the labels of what was computed, both looked at."""
    labels = []
    for found, name in zip(computed, PARTS, strict=True):
        labels.append(checked_labels(found.labels, job.num_classes, name))
        if isinstance(found.rows, np.ndarray):
            check_finite(found.rows, f"the features of {name} image")
    return labels


def _fit_head(job: Job, computed: list[Activations], labels: list[np.ndarray], views: Augmented | None) -> list[str]:
    """Fits the convex head, to augmented views as well where that validates better, and returns what to tell."""
    train, validation = ((np.asarray(found.rows), known) for found, known in zip(computed, labels, strict=True))
    varied = views.for_head() if views else []
    with job.step("Fitting the head", "penalties") as on_progress:
        if varied:
            probe, better = set_head_on_views(job.model, train, varied, validation, job.recipe, on_progress)
            notes = [tell_head(len(varied), better)]
        else:
            probe = set_convex_head(job.model, train, validation, job.recipe, on_progress)
            notes = [MIXES_ALONE] if views else []
    record_probe(job.history, probe)
    return notes


def _parts_of(job: Job, computed: list[Activations], labels: list[np.ndarray]) -> tuple[Part, Part]:
    """Returns what trains and what judges, as batches of rows."""
    wanted = job.recipe.batch_size if isinstance(job.recipe.batch_size, int) else None
    parts = []
    for data, found, known, shuffle in zip((job.train, job.validation), computed, labels, (True, False), strict=True):
        size = wanted or getattr(data, "batch_size", None) or BATCH_SIZE
        parts.append(Part(RowDataset(found.rows, known, size, shuffle, job.seed), known, size))
    return parts[0], parts[1]


def _judged(job: Job, part: keras.Model, validation: Part, fitted: Fitted) -> _Trained:
    if fitted.gave_up is not None:
        return _Trained(validation.labels, np.zeros((0, 0)), fitted)
    outputs, labels = predict_in_order(part, validation.data)
    return _Trained(checked_labels(labels, job.num_classes, PARTS[1]), _probabilities(job.model, outputs), fitted)


def _probabilities(model: keras.Model, outputs: np.ndarray) -> np.ndarray:
    return outputs if gives_probabilities(model) else np.asarray(keras.ops.softmax(outputs))
