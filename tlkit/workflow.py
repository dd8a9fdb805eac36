"""The main path of tlkit, read from top to bottom: images in, run folder out."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit import console, interruption, run, run_state
from tlkit.config import Config
from tlkit.config_conditions import doubtful_choices, idle_options
from tlkit.errors import InputError
from tlkit.preflight import changed, preflight
from tlkit.preparing import classifier_of, pooled_features_of, prepare_backbone_of, prepare_data
from tlkit.resuming import as_recorded, record_config, recorded_config, require_recorded
from tlkit.timing import Timer
from tlkit.training_run import dataset, finish, save_model, train

if TYPE_CHECKING:
    import keras
    import numpy as np

    from tlkit.data.auditing import Audit
    from tlkit.data.manifest import Manifest
    from tlkit.data.store import Store
    from tlkit.pooled import PooledFeatures
    from tlkit.training.outcome import FineTuneHistory


def finetune(config: Config) -> Path:
    """Runs the whole path and returns the run folder.

    Raises:
        ConfigError: Options name what does not exist; every problem is told, and nothing was written.
        InputError: The data or the weights cannot be used.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the folder stays, and how to go on was told.
    """
    config, manifest = preflight(config)
    for line in (*idle_options(config), *doubtful_choices(config)):
        console.warn(f"  {line}")
    assert config.run.output is not None
    folder = Path(config.run.output)
    with _resumable(folder), run_state.new_run(folder):
        record_config(folder, config)
        _finetune(config, manifest, folder)
    return folder


def resume(folder: Path, file: Path | None = None, given: Mapping[str, Any] | None = None) -> Path:
    """Goes on with a run from what it has saved; of a finished one it says so and does nothing.

    Args:
        folder: The run.
        file: A TOML file of options; they must be those of the run.
        given: Options by name; they must be those of the run.

    Raises:
        ConfigError: Options differ from those of the run; each difference is told.
        InputError: There is no run, another process works on it, or its images have changed.
        KeyboardInterrupt: Ctrl-C or SIGTERM; how to go on was told.
    """
    config = recorded_config(folder, file, given or {})
    if run.read_status(folder) == "complete":
        if (folder / run.LOCK).exists():  # A kill came between its last word and its lock.
            run_state.require_idle(folder)
        console.say(f"{folder} is finished: nothing to do. Its report: {folder / run.REPORT}")
        return folder
    with _resumable(folder), run_state.resumed_run(folder):
        config, manifest = preflight(config, new=False)
        _finetune(config, as_recorded(folder, manifest), folder)
    return folder


def _finetune(config: Config, manifest: Manifest, folder: Path) -> None:
    """Does everything that lies between a checked configuration and a finished run folder.

    Whatever of it was done before an interruption is found, or made anew in the same way: pixels and activations in
    the cache, the state of training in the folder.
    """
    # --- The network and its weights: had, or not, before time is spent on the images -------------------------------
    timer = Timer()
    console.heading("Backbone")
    prepared = prepare_backbone_of(config, timer)
    config = changed(config, "model", image_size=prepared.model.input_shape[1])

    # --- Images: decoded once, examined, split ----------------------------------------------------------------------
    console.heading("Data")
    store, audit = prepare_data(config, manifest, timer)
    manifest = audit.manifest
    require_recorded(folder, manifest)

    # --- The classifier: backbone and a new head --------------------------------------------------------------------
    model = classifier_of(config, prepared, manifest, store)
    _write_setting(folder, config, manifest, store, audit)

    # --- What the backbone sees, before any of it is trained on these labels ----------------------------------------
    features = pooled_features_of(config, model, manifest, store, timer)

    # --- Training, phase by phase -----------------------------------------------------------------------------------
    console.heading("Training")
    history = train(config, model, manifest, store, features, folder, timer)
    save_model(model, folder)

    # --- Evaluation, of the model as it lies on disk ----------------------------------------------------------------
    console.heading("Evaluation")
    metrics = _evaluate(config, folder, manifest, store, features, timer)

    # --- Report -----------------------------------------------------------------------------------------------------
    _write_environment(folder, timer, features, history, _count_parameters(model))
    from tlkit.report import write_report

    with timer("Writing the report"):
        write_report(folder)
    finish(folder)
    _tell_result(folder, metrics)


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Says how to go on where the block ends early, and has it end in good order where it is asked to."""
    try:
        with interruption.watched(_tell_postponed):
            yield
    except KeyboardInterrupt:
        console.fail(f"The run is saved. Go on with: {run.resume_command(folder)}")
        raise
    except OSError as error:
        if not run_state.is_of_the_disk(error):
            raise
        raise InputError(
            f"Expected a disk with room that can be written. Received: {error}. What was saved before is whole: mend "
            f"that, then go on with: {run.resume_command(folder)}"
        ) from error


def _tell_postponed() -> None:
    console.warn("  Asked to stop: this step is finished and the state saved first. Once more ends at once.")


def _write_setting(folder: Path, config: Config, manifest: Manifest, store: Store, audit: Audit) -> None:
    record_config(folder, config)
    run.write_labels(folder, manifest.class_names)
    run.write_json(folder / run.TRANSFORM, store.transform.to_dict())
    run.write_json(folder / run.AUDIT, audit.to_dict())
    manifest.write_csv(folder / run.MANIFEST)


def _evaluate(
    config: Config, folder: Path, manifest: Manifest, store: Store, features: PooledFeatures | None, timer: Timer
) -> dict[str, Any]:
    import keras

    from tlkit import evaluation, results
    from tlkit.explaining import write_explanations

    model = keras.models.load_model(folder / run.MODEL, compile=False, safe_mode=True)
    probabilities, shown = _predict(config, model, manifest, store, timer)
    table = results.prediction_table(manifest, probabilities)
    results.write_predictions(folder, table, probabilities)
    results.write_thumbnails(folder, table, manifest, store)
    with timer("Explaining predictions", "steps") as on_progress:
        write_explanations(folder, model, manifest, store, table, features, on_progress, config.extraction, shown)
    with timer("Computing metrics and intervals"):
        labels = {split: manifest.labels(split) for split in ("train", "validation", "test")}
        groups = {split: manifest.items["group"].to_numpy()[manifest.indices(split)].tolist() for split in labels}
        metrics = evaluation.evaluate_splits(
            labels,
            probabilities,
            manifest.class_names,
            groups=groups,
            sensitivity=config.evaluation.sensitivity,
            seed=config.training.seed,
        )
    run.write_json(folder / run.METRICS, metrics)
    return metrics


def _predict(
    config: Config, model: keras.Model, manifest: Manifest, store: Store, timer: Timer
) -> tuple[dict[str, np.ndarray], PooledFeatures | None]:
    """Returns what the model says of each part and, of images few enough for the report's map, what its head read."""
    from tlkit.features import predict_in_order, predict_with_features
    from tlkit.graph import find_feature_layer
    from tlkit.pooled import MOST_ON_MAP, PooledFeatures

    layer = find_feature_layer(model)
    probabilities, features = {}, None
    for split in ("validation", "test"):  # Where there is a test part, it is the one to be judged.
        rows = manifest.indices(split)
        if not len(rows):
            continue
        images = dataset(config, manifest, store, split)
        with timer(f"Predicting the {split} images", "batches") as on_progress:
            if layer is None or len(rows) > MOST_ON_MAP:
                probabilities[split], features = predict_in_order(model, images, on_progress=on_progress)[0], None
            else:
                probabilities[split], values = predict_with_features(model, layer, images, on_progress)
                features = PooledFeatures(rows, values)
    return probabilities, features


def _count_parameters(model: keras.Model) -> dict[str, int]:
    """Counts what the last phase trained, and all there is."""
    return {
        "trainable": sum(math.prod(variable.shape) for variable in model.trainable_variables),
        "total": model.count_params(),
    }


def _write_environment(
    folder: Path,
    timer: Timer,
    features: PooledFeatures | None,
    history: FineTuneHistory,
    parameters: dict[str, int],
) -> None:
    from tlkit.results import write_environment

    cost = {
        "seconds": timer.seconds,
        "peak_memory_bytes": timer.peak_memory_bytes,
        "parameters": parameters,
        "extractions": [*(features.extractions if features else ()), *history.extractions],
        "saving": history.saving,
    }
    write_environment(folder, f"tlkit finetune --config {os.path.join(folder, run.CONFIG)}", timer.started, cost)


def _tell_result(folder: Path, metrics: dict[str, Any]) -> None:
    for split in ("validation", "test"):
        found = metrics.get(split)
        if found:
            low, high = found["intervals"]["accuracy"]
            console.say(
                f"  {split.capitalize()} accuracy {found['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%})"
            )
    console.say(f"\nModel:  {folder / run.MODEL}\nReport: {folder / run.REPORT}")
