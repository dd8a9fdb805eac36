"""The training of a run: from its options to a trained model, told on the console, written to the run folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit import console, run
from tlkit.config import AUTO, Config
from tlkit.varying import is_wanted, steadiness_before, vary, write_reach, write_steadiness

if TYPE_CHECKING:
    import keras

    from tlkit.data.loader import ImageDataset
    from tlkit.data.manifest import Manifest
    from tlkit.data.store import Store
    from tlkit.phases import Phase
    from tlkit.pooled import PooledFeatures
    from tlkit.training.job import Step
    from tlkit.training.outcome import FineTuneHistory, PhaseOutcome

BATCH_SIZE = 32  # Of a run that leaves the images in a step to be found: more would be another recipe.


def train(
    config: Config,
    model: keras.Model,
    manifest: Manifest,
    store: Store,
    features: PooledFeatures | None,
    folder: Path,
    step: Step,
) -> FineTuneHistory:
    """Trains the model of a run and writes history.csv, phases.csv and what else was asked for.

    The state of the training is saved in the run folder; one that lies there is taken up.

    Args:
        config: Options of the run.
        model: The classifier, trained in place.
        manifest: With its split.
        store: Pixels of its images.
        features: What the head sees before training; None where the weights are random.
        folder: The run folder.
        step: Shows steps.

    Returns:
        What fine-tuning gave.
    """
    from tlkit.analysis.flow_record import write_flows
    from tlkit.phase_gains import write_phase_gains
    from tlkit.phases import describe
    from tlkit.tensorboard_logs import write_tensorboard_logs
    from tlkit.training import Saving, fine_tune
    from tlkit.training.outcome import gains_table
    from tlkit.training.recipe import recipe_of

    phases = wanted_phases(config, model)
    console.say("\n".join(f"  {line}" for line in describe(phases).splitlines()))
    groups = manifest.items["group"].to_numpy()[manifest.indices("validation")].tolist()
    images = vary(config, model, dataset(config, manifest, store, "train"), features, folder, step)
    before = steadiness_before(config, model, manifest, store, features)
    history = fine_tune(
        model,
        images,
        validation_data=dataset(config, manifest, store, "validation"),
        strategy=phases,
        recipe=replace(recipe_of(config.training), extraction=config.extraction),
        seed=config.training.seed,
        groups=groups,
        step=step,
        on_phase=tell_phase,
        checkpoint=Saving(folder / run.CHECKPOINT, config.run.save_every_steps, config.run.save_every_minutes),
    )
    if saving := history.saving:
        console.say(
            f"  Saved the state {saving['states']:,} times, in {saving['seconds']:.1f} s; it takes "
            f"{saving['peak_bytes'] / 1e6:,.1f} MB at most, until the run is finished."
        )
    columns = history.history
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    write_history(folder, rows)
    write_reach(folder, history.outcomes)
    write_phase_gains(folder, gains_table(history.outcomes, groups, config.training.seed))
    if flows := [outcome.flow for outcome in history.outcomes if outcome.flow]:
        write_flows(folder, flows)
    if config.run.tensorboard:
        write_tensorboard_logs(folder / run.TENSORBOARD, rows)
    write_steadiness(config, model, manifest, store, before, folder)
    return history


def save_model(model: keras.Model, folder: Path) -> None:
    """Writes the trained model, whole or not at all."""
    unfinished = folder / f".{run.MODEL}"
    model.save(unfinished)
    with open(unfinished, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(unfinished, folder / run.MODEL)


def finish(folder: Path) -> None:
    """Marks a run as complete; the states of its training are no longer needed."""
    from tlkit.checkpoints import Checkpoint

    run.write_state(folder, "complete")
    Checkpoint(folder / run.CHECKPOINT).remove()


def wanted_phases(config: Config, model: keras.Model) -> tuple[Phase, ...]:
    """Returns the phases that a run's options ask for."""
    from tlkit.strategies import phases_for

    training = config.training
    names = ("epochs", "learning_rate", "optimizer", "layer_decay", "weight_decay")
    changes = {name: getattr(training, name) for name in names}
    return phases_for(model, training.strategy, train_from=training.train_from, augmented=is_wanted(config), **changes)


def tell_phase(outcome: PhaseOutcome) -> None:
    """Prints what a phase brought."""
    from tlkit.training.outcome import tell_outcome

    for note in outcome.notes:
        console.say(f"  {note}")
    console.say(f"  {tell_outcome(outcome)}")


def dataset(config: Config, manifest: Manifest, store: Store, split: str) -> ImageDataset:
    """Returns the images of a part of the split, in order."""
    from tlkit.data.loader import ImageDataset

    size = config.training.batch_size
    indices = manifest.indices(split)
    return ImageDataset(store, indices, manifest.labels(split), batch_size=BATCH_SIZE if size == AUTO else int(size))


def write_history(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Writes history.csv, one row for each penalty tried and each epoch; a missing value is an empty cell."""
    import pandas as pd

    run.write_text(folder / run.HISTORY, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
