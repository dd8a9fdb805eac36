"""The loop over phases."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from tlkit import strategies
from tlkit.activations import compute_ahead
from tlkit.augment.batches import AugmentedDataset
from tlkit.errors import InputError
from tlkit.graph import as_functional, head_dense
from tlkit.phases import Phase
from tlkit.regularisation import require_branches
from tlkit.training.checks import check_data, tell_missing_classes
from tlkit.training.compiling import gives_logits_or_softmax
from tlkit.training.datasets import without_augmentation
from tlkit.training.determinism import enable_determinism
from tlkit.training.job import Job, Step, silent
from tlkit.training.outcome import FineTuneHistory, PhaseOutcome
from tlkit.training.phase_running import PARTS, run_phase
from tlkit.training.recipe import Recipe
from tlkit.training.saves import Found, Saves, Saving
from tlkit.training.setting import setting_of


def fine_tune(
    model: keras.Model,
    data: Any,
    *,
    validation_data: Any,
    strategy: str | Sequence[Phase] = "frozen",
    train_from: str | None = None,
    epochs: int | None = None,
    learning_rate: float | str | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    groups: Sequence[str] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    step: Step = silent,
    on_phase: Callable[[PhaseOutcome], None] | None = None,
    checkpoint: str | Path | Saving | None = None,
) -> FineTuneHistory:
    """Fine-tunes a classifier in place, phase by phase.

    What is frozen in a phase is computed once, in inference mode, and the rest of the network trains on its
    outputs. That gives the very weights of training the whole with a truly frozen base: no BatchNorm statistic
    moves, no dropout of the base is active. Each phase ends with the weights of its best epoch, the last of those
    whose validation log-loss after the best temperature (a network becomes too sure of itself while its answers
    still improve) is as low as n images can tell, or with those it began with where no epoch was better. A phase
    with `only_if_better` is undone where validation shows no gain.

    The `trainable` flags of all layers are set anew by each phase, and left as the last one kept has them; layers of
    BatchNormalization stay frozen unless the phase says otherwise.

    Args:
        model: A functional or Sequential model with one input, a global pooling (or Flatten) layer and a Dense head
            that gives softmax probabilities or logits; `build_classifier` makes one, any other will do.
        data: What `keras.Model.fit` takes as training data: a `PyDataset`, a `tf.data.Dataset`, or `(x, y)`, with
            integer labels of shape (batch,) from 0 to classes - 1, or one-hot ones of shape (batch, classes).
        validation_data: The same for validation, in the same order in every pass: it chooses the penalty of the convex
            head and the best epochs, and shows what each phase gained.
        strategy: Name of a strategy (see `tlkit.strategies.get_strategy`), or phases of your own.
        train_from: For a named strategy: first stage that `auto`, `partial` and `gradual` train.
        epochs: For a named strategy: epochs of each phase instead of its own number, which is
            doubled for an `AugmentedDataset`.
        learning_rate: For a named strategy: peak rate of each phase instead of its own, or `"auto"`.
        recipe: Options that all phases share; `Recipe()` when None.
        seed: Seed of shuffling, dropout and the bootstrap.
        groups: Group of each validation image, `""` for none, for the intervals of the gains.
        callbacks: Keras callbacks of your own, such as those of experiment trackers; called in every phase that trains
            by gradients, with the part of the model that trains as their `model`.
        step: Shows the steps of the work; silent by default.
        on_phase: Called with each phase's outcome as it ends.
        checkpoint: A folder where the state of the training is saved after every epoch, or a `Saving` that also says
            how often within epochs. Where it holds the state of a training that was interrupted, by whatever, that is
            taken up, and ends as it would have without; of one that was done, its end is given. The model must be as it
            was before training. Your own callbacks begin anew.

    Returns:
        A Keras `History`, one entry per penalty tried and per epoch, with the columns of a run's history.csv, and in
        `outcomes` what each phase gave on the validation images.

    Raises:
        InputError: The model cannot be split into base and head, a phase would train nothing, labels are missing or
            out of range, data hold NaN or never end, the loss is not finite before any training, a name is unknown, an
            argument would be passed over, or the checkpoint is that of a training with other settings.
        OSError: The state cannot be saved; what was saved before stays.
    """
    model = as_functional(model)  # Of a Sequential model's own layers.
    num_classes = head_dense(model).units
    _check_head(model, num_classes)
    _check_kinds(validation_data, strategy, recipe, callbacks, (train_from, epochs, learning_rate))
    stages = strategies.stages_of(model)
    if isinstance(strategy, str):
        changes = {"epochs": epochs, "learning_rate": learning_rate}
        augmented = isinstance(data, AugmentedDataset)
        strategy = strategies.phases_for(model, strategy, train_from=train_from, augmented=augmented, **changes)
    strategies.check_phases(model, strategy, stages)
    for part, name in zip((data, validation_data), PARTS, strict=True):
        check_data(without_augmentation(part), model.input_shape, num_classes, name)
    recipe = recipe or Recipe()
    whole = [phase for phase in strategy if phase.epochs and strategies.cut_of(model, phase, stages) is None]
    if recipe.stochastic_depth and not whole:
        raise InputError(
            "Expected a strategy that trains everything, full or scratch, with stochastic_depth. Received: phases that "
            "train less. Leave --stochastic-depth out."
        )
    if recipe.stochastic_depth:
        require_branches(model)
    notes = (*((enable_determinism(),) if recipe.deterministic else ()), *tell_missing_classes(data, num_classes))
    history = FineTuneHistory()
    history.set_model(model)
    history.on_train_begin()
    saves = Saves(checkpoint if checkpoint is None or isinstance(checkpoint, Saving) else Saving(checkpoint))
    setting = setting_of(model, strategy, recipe, seed, (data, validation_data))
    found = saves.find(setting)
    seconds = recipe.time_budget if found is None else found.facts["seconds_left"]
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    given = (model, stages, data, validation_data, recipe, seed, history)
    job = Job(*given, step=step, groups=groups, callbacks=callbacks, deadline=deadline, saves=saves)
    _run(job, strategy, setting, found, on_phase, (*notes, *saves.found_wrong))
    history.saving = saves.told()
    return history


def _check_head(model: keras.Model, num_classes: int) -> None:
    if num_classes < 2:
        raise InputError(
            "Expected a head of one unit a class, at least two. Received: a Dense layer of 1 unit. For two classes "
            "end with Dense(2) and softmax."
        )
    if not gives_logits_or_softmax(model):
        raise InputError(
            "Expected a head that gives softmax probabilities or logits, for classes of which one is right. Received: "
            f"activation {model.layers[-1].activation.__name__!r} in {model.layers[-1].name!r}. Build the head anew "
            "with softmax."
        )


def _check_kinds(
    validation_data: Any, strategy: Any, recipe: Any, callbacks: Any, changes: tuple[Any, Any, Any]
) -> None:
    """Raises InputError where an argument is of another kind, or would be passed over."""
    if validation_data is None:
        raise InputError(
            "Expected validation_data, which choose the penalty of the head and the best epochs. Received: None. Set "
            "some of the training data apart."
        )
    if recipe is not None and not isinstance(recipe, Recipe):
        raise InputError(f"Expected recipe=Recipe(...). Received: a {type(recipe).__name__}.")
    if not isinstance(callbacks, Sequence) or not all(isinstance(one, keras.callbacks.Callback) for one in callbacks):
        raise InputError(
            f"Expected callbacks as a list of keras.callbacks.Callback. Received: a {type(callbacks).__name__}."
        )
    train_from, epochs, learning_rate = changes
    if strategy == "frozen":
        where = "with strategy 'frozen', which fits the head without gradients. Give epochs too, or use 'partial'"
        _refuse((train_from, None, learning_rate if epochs is None else None), where)
    if isinstance(strategy, str):
        return
    if not isinstance(strategy, Sequence) or not all(isinstance(phase, Phase) for phase in strategy):
        raise InputError(
            f"Expected the name of a strategy, or a tuple of tlkit.Phase. Received: a {type(strategy).__name__}."
        )
    _refuse(changes, "beside phases of your own. Say it in the phases themselves")


def _refuse(changes: tuple[Any, Any, Any], where: str) -> None:
    for name, value in zip(("train_from", "epochs", "learning_rate"), changes, strict=True):
        if value is not None:
            raise InputError(f"Expected no {name} {where}. Received: {name}={value!r}.")


def _run(
    job: Job,
    phases: Sequence[Phase],
    setting: dict[str, Any],
    found: Found | None,
    on_phase: Callable[[PhaseOutcome], None] | None,
    notes: tuple[str, ...],
) -> None:
    """Runs phases in turn; those with gradient training share the time evenly, and pass on what they leave.

    Args:
        job: What is trained.
        phases: In order.
        setting: From `setting_of`.
        found: A state to go on with, or None.
        on_phase: Called with each outcome.
        notes: Told with the first phase.
    """
    cuts = strategies.cuts_of(job.model, phases, job.stages)
    plain = dict(zip(PARTS, (without_augmentation(job.train), job.validation), strict=True))
    compute_ahead(job.model, cuts, plain, job.step, job.recipe.extraction)
    first, kept = 0, phases[0]
    if found is not None:
        with job.step(f"Taking up what was saved: {found.place}"):
            found.restore(job)
        first = found.phase
        before = [outcome.phase for outcome in job.history.outcomes if outcome.kept and outcome.phase in phases]
        if before:
            kept = before[-1]
            strategies.apply_phase(job.model, kept, job.stages)
    for index, phase in enumerate(phases[first:], start=first):
        job.saves.begin_phase(job, setting, index, found if index == first else None)
        to_come = sum(bool(later.epochs) for later in phases[index:])
        share = job.seconds_left() / max(to_come, 1)
        if job.saves.resumed is not None and found is not None:
            share = found.facts["phase_seconds_left"]
        outcome = run_phase(job, phase, time.monotonic() + share)
        outcome = outcome if index > first else replace(outcome, notes=(*notes, *outcome.notes))
        job.history.outcomes.append(outcome)
        if outcome.kept:
            kept = phase
        else:
            strategies.apply_phase(job.model, kept, job.stages)
        if on_phase is not None:
            on_phase(outcome)
    job.saves.begin_phase(job, setting, len(phases))
