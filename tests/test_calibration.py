"""Calibration: temperatures that are known, bins that add up."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB

from tlkit.calibration import (
    apply_temperature,
    calibrate,
    calibration_error,
    fit_temperature,
    log_probabilities,
    measure_calibration,
    reliability_bins,
)
from tlkit.errors import InputError

PARTS = {"validation": slice(600, 1200), "test": slice(1200, None)}


def drawn(temperature: float, num_images: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from softmax(logits / temperature)."""
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=2, size=(num_images, 4))
    return logits, (logits / temperature + generator.gumbel(size=logits.shape)).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    logits, labels = drawn(temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)
    assert fit_temperature(logits + 7, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-3)


def test_log_probabilities_serve_as_well_as_logits() -> None:
    logits, labels = drawn(2.0, 3_000)
    from_probabilities = fit_temperature(log_probabilities(softmax(logits, axis=1)), labels)
    assert from_probabilities == pytest.approx(fit_temperature(logits, labels), rel=1e-3)


def test_scaling_is_softmax_of_divided_logits_and_keeps_the_ranking() -> None:
    logits, _ = drawn(1.0, 500)
    probabilities = softmax(logits, axis=1)
    scaled = apply_temperature(probabilities, 2.5)
    np.testing.assert_allclose(scaled, softmax(logits / 2.5, axis=1), atol=1e-6)
    np.testing.assert_array_equal(scaled.argsort(axis=1), probabilities.argsort(axis=1))


def test_certain_predictions_stay_finite() -> None:
    certain = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    temperature = fit_temperature(log_probabilities(certain), [0, 1, 1, 0])
    assert np.isfinite(apply_temperature(certain, temperature)).all()
    assert measure_calibration(np.array([0, 1, 1, 0]), certain)["log_loss"] == pytest.approx(15.9424 / 4, abs=1e-3)


def test_few_images_that_are_all_right_do_not_make_a_model_sure_of_itself() -> None:
    logits = np.log(np.full((10, 3), 0.1) + 0.7 * np.eye(3)[np.arange(10) % 3])
    assert 0.3 < fit_temperature(logits, np.arange(10) % 3) < 1  # 0.05 without the prior.


def test_naive_bayes_is_too_sure_and_temperature_mends_it() -> None:
    data = load_digits()
    model = GaussianNB(var_smoothing=1e-2).fit(data.data[:600] / 16, data.target[:600])
    labels = {"validation": data.target[600:1200], "test": data.target[1200:]}
    probabilities = {name: model.predict_proba(data.data[rows] / 16) for name, rows in PARTS.items()}
    found = calibrate(labels, probabilities)
    assert found["temperature"] > 1.5
    test = found["test"]
    assert test["after"]["expected_calibration_error"] < test["before"]["expected_calibration_error"] / 2
    assert test["after"]["log_loss"] < test["before"]["log_loss"]


def test_bins_hold_equal_numbers_and_every_image() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.random(1_000)
    bins = reliability_bins(confidence, generator.random(1_000) < confidence)
    assert len(bins) == 15
    assert sum(one["count"] for one in bins) == 1_000
    assert {one["count"] for one in bins} <= {66, 67}
    assert all(one["low"] <= one["accuracy"] <= one["high"] for one in bins)
    assert calibration_error(bins) < 0.06


def test_equal_confidences_share_a_bin_whatever_the_order() -> None:
    confidence = np.repeat([0.4, 1.0], [30, 170])
    correct = np.arange(200) % 2 == 0
    order = np.random.default_rng(0).permutation(200)
    bins = reliability_bins(confidence, correct)
    assert [one["count"] for one in bins] == [30, 170]
    assert reliability_bins(confidence[order], correct[order]) == bins


def test_nothing_to_measure() -> None:
    assert reliability_bins([], []) == []
    assert calibration_error([]) is None
    assert measure_calibration([], np.zeros((0, 2)))["log_loss"] is None


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (np.zeros((0, 3)), [], "n > 0"),
        (np.zeros((2, 3)), [0], "n > 0"),
        (np.array([[0.0, -np.inf]]), [0], "finite logits"),
    ],
)
def test_scores_without_a_temperature_are_refused(scores: np.ndarray, labels: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_temperature(scores, labels)
