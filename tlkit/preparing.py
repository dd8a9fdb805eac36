"""What training is made from: network and weights, decoded and divided images, the classifier, its first features."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tlkit import console
from tlkit.backend import start_keras
from tlkit.config import Config
from tlkit.timing import Timer

CHECKED_IMAGES = 32  # For a look at whether the backbone's features make sense.

if TYPE_CHECKING:
    import keras

    from tlkit.backbones.build import PreparedBackbone
    from tlkit.data.auditing import Audit
    from tlkit.data.manifest import Manifest
    from tlkit.data.store import Store
    from tlkit.pooled import PooledFeatures


def prepare_backbone_of(config: Config, timer: Timer) -> PreparedBackbone:
    """Starts Keras and builds the network a run starts from, with its weights."""
    with timer("Starting Keras, which takes a few seconds"):
        start_keras()
        import keras

        from tlkit.backbones.build import prepare_backbone
    keras.utils.set_random_seed(config.training.seed)  # Of weights that are random, and of dropout.
    random = " with random weights" if config.model.weights == "none" else ""
    with timer(f"Building {config.model.backbone}{random}", "bytes") as on_progress:
        prepared = prepare_backbone(
            config.model.backbone,
            image_size=config.model.image_size,
            weights=config.model.weights,
            preprocessing=config.model.preprocessing,
            on_progress=on_progress,
        )
    for note in prepared.notes:
        console.say(f"  {note}")
    return prepared


def prepare_data(config: Config, manifest: Manifest, timer: Timer) -> tuple[Store, Audit]:
    """Decodes, examines and divides the images of a run; `audit.manifest` holds the division."""
    from tlkit import data

    assert config.model.image_size is not None
    transform = data.make_transform(
        config.model.image_size,
        geometry=config.data.geometry,
        store_scale=config.data.store_scale,
        max_pixels=config.data.max_pixels,
    )
    plan = data.plan_store(manifest, transform)
    if not plan.cached:
        console.say(f"  The decoded images will take {plan.bytes / 1e6:,.0f} MB in {plan.path.parent}")
    with timer("Decoding the images", "images") as on_progress:
        store = data.open_store(manifest, transform, on_progress=on_progress)
    with timer("Checking the images", "images"):
        audit = data.audit(manifest, store.facts)
    divided = audit.manifest.split(config.data.validation, config.data.test, seed=split_seed(config))
    audit = dataclasses.replace(audit, manifest=divided)  # With what splitting added to the findings.
    for note in store.notes:
        console.warn(f"  {note}")
    _tell_data(audit)
    return store, audit


def split_seed(config: Config) -> int:
    """Returns the seed of the split, which may stay while that of the training changes."""
    return config.training.seed if config.data.split_seed is None else config.data.split_seed


def _tell_data(audit: Audit) -> None:
    manifest = audit.manifest
    counts = {part: len(manifest.indices(part)) for part in ("train", "validation", "test")}
    told = ", ".join(f"{count:,} {part}" for part, count in counts.items())
    console.say(f"  {sum(counts.values()):,} images of {manifest.num_classes} classes: {told}")
    for finding in audit.findings:
        tell = console.say if finding.severity == "note" else console.warn
        tell(f"  {finding.message}")


def classifier_of(config: Config, prepared: PreparedBackbone, manifest: Manifest, store: Store) -> keras.Model:
    """Puts the head of a run on its backbone, and warns where features make no sense."""
    from tlkit.backbones.feature_check import check_features
    from tlkit.classifier import add_head

    sample = manifest.indices("train")[:CHECKED_IMAGES]
    for warning in check_features(prepared.model, store.transform.to_model(store.pixels(sample))):
        console.warn(f"  {warning}")
    return add_head(
        prepared.model,
        manifest.num_classes,
        pooling=config.model.pooling,
        dropout=config.model.dropout,
        neck=prepared.neck,
    )


def pooled_features_of(
    config: Config, model: keras.Model, manifest: Manifest, store: Store, timer: Timer
) -> PooledFeatures | None:
    """Features for judging labels; None where they would be those of random weights."""
    if config.training.strategy == "scratch" or config.model.weights == "none":
        return None
    from tlkit.activations import compute_ahead
    from tlkit.pooled import PARTS, pooled_features
    from tlkit.strategies import cuts_of
    from tlkit.training_run import dataset, wanted_phases

    # Where later phases cut lower, that comes first: the features that the head sees are computed from there.
    parts = {part: dataset(config, manifest, store, split) for part, split in PARTS.items()}
    compute_ahead(model, cuts_of(model, wanted_phases(config, model)), parts, timer, config.extraction)
    with timer("Computing what the backbone sees", "images") as on_progress:
        features = pooled_features(model, manifest, store, on_progress, config.extraction)
    for note in features.notes:
        console.warn(f"  {note}")
    return features
