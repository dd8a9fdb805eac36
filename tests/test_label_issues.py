"""Cross-validation of the head, and the wrong labels that it finds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from tlkit.cross_validation import cross_validate
from tlkit.errors import InputError
from tlkit.label_issues import find_label_issues

PENALTY = 0.01


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels, labels and folds of scikit-learn's digits."""
    data = load_digits()
    return data.data, data.target, np.random.default_rng(0).permutation(len(data.target)) % 5


def test_each_fold_is_judged_by_a_head_that_has_not_seen_it(
    digits: tuple, standardised: Callable[..., np.ndarray]
) -> None:
    features, labels, folds = digits
    found = cross_validate(features, labels, folds, num_classes=10, penalty=PENALTY)
    scaled = standardised(features)
    for fold in (0, 3):
        training = folds != fold
        peer = LogisticRegression(C=1 / (PENALTY * training.sum()), tol=1e-8, max_iter=5000)
        expected = peer.fit(scaled[training], labels[training]).predict_proba(scaled[~training])
        difference = np.abs(found.probabilities[~training] - expected)
        assert difference.mean() < 0.002
        assert difference.max() < 0.05
    hits = found.probabilities.argmax(axis=1) == labels
    assert found.fold_accuracies == pytest.approx([hits[folds == fold].mean() for fold in range(5)])
    assert found.accuracy == pytest.approx(np.mean(found.fold_accuracies))
    # Folds of 360 images at 93 %: the binomial standard error of all 1,797 is 0.006.
    assert 0.002 < found.standard_error < 0.012


def test_progress_and_what_cannot_be_folded(digits: tuple) -> None:
    features, labels, folds = (one[:200] for one in digits)
    calls: list[tuple[int, int]] = []
    told = {"num_classes": 10, "penalty": PENALTY}
    cross_validate(features, labels, folds, **told, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(number, 5) for number in range(1, 6)]
    for wrong in ({"folds": np.zeros(200)}, {"labels": np.zeros(200, int)}):
        with pytest.raises(InputError, match="at least two"):
            cross_validate(features, **{"labels": labels, "folds": folds} | wrong, **told)


def test_a_class_that_some_folds_lack_is_no_trouble(digits: tuple) -> None:
    features, labels, folds = (one[:300].copy() for one in digits)
    rare = labels == 9
    folds[rare] = 0
    found = cross_validate(features, labels, folds, num_classes=11, penalty=PENALTY)
    assert np.isfinite(found.probabilities).all()
    assert (found.probabilities[rare].argmax(axis=1) != 9).all()


def test_planted_wrong_labels_are_found_first(digits: tuple) -> None:
    features, truth, folds = digits
    generator = np.random.default_rng(1)
    wrong = generator.choice(len(truth), 60, replace=False)
    labels = truth.copy()
    labels[wrong] = (labels[wrong] + generator.integers(1, 10, 60)) % 10
    found = cross_validate(features, labels, folds, num_classes=10, penalty=PENALTY)
    issues = find_label_issues(labels, found.probabilities)
    planted = np.isin(issues.rows, wrong)
    assert planted.sum() >= 40
    assert planted.mean() >= 0.8
    assert planted[:30].all()
    assert (issues.suggested[planted] == truth[issues.rows[planted]]).mean() > 0.95
    assert (issues.confidence > issues.given).all()


def test_right_labels_are_mostly_left_alone(digits: tuple) -> None:
    features, labels, folds = digits
    found = cross_validate(features, labels, folds, num_classes=10, penalty=PENALTY)
    assert len(find_label_issues(labels, found.probabilities).rows) < 0.01 * len(labels)


def test_the_confident_joint_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    # Thresholds are the mean own probabilities: (0.9 + 0.8 + 0.1) / 3 = 0.6 and (0.3 + 0.7 + 0.45) / 3 = 0.483.
    # The last image is likelier of class 0, but not as likely as images of class 0 are on average.
    first = np.array([0.9, 0.8, 0.1, 0.7, 0.3, 0.55])
    issues = find_label_issues(labels, np.stack([first, 1 - first], axis=1))
    assert issues.rows.tolist() == [2, 3]
    assert issues.suggested.tolist() == [1, 0]
    assert issues.confidence.tolist() == pytest.approx([0.9, 0.7])
    assert issues.given.tolist() == pytest.approx([0.1, 0.3])


def test_a_class_without_images_claims_none_and_no_image_is_no_trouble() -> None:
    probabilities = np.array([[0.2, 0.1, 0.7], [0.3, 0.6, 0.1]])
    assert find_label_issues(np.array([0, 1]), probabilities).rows.tolist() == []
    assert find_label_issues(np.zeros(0, np.int64), np.zeros((0, 3))).rows.tolist() == []
