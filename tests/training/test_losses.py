"""The loss, and by what epochs are judged: neither smoothing nor confidence counts."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

import tlkit
from tlkit.phases import Phase
from tlkit.training import Recipe, fine_tune
from tlkit.training.losses import TEMPERATURES, LogLoss, TemperedLogLoss, make_loss

Arrays = tuple[np.ndarray, np.ndarray]
Build = Callable[..., keras.Model]
ALL = [Phase("all", "input", epochs=2, learning_rate=0.01)]


def some_predictions() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.integers(0, 4, 40), generator.normal(size=(40, 4)).astype("float32")


@pytest.mark.parametrize("from_logits", [True, False])
def test_smoothed_loss_of_integer_labels_is_that_of_one_hot_ones(from_logits: bool) -> None:
    labels, logits = some_predictions()
    outputs = logits if from_logits else keras.ops.softmax(logits)
    ours = make_loss(from_logits, False, 0.1)(labels, outputs)
    theirs = keras.losses.CategoricalCrossentropy(from_logits=from_logits, label_smoothing=0.1)(
        np.eye(4)[labels], outputs
    )
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("one_hot", [True, False])
def test_log_loss_is_plain_or_a_mean_over_classes(balanced: bool, one_hot: bool) -> None:
    labels, logits = some_predictions()
    labels[:30] = 2
    metric = LogLoss(5, True, one_hot, balanced)  # Of the fifth class there is no image.
    logits = np.concatenate([logits, np.zeros((40, 1), "float32")], axis=1)
    for rows in (slice(0, 25), slice(25, 40)):
        metric.update_state(np.eye(5)[labels[rows]] if one_hot else labels[rows], logits[rows])
    losses = -np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))[np.arange(40), labels]
    by_class = np.mean([losses[labels == label].mean() for label in np.unique(labels)])
    assert float(metric.result()) == pytest.approx(by_class if balanced else losses.mean(), rel=1e-4)


@pytest.mark.parametrize("scale", [0.2, 1.0, 8.0])
@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("one_hot", [True, False])
def test_tempered_log_loss_is_that_of_the_best_temperature(
    scale: float, from_logits: bool, balanced: bool, one_hot: bool
) -> None:
    labels, logits = some_predictions()
    logits += 2 * np.eye(4, dtype="float32")[labels]
    truth = np.eye(4)[labels] if one_hot else labels
    tempered = TemperedLogLoss(4, from_logits, one_hot, balanced)
    outputs = logits * scale if from_logits else keras.ops.softmax(logits * scale)
    for rows in (slice(0, 25), slice(25, 40)):
        tempered.update_state(truth[rows], outputs[rows])

    def plain(temperature: float) -> float:
        metric = LogLoss(4, True, one_hot, balanced)
        metric.update_state(truth, logits * scale / temperature)
        return float(metric.result())

    assert float(tempered.result()) == pytest.approx(min(map(plain, TEMPERATURES)), rel=1e-4)
    assert float(tempered.result()) == pytest.approx(min(map(plain, np.geomspace(0.5, 16, 200))), rel=0.01)


def test_best_epoch_is_not_judged_by_how_sure_it_is(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    (images, labels), validation = digits
    labels = np.where(np.random.default_rng(0).random(len(labels)) < 0.3, (labels + 1) % 10, labels)

    def last_as_good(losses: list[float]) -> int:
        lowest = np.minimum.accumulate(losses)
        return int(np.flatnonzero(losses <= lowest * (1 + 1 / np.sqrt(len(validation[1]))))[-1])

    differing = 0
    for rate in (0.01, 0.03):
        phase = Phase("all", "input", epochs=12, learning_rate=rate)
        history = fine_tune(small_net(), (images, labels), validation_data=validation, strategy=[phase]).history
        best = history["best"].index(True)
        assert best == last_as_good(history["val_tempered_loss"])
        differing += best != last_as_good(history["val_loss"])
    assert differing


def test_smoothing_changes_the_loss_and_not_what_is_validated(digits: tuple[Arrays, Arrays], small_net: Build) -> None:
    train, validation = digits
    model = small_net()
    history = fine_tune(
        model, train, validation_data=validation, strategy=ALL, recipe=Recipe(label_smoothing=0.2)
    ).history
    best = history["best"].index(True)
    assert history["val_loss"][best] == pytest.approx(tlkit.evaluate(model, validation)["log_loss"], abs=1e-3)
    assert min(history["loss"]) > 0.5  # Nothing smoothed by 0.2 over ten classes comes near 0.
