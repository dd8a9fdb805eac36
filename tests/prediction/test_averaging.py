"""Several looks at a picture: which they are, that their answers are averaged, and what that gains."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from tlkit import run
from tlkit.data.arrays import from_arrays
from tlkit.data.loader import ImageDataset
from tlkit.data.store import open_store
from tlkit.data.transform import Transform
from tlkit.errors import InputError
from tlkit.features import predict_in_order
from tlkit.prediction import Classifier, load_run, predict
from tlkit.prediction.averaging import count_looks, looks, predict_averaged, told_gain

SIZE, STORED = 24, 28


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    parts = [
        picture[top : top + 224 : 8, 100 : 100 + 224 : 8]
        for picture in load_sample_images().images
        for top in range(0, 200, 20)
    ]
    return np.stack(parts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network was made, not trained, and whose mirror images keep their class."""
    keras.utils.set_random_seed(1)
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(8, 5, strides=3, activation="relu")(keras.layers.Rescaling(1 / 64, -1.0)(image))
    x = keras.layers.Flatten()(x)
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax", name="head")(x))
    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    model.save(folder / run.MODEL)
    run.write_labels(folder, ("a", "b", "c"))
    run.write_json(folder / run.TRANSFORM, Transform(SIZE, STORED).to_dict())
    run.write_json(folder / run.AUGMENTATION, {"flip": True})
    run.write_state(folder, "complete")
    return folder


@pytest.fixture(scope="module")
def classifier(folder: Path) -> Classifier:
    return load_run(folder)


def test_looks_are_the_middle_the_corners_and_their_mirror_images(pictures: np.ndarray) -> None:
    found = looks(pictures, SIZE, mirrored=True)
    assert len(found) == 10 == count_looks(STORED, SIZE, True)
    assert {one.shape for one in found} == {(len(pictures), SIZE, SIZE, 3)}
    np.testing.assert_array_equal(found[0], pictures[:, 2:26, 2:26])
    np.testing.assert_array_equal(found[1], pictures[:, :24, :24])
    np.testing.assert_array_equal(found[4], pictures[:, 4:, 4:])
    np.testing.assert_array_equal(found[5], found[0][:, :, ::-1])
    assert len(looks(pictures, SIZE, mirrored=False)) == 5 == count_looks(STORED, SIZE, False)
    assert len(looks(pictures, STORED, mirrored=True)) == 2 == count_looks(STORED, STORED, True)
    with pytest.raises(InputError, match="more than one look"):
        count_looks(SIZE, SIZE, False)


def test_probabilities_are_the_mean_over_looks(classifier: Classifier, pictures: np.ndarray) -> None:
    labels = np.arange(len(pictures)) % 3
    store = open_store(from_arrays(pictures, labels, ["a", "b", "c"]), classifier.transform)
    dataset = ImageDataset(store, np.arange(len(pictures)), labels, 8)
    stored = store.pixels(np.arange(len(pictures)))
    expected = np.mean([predict_in_order(classifier.model, [(one, None)])[0] for one in looks(stored, SIZE, True)], 0)
    np.testing.assert_allclose(predict_averaged(classifier, dataset), expected, atol=1e-5)


def test_pictures_are_predicted_as_an_evaluation_would(
    classifier: Classifier, pictures: np.ndarray, tmp_path: Path
) -> None:
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number:02d}.png")
    found = list(predict(classifier, [tmp_path], top=3, averaged=True, features=True))
    alone = list(predict(classifier, [tmp_path], top=3, features=True))
    stored = np.stack([classifier.transform.stored(picture) for picture in pictures])
    expected = np.mean([predict_in_order(classifier.model, [(one, None)])[0] for one in looks(stored, SIZE, True)], 0)
    for one, plain, probabilities in zip(found, alone, expected, strict=True):
        assert {entry.class_index: entry.probability for entry in one.classes} == pytest.approx(
            dict(enumerate(probabilities.tolist())), abs=1e-5
        )
        np.testing.assert_allclose(one.features, plain.features, atol=1e-5)
    assert [one.classes for one in found] != [one.classes for one in alone]


def test_a_run_that_says_nothing_of_flips_is_not_mirrored(folder: Path) -> None:
    (folder / run.AUGMENTATION).unlink()
    assert not load_run(folder).mirrored
    run.write_json(folder / run.AUGMENTATION, {"flip": False})
    assert not load_run(folder).mirrored
    run.write_json(folder / run.AUGMENTATION, {"flip": True})
    assert load_run(folder).mirrored


def test_gain_and_cost_are_told() -> None:
    labels = np.array([0, 1] * 50)
    right = np.eye(2)[labels] * 0.8 + 0.1
    wrong = right.copy()
    wrong[:10] = wrong[:10, ::-1]
    told = told_gain(labels, wrong, right, 4.9)
    assert "accuracy by +10.0 points (95 % interval +" in told
    assert "log-loss from 0.325 to 0.105, at 4.9 times the time" in told
