"""The augmentation of a run: what was decided, shown and written to the run folder, and how steady answers became."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit import console, run
from tlkit.config import Config

if TYPE_CHECKING:
    import keras

    from tlkit.augmenting import Augmentation, FlipTest
    from tlkit.data.loader import ImageDataset
    from tlkit.data.manifest import Manifest
    from tlkit.data.store import Store
    from tlkit.pooled import PooledFeatures
    from tlkit.symmetry import Steadiness
    from tlkit.training.job import Step
    from tlkit.training.outcome import PhaseOutcome

SHEET_PICTURES, SHEET_VIEWS, SHEET_SIDE = 6, 7, 96


def is_wanted(config: Config) -> bool:
    """Tells whether a run's options ask for any augmentation."""
    asked = config.augmentation
    return asked.augment != "none" or bool(asked.mixup) or bool(asked.cutmix)


def vary(
    config: Config, model: keras.Model, dataset: ImageDataset, features: PooledFeatures | None, folder: Path, step: Step
) -> Any:
    """Decides on the augmentation of the training images, writes it to the run folder and puts it on the dataset.

    Args:
        config: Options of the run.
        model: The classifier, not trained yet.
        dataset: The training images, with labels.
        features: What the head sees of plain images; None where the network's weights are random.
        folder: The run folder; gets augmentation.json and augmentation.jpg.
        step: Shows steps.

    Returns:
        The dataset, augmented where that is asked for.

    Raises:
        InputError: The layers cannot work on these images.
    """
    if not is_wanted(config):
        return dataset
    from tlkit.augment import AugmentedDataset

    manifest = dataset.store.manifest
    chosen = _choose(config, model, dataset, features, step)
    layers = chosen.layers(dataset.store.transform.image_size, manifest.num_classes)
    augmented = AugmentedDataset(dataset, layers, config.training.seed, views=config.augmentation.views)
    facts = chosen.to_dict(layers) | {"mixes": augmented.mixes, "views": config.augmentation.views}
    run.write_json(folder / run.AUGMENTATION, facts)
    _write_sheet(folder, dataset, layers, config.training.seed)
    console.say(f"  Augmentation {chosen.asked.augment}: {', '.join(map(repr, layers)) or 'nothing'}")
    for reason in chosen.reasons:
        console.say(f"  {reason}")
    return augmented


def write_reach(folder: Path, outcomes: Sequence[PhaseOutcome]) -> None:
    """Adds to augmentation.json whether the pictures that it tells of were trained on, and what was told of that."""
    from tlkit.training.augmented import reached

    path = folder / run.AUGMENTATION
    if path.exists():
        trained_on, told = reached(outcomes)
        facts = json.loads(path.read_text(encoding="utf-8"))
        run.write_json(path, facts | {"trained_on": trained_on, "told": " ".join(told)})


def _choose(
    config: Config, model: keras.Model, dataset: ImageDataset, features: PooledFeatures | None, step: Step
) -> Augmentation:
    from tlkit.augmenting import choose_augmentation, try_flip
    from tlkit.features import predict_in_order
    from tlkit.graph import feature_layer, split_model

    store, manifest = dataset.store, dataset.store.manifest
    assert dataset.labels is not None
    counts = np.bincount(dataset.labels, minlength=manifest.num_classes)

    def trial() -> FlipTest:
        assert features is not None
        prefix, _ = split_model(model, feature_layer(model))

        def mirrored(rows: np.ndarray) -> np.ndarray:
            images = store.images(features.rows[rows])[:, :, ::-1]
            batches = [(images[start : start + 32], None) for start in range(0, len(images), 32)]
            return predict_in_order(prefix, batches)[0].reshape(len(rows), -1)

        with step("Trying whether mirror images keep their class"):
            labels = manifest.labels()[features.rows]
            return try_flip(features.values, labels, mirrored, manifest.num_classes, config.training.seed)

    return choose_augmentation(config.augmentation, config.training.strategy, counts, trial if features else None)


def _write_sheet(folder: Path, dataset: ImageDataset, layers: list, seed: int) -> None:
    from PIL import Image

    from tlkit.augment.sheet import preview_sheet
    from tlkit.data.loader import ImageDataset

    chosen = np.random.default_rng(seed).permutation(len(dataset.indices))[: max(SHEET_PICTURES, 2)]
    assert dataset.labels is not None
    if len(np.unique(dataset.labels[chosen])) < 2:  # Mixes want two classes, be they few in a large set.
        chosen[0] = np.flatnonzero(dataset.labels != dataset.labels[chosen[-1]])[0]
    shown = ImageDataset(dataset.store, dataset.indices[chosen], dataset.labels[chosen], len(chosen))
    buffer = io.BytesIO()
    sheet = preview_sheet(shown, layers, SHEET_VIEWS, SHEET_SIDE, seed)
    Image.fromarray(sheet).save(buffer, "JPEG", quality=85)
    run.write_bytes(folder / run.PREVIEW, buffer.getvalue())


# --- How steady answers are ---


def steadiness_before(
    config: Config, model: keras.Model, manifest: Manifest, store: Store, features: PooledFeatures | None
) -> tuple[Steadiness, ...]:
    """Measures, before training, how steady a head on the frozen backbone is; nothing without features of its own."""
    if features is None or not is_wanted(config):
        return ()
    from scipy.special import softmax

    from tlkit.features import predict_in_order
    from tlkit.graph import feature_layer, split_model
    from tlkit.probe import fit_probe
    from tlkit.symmetry import measure_steadiness

    labels = manifest.labels()[features.rows]
    train = np.isin(features.rows, manifest.indices("train"))
    parts = (features.values[train], labels[train], features.values[~train], labels[~train])
    head = fit_probe(*parts, num_classes=manifest.num_classes)
    prefix, _ = split_model(model, feature_layer(model))

    def answer(images: np.ndarray) -> np.ndarray:
        seen = predict_in_order(prefix, [(images, None)])[0].reshape(len(images), -1)
        return softmax(seen @ head.kernel + head.bias, axis=1)

    return measure_steadiness({"before": answer}, _moved_images(manifest, store))


def write_steadiness(
    config: Config,
    model: keras.Model,
    manifest: Manifest,
    store: Store,
    before: tuple[Steadiness, ...],
    folder: Path,
) -> None:
    """Measures how steady the trained model is and writes symmetry.csv, where there was any augmentation."""
    if not is_wanted(config):
        return
    from tlkit.features import predict_in_order
    from tlkit.symmetry import measure_steadiness, write_symmetry

    def answer(images: np.ndarray) -> np.ndarray:
        return predict_in_order(model, [(images, None)])[0]

    write_symmetry(folder, before + measure_steadiness({"after": answer}, _moved_images(manifest, store)))


def _moved_images(manifest: Manifest, store: Store) -> np.ndarray:
    """Picks images that neither training nor the choice of an epoch has seen, where there are any."""
    from tlkit.symmetry import MOST_IMAGES

    rows = manifest.indices("test") if len(manifest.indices("test")) else manifest.indices("validation")
    return store.images(np.sort(np.random.default_rng(0).permutation(rows)[:MOST_IMAGES]))
