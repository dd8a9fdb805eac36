"""Activations of the parts of a data set, with what they take told first; the lowest cut before those above it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras

from tlkit import cache
from tlkit.activations.computing import DEFAULT, Activations, Plan, activations, plan_activations
from tlkit.config import ExtractionConfig
from tlkit.console import OnProgress
from tlkit.graph import split_model

Step = Callable[[str, str], AbstractContextManager[OnProgress | None]]


def compute(
    prefix: keras.Model, data: Any, name: str, step: Step, extraction: ExtractionConfig = DEFAULT
) -> Activations:
    """Does what `activations` does within a step whose text says what it takes.

    Args:
        prefix: From `graph.split_model`.
        data: What `keras.Model.fit` takes, with labels.
        name: Of the data, for people, such as `"training"`.
        step: Called with a text and a unit; gives what to call with (done, total).
        extraction: Cache on or off, the engine, the storage.
    """
    with step(_told(plan_activations(prefix, data, extraction), name), "images") as on_progress:
        return activations(prefix, data, on_progress, extraction, name)


def _told(plan: Plan | None, name: str) -> str:
    if plan is None:
        return f"Computing features of the {name} images"
    if plan.path is None:
        return f"Keeping no features of the {name} images"
    if plan.cached:
        return f"Reading features of the {name} images from the cache"
    return f"Computing features of the {name} images, once, {plan.bytes / 1e6:,.0f} MB"


def compute_ahead(
    model: keras.Model,
    cuts: Sequence[str],
    parts: Mapping[str, Any],
    step: Step,
    extraction: ExtractionConfig = DEFAULT,
) -> tuple[str, ...]:
    """Fills the cache at the lowest of several cuts, so that those above it are computed from there.

    Without this, each cut would be computed from the pixels: the phases of a strategy go from the top down.

    Args:
        model: The classifier, as it is before training.
        cuts: Layers after which phases will begin to train.
        parts: What the phases train on and are judged on, by name.
        step: As for `compute`.
        extraction: As for `compute`.

    Returns:
        What the user should know, one line each.
    """
    positions = {operation.name: index for index, operation in enumerate(model.operations)}
    for cut in sorted(set(cuts), key=positions.__getitem__)[:-1]:
        prefix, _ = split_model(model, cut)
        plans = {name: plan_activations(prefix, data, extraction) for name, data in parts.items()}
        kept = {name: plan for name, plan in plans.items() if plan is not None and plan.path is not None}
        if kept:
            return _fill(
                prefix, {name: parts[name] for name, plan in kept.items() if _is_wanted(plan)}, step, extraction
            )
    return ()


def _fill(prefix: keras.Model, parts: Mapping[str, Any], step: Step, extraction: ExtractionConfig) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    for name, data in parts.items():
        found = compute(prefix, data, name, step, extraction)
        notes += found.notes
        found.close()
    return notes


def _is_wanted(plan: Plan) -> bool:
    """Tells whether rows are missing that the cache can take; where it cannot, who needs them says so."""
    if plan.cached:
        return False
    try:
        cache.make_room(plan.bytes)
    except cache.CacheError:
        return False
    return True
