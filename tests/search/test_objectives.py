"""Objectives are scikit-learn's figures; gains are paired."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from tlkit.search.objectives import get_objective, measure, paired_gain


@pytest.fixture(scope="module")
def judged() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of digits, and what a good and a poor model say of them."""
    x, y = load_digits(return_X_y=True)
    good = LogisticRegression(C=1.0, max_iter=500).fit(x[:600] / 16, y[:600]).predict_proba(x[600:900] / 16)
    poor = LogisticRegression(C=1.0, max_iter=500).fit(x[:25] / 16, y[:25]).predict_proba(x[600:900] / 16)
    return y[600:900], good, poor


def test_figures_are_those_of_scikit_learn(judged: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    labels, good, _ = judged
    found = measure(labels, good)
    assert found["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, good.argmax(axis=1)))
    assert found["balanced_accuracy"] == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(labels, good.argmax(axis=1))
    )
    assert found["log_loss"] == pytest.approx(sklearn.metrics.log_loss(labels, good), rel=1e-5)
    assert 0 < found["ece"] < 0.3


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "log_loss", "ece"])
def test_a_gain_is_positive_for_the_better_and_nothing_for_the_same(
    name: str, judged: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    labels, good, poor = judged
    objective = get_objective(name)
    same = paired_gain(objective, labels, [good], [good])
    assert same["gain"] == 0
    assert same["interval"] == [0, 0]
    if name != "ece":
        better = paired_gain(objective, labels, [good, good], [poor])
        assert better["interval"][0] > 0
        assert better["interval"][0] < better["gain"] < better["interval"][1]
        assert objective.is_better(better["winner"], better["default"])


def test_seeds_widen_the_interval(judged: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    labels, good, poor = judged
    objective = get_objective("accuracy")
    one = paired_gain(objective, labels, [good, good], [good, good])["interval"]
    several = paired_gain(objective, labels, [good, poor], [good, good])["interval"]
    assert several[1] - several[0] > one[1] - one[0]
