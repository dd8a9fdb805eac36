"""What is written beside a run to explain it: heat maps, the map of images, labels that look wrong."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from PIL import Image
from sklearn.datasets import load_digits

from tlkit import cache, data, explaining, pooled, results, run
from tlkit.features import predict_in_order
from tlkit.report.pictures import worst_mistakes
from tlkit.training import fine_tune

SIZE = 32
WRONG = 30


@dataclass
class Scene:
    """A trained run before it is explained, and what the test knows of its data."""

    folder: Path
    model: keras.Model
    manifest: data.Manifest
    store: data.Store
    table: pd.DataFrame
    features: pooled.PooledFeatures
    mislabelled: set[str]
    extracted: int
    made: int


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    for number, width in enumerate((32, 64)):
        x = layers.Conv2D(width, 5, padding="same", activation="relu", name=f"conv{number}")(x)
        x = layers.MaxPooling2D(name=f"pool{number}")(x)
    x = layers.Flatten(name="pooled_features")(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax", name="head")(x), name="small")


def digit_images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Digits enlarged to 32 pixels, their labels with 30 wrong ones, and which those are."""
    digits = load_digits()
    images = np.rint(digits.images[:900] * (255 / 16)).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    labels = digits.target[:900].copy()
    wrong = np.random.default_rng(0).choice(900, WRONG, replace=False)
    labels[wrong] = (labels[wrong] + np.random.default_rng(1).integers(1, 10, WRONG)) % 10
    return images, labels, wrong


def write_history(folder: Path, history: keras.callbacks.History) -> None:
    pd.DataFrame(history.history).to_csv(folder / run.HISTORY, index=False)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    images, labels, wrong = digit_images()
    names = [f"digit {label}" for label in range(10)]
    listed = data.from_arrays(images, [names[label] for label in labels])
    store = data.open_store(listed, data.make_transform(SIZE))
    manifest = data.audit(listed, store.facts).manifest.split(0.15, 0.2, seed=0)
    folder = tmp_path_factory.mktemp("runs") / "digits"
    folder.mkdir()
    model = network()
    before = {entry.key for entry in cache.list_entries("activations")}
    features = pooled.pooled_features(model, manifest, store)
    extracted = len({entry.key for entry in cache.list_entries("activations")} - before)
    train, validation = (data.load(manifest, split, SIZE, shuffle=False) for split in ("train", "validation"))
    write_history(folder, fine_tune(model, train, validation_data=validation, strategy="frozen"))
    probabilities = {
        split: predict_in_order(model, data.load(manifest, split, SIZE))[0] for split in ("validation", "test")
    }
    table = results.prediction_table(manifest, probabilities)
    results.write_thumbnails(folder, table, manifest, store)
    explaining.write_explanations(folder, model, manifest, store, table, features)
    mislabelled = {manifest.items["item"][row] for row in wrong}
    made = len({entry.key for entry in cache.list_entries("activations")} - before)
    return Scene(folder, model, manifest, store, table, features, mislabelled, extracted, made)


def facts_of(folder: Path) -> dict:
    return json.loads((folder / run.EXPLANATIONS).read_text(encoding="utf-8"))


def test_the_first_phase_of_training_finds_the_features_in_the_cache(scene: Scene) -> None:
    assert scene.extracted == 2
    assert scene.made <= 3  # Of training, validation and, for the map, test images.
    assert scene.features.values.shape == (len(scene.features.rows), 64 * 8 * 8)
    assert scene.features.values.dtype == np.float32


def test_heat_maps_are_those_of_the_worst_mistakes_and_least_sure_hits(scene: Scene) -> None:
    judged = scene.table[scene.table["split"] == "test"]
    mistakes = worst_mistakes(judged)
    digests = scene.manifest.items["digest"]
    names = {f"{digests[row][:32]}.jpg" for row in mistakes.index[: explaining.NUM_HEAT_MAPS - explaining.NUM_HITS]}
    drawn = {path.name for path in (scene.folder / run.HEAT_MAPS).iterdir()}
    assert names <= drawn
    assert len(drawn) == facts_of(scene.folder)["heat_maps"]["images"] == explaining.NUM_HEAT_MAPS
    for name in drawn:
        with Image.open(scene.folder / run.HEAT_MAPS / name) as picture:
            assert (picture.format, picture.mode) == ("JPEG", "RGB")
            assert max(picture.size) <= explaining.PICTURE_SIZE
    told = facts_of(scene.folder)["heat_maps"]
    assert (told["method"], told["layer"], told["grid"]) == ("grad-cam", "pool1", [8, 8])


def test_planted_wrong_labels_are_listed_first_with_their_pictures(scene: Scene) -> None:
    issues = pd.read_csv(scene.folder / run.LABEL_ISSUES)
    in_question = set(scene.manifest.items["item"][scene.features.rows]) & scene.mislabelled
    found = issues["item"].isin(in_question)
    assert found[:10].mean() >= 0.8
    assert found.sum() >= 0.5 * len(in_question)
    assert set(issues["split"]) <= {"train", "validation"}
    assert (issues["confidence"] > issues["label_probability"]).all()
    assert (issues["label"] != issues["suggested"]).all()
    digests = dict(zip(scene.manifest.items["item"], scene.manifest.items["digest"], strict=True))
    for item in issues["item"][: results.KEPT_FOR_LABEL_ISSUES]:
        assert (scene.folder / run.THUMBNAILS / f"{digests[item][:32]}.jpg").exists()
    assert facts_of(scene.folder)["label_issues"]["issues"] == len(issues)


def test_cross_validation_judges_every_training_and_validation_image_once(scene: Scene) -> None:
    told = facts_of(scene.folder)["cross_validation"]
    assert (told["folds"], told["images"]) == (5, len(scene.features.rows))
    assert told["accuracy"] == pytest.approx(np.mean(told["fold_accuracies"]), abs=1e-5)
    assert 0.8 < told["accuracy"] < 0.99  # 30 of 900 labels are wrong.
    assert 0 < told["standard_error"] < 0.03
    history = pd.read_csv(scene.folder / run.HISTORY)
    assert told["penalty"] == history["penalty"][history["best"]].iloc[-1]


def test_map_has_every_test_image(scene: Scene) -> None:
    places = pd.read_csv(scene.folder / run.EMBEDDING)
    judged = scene.table[scene.table["split"] == "test"]
    assert places["item"].tolist() == judged["item"].tolist()
    assert places[["x", "y"]].min().min() == 0
    assert places[["x", "y"]].max().max() == 1
    assert facts_of(scene.folder)["embedding"] == {"method": "t-SNE", "images": len(judged), "of": len(judged)}


def test_the_same_again_gives_the_same_files(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / run.HISTORY).write_bytes((scene.folder / run.HISTORY).read_bytes())
    steps: list[tuple[int, int]] = []
    explaining.write_explanations(
        tmp_path,
        scene.model,
        scene.manifest,
        scene.store,
        scene.table,
        scene.features,
        lambda done, total: steps.append((done, total)),
    )
    assert steps == [(1, 3), (2, 3), (3, 3)]
    for name in (run.EXPLANATIONS, run.LABEL_ISSUES, run.EMBEDDING):
        assert (tmp_path / name).read_bytes() == (scene.folder / name).read_bytes()


def test_without_features_from_before_training_no_label_is_judged(scene: Scene, tmp_path: Path) -> None:
    explaining.write_explanations(tmp_path, scene.model, scene.manifest, scene.store, scene.table)
    told = facts_of(tmp_path)
    assert told["cross_validation"] is None
    assert told["label_issues"] is None
    assert not (tmp_path / run.LABEL_ISSUES).exists()


def test_without_a_convex_head_the_penalty_is_chosen_on_a_fold(scene: Scene, tmp_path: Path) -> None:
    history = pd.read_csv(scene.folder / run.HISTORY).assign(penalty=None)
    history.to_csv(tmp_path / run.HISTORY, index=False)
    explaining.write_explanations(tmp_path, scene.model, scene.manifest, scene.store, scene.table, scene.features)
    assert facts_of(tmp_path)["cross_validation"]["accuracy"] > 0.8


def test_a_model_without_feature_map_is_explained_by_covering(scene: Scene, tmp_path: Path) -> None:
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    dense = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    explaining.write_explanations(tmp_path, dense, scene.manifest, scene.store, scene.table)
    told = facts_of(tmp_path)
    assert told["heat_maps"]["method"] == "occlusion"
    assert "Grad-CAM does not fit" in told["notes"][0]
    assert told["embedding"]["images"] > 0


def test_a_model_without_pooled_features_has_no_map(scene: Scene, tmp_path: Path) -> None:
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(10, SIZE, activation="softmax")(layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, layers.Reshape((10,))(x))
    explaining.write_explanations(tmp_path, model, scene.manifest, scene.store, scene.table)
    told = facts_of(tmp_path)
    assert told["embedding"] is None
    assert any("no map of the images" in note for note in told["notes"])
    assert not (tmp_path / run.EMBEDDING).exists()


def test_nothing_judged_is_nothing_explained(scene: Scene, tmp_path: Path) -> None:
    explaining.write_explanations(tmp_path, scene.model, scene.manifest, scene.store, scene.table.iloc[:0])
    assert facts_of(tmp_path)["heat_maps"] is None
    assert facts_of(tmp_path)["embedding"] is None


def test_at_most_2000_images_are_laid_out_pictures_first() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(5, size=3000)
    table = pd.DataFrame(
        {
            "split": "test",
            "label": [f"class {label}" for label in labels],
            "confidence": generator.random(3000),
            "correct": generator.random(3000) < 0.8,
        },
        index=np.arange(100, 3100),
    )
    rows = pooled.rows_on_map(table)
    assert len(rows) == len(set(rows)) == pooled.MOST_ON_MAP
    assert set(results.chosen_pictures(table)) <= set(rows)
    assert len(results.chosen_pictures(table)) == results.MAX_THUMBNAILS - results.KEPT_FOR_LABEL_ISSUES


def test_overlay_glows_where_the_map_is_high() -> None:
    image = np.full((64, 64, 3), 100, np.uint8)
    heat = np.zeros((64, 64), np.float32)
    heat[:32] = 1
    drawn = np.asarray(Image.open(io.BytesIO(explaining.overlay(image, heat)))).astype(int)
    assert np.abs(drawn[48:] - 100).max() < 8
    assert (drawn[:16, :, 0] - drawn[:16, :, 2]).min() > 80


def test_damage_found_before_training_is_told(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path))
    first = pooled.pooled_features(network(), scene.manifest, scene.store)
    assert first.notes == ()
    assert [(one["part"], one["cached"]) for one in first.extractions] == [("training", False), ("validation", False)]
    rows = max(tmp_path.glob("activations/*/rows.bin"), key=lambda path: path.stat().st_size)
    content = bytearray(rows.read_bytes())
    content[100] ^= 1
    rows.write_bytes(content)
    again = pooled.pooled_features(network(), scene.manifest, scene.store)
    assert [(one["part"], one["cached"]) for one in again.extractions] == [("training", False), ("validation", True)]
    assert len(again.notes) == 1
    assert "damaged on disk and are computed anew" in again.notes[0]
    np.testing.assert_array_equal(again.values, first.values)
