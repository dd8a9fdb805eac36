"""Evaluation against scikit-learn, on real predictions, and where figures are not defined."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from tlkit.errors import InputError
from tlkit.evaluation import evaluate_probabilities, evaluate_splits, majority_baseline
from tlkit.intervals import Counts, bootstrap, count_statistics, percentile_interval, wilson_interval
from tlkit.metrics import confusion_matrix
from tlkit.screening import evaluate_threshold, threshold_for_sensitivity, weighted_roc_auc

NAMES = tuple("0123456789")


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of a weak classifier on 900 digits."""
    data = load_digits()
    model = LogisticRegression(C=1e-4).fit(data.data[:300], data.target[:300])
    return data.target[300:1200], model.predict_proba(data.data[300:1200])


def random_case(num_images: int, num_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(num_classes, size=num_images)
    scores = generator.normal(size=(num_images, num_classes))
    scores[np.arange(num_images), labels] += 1.5
    probabilities = np.exp(scores)
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


def test_figures_agree_with_scikit_learn(digits: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = digits
    predicted = probabilities.argmax(axis=1)
    found = evaluate_probabilities(labels, probabilities, NAMES)
    one_hot = np.eye(10)[labels]
    expected = {
        "accuracy": reference.accuracy_score(labels, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted),
        "top_2_accuracy": reference.top_k_accuracy_score(labels, probabilities, k=2),
        "top_5_accuracy": reference.top_k_accuracy_score(labels, probabilities, k=5),
        "macro_precision": reference.precision_score(labels, predicted, average="macro"),
        "macro_f1": reference.f1_score(labels, predicted, average="macro"),
        "weighted_f1": reference.f1_score(labels, predicted, average="weighted"),
        "log_loss": reference.log_loss(labels, probabilities),
        "brier_score": ((probabilities - one_hot) ** 2).sum(axis=1).mean(),
        "roc_auc": reference.roc_auc_score(labels, probabilities, multi_class="ovr"),
        "average_precision": reference.average_precision_score(one_hot, probabilities),
        "cohen_kappa": reference.cohen_kappa_score(labels, predicted),
        "matthews_correlation": reference.matthews_corrcoef(labels, predicted),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert found["confusion_matrix"] == reference.confusion_matrix(labels, predicted).tolist()
    recall = reference.recall_score(labels, predicted, average=None)
    assert [row["recall"] for row in found["per_class"]] == pytest.approx(recall.tolist(), abs=1e-6)


def test_interval_holds_the_figure_and_the_method_is_told(digits: tuple[np.ndarray, np.ndarray]) -> None:
    found = evaluate_probabilities(*digits, NAMES)
    for name, (low, high) in found["intervals"].items():
        assert low <= found[name] <= high, name
        assert low < high, name
    assert found["interval_method"] == {"level": 0.95, "resamples": 1000, "unit": "image", "seed": 0}
    standard_error = np.sqrt(found["accuracy"] * (1 - found["accuracy"]) / 900)
    low, high = found["intervals"]["accuracy"]
    assert high - low == pytest.approx(2 * 1.96 * standard_error, rel=0.15)


def test_statistics_of_a_resample_agree_with_scikit_learn(digits: tuple[np.ndarray, np.ndarray]) -> None:
    labels, predicted = digits[0], digits[1].argmax(axis=1)
    weights = np.random.default_rng(1).poisson(1, size=len(labels)).astype(float)
    right = labels == predicted
    counts = Counts(
        np.bincount(labels[right], weights[right], minlength=10)[None],
        np.bincount(labels, weights, minlength=10)[None],
        np.bincount(predicted, weights, minlength=10)[None],
    )
    found = {name: values[0] for name, values in count_statistics(counts).items()}
    expected = {
        "accuracy": reference.accuracy_score(labels, predicted, sample_weight=weights),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted, sample_weight=weights),
        "macro_precision": reference.precision_score(labels, predicted, average="macro", sample_weight=weights),
        "macro_f1": reference.f1_score(labels, predicted, average="macro", sample_weight=weights),
        "cohen_kappa": reference.cohen_kappa_score(labels, predicted, sample_weight=weights),
        "matthews_correlation": reference.matthews_corrcoef(labels, predicted, sample_weight=weights),
    }
    assert found == pytest.approx(expected)


def test_bootstrap_interval_covers_the_truth_about_95_times_in_100() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        labels = generator.integers(3, size=150)
        predicted = np.where(generator.random(150) < 0.8, labels, (labels + 1) % 3)
        _, replicates = bootstrap(labels, predicted, 3, {}, extra={}, seed=seed)
        low, high = percentile_interval(replicates["accuracy"])
        covered += low <= 0.8 <= high
    assert 88 <= covered <= 100


def test_images_of_one_group_count_as_one() -> None:
    labels, probabilities = random_case(80, 3)
    groups = [f"patient {index}" for index in range(80)]
    alone = evaluate_probabilities(labels, probabilities, "abc")
    repeated = [np.repeat(labels, 10), np.repeat(probabilities, 10, axis=0)]
    grouped = evaluate_probabilities(*repeated, "abc", groups=np.repeat(groups, 10).tolist())
    ungrouped = evaluate_probabilities(*repeated, "abc")
    width = {
        name: np.diff(found["intervals"]["accuracy"])[0]
        for name, found in (("alone", alone), ("grouped", grouped), ("ungrouped", ungrouped))
    }
    assert grouped["num_groups"] == 80
    assert grouped["interval_method"]["unit"] == "group"
    assert width["grouped"] == pytest.approx(width["alone"], rel=0.15)
    assert width["ungrouped"] < width["alone"] / 2


def test_images_without_a_group_are_groups_of_their_own() -> None:
    labels, probabilities = random_case(20, 3)
    found = evaluate_probabilities(labels, probabilities, "abc", groups=["a"] * 10 + [""] * 10)
    assert found["num_groups"] == 11
    assert evaluate_probabilities(labels, probabilities, "abc", groups=[""] * 20)["num_groups"] is None


def test_same_input_gives_the_same_dict_and_valid_json(digits: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = (evaluate_probabilities(*digits, NAMES, seed=3) for _ in range(2))
    assert json.dumps(first, allow_nan=False) == json.dumps(second, allow_nan=False)
    other = evaluate_probabilities(*digits, NAMES, seed=4)
    assert other["accuracy"] == first["accuracy"]
    assert other["intervals"] != first["intervals"]


def test_order_of_images_has_no_influence_on_the_figures(digits: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = digits
    order = np.random.default_rng(0).permutation(len(labels))
    first = evaluate_probabilities(labels, probabilities, NAMES)
    second = evaluate_probabilities(labels[order], probabilities[order], NAMES)
    for name in ("intervals", "per_class"):
        first.pop(name), second.pop(name)
    assert first == second


def test_class_without_images_and_class_never_predicted_are_told() -> None:
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.7, 0.1, 0.2], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    found = evaluate_probabilities(labels, probabilities, "abc")
    first, second, third = found["per_class"]
    assert (first["precision"], first["recall"]) == (pytest.approx(2 / 3, abs=1e-6), 1)
    assert (second["predicted"], second["precision"], second["recall"], second["f1"]) == (0, None, 0, 0)
    assert (third["support"], third["recall"], third["recall_interval"], third["roc_auc"]) == (0, None, None, None)
    assert found["balanced_accuracy"] == 0.5
    assert found["macro_f1"] == pytest.approx(0.4)
    json.dumps(found, allow_nan=False)


def test_one_single_class_predicted() -> None:
    labels = np.arange(30) % 3
    found = evaluate_probabilities(labels, np.tile([0.5, 0.3, 0.2], (30, 1)), "abc")
    assert found["accuracy"] == pytest.approx(1 / 3, abs=1e-6)
    assert (found["cohen_kappa"], found["matthews_correlation"]) == (0, 0)
    assert found["intervals"]["matthews_correlation"] is None
    assert [row["predicted"] for row in found["per_class"]] == [30, 0, 0]


def test_equal_probabilities_rank_by_index_as_argmax_does() -> None:
    found = evaluate_probabilities([0, 1, 2, 3], np.full((4, 4), 0.25), "abcd")
    assert (found["accuracy"], found["top_2_accuracy"], found["top_3_accuracy"]) == (0.25, 0.5, 0.75)


@pytest.mark.parametrize("num_images", [1, 20])
def test_a_perfect_score_on_few_images_is_not_certain(num_images: int) -> None:
    labels = np.arange(num_images) % 3
    found = evaluate_probabilities(labels, np.eye(3)[labels], "abc")
    low, high = found["intervals"]["accuracy"]
    assert (found["accuracy"], high) == (1, 1)
    assert low == pytest.approx(wilson_interval(num_images, num_images)[0], abs=1e-6)
    assert low < 0.9


def test_no_image_gives_the_same_keys_and_no_figure(digits: tuple[np.ndarray, np.ndarray]) -> None:
    empty = evaluate_probabilities([], np.zeros((0, 10)), NAMES)
    assert empty["num_images"] == 0
    assert empty["accuracy"] is None
    assert set(empty) == set(evaluate_probabilities(*digits, NAMES))


def test_wilson_interval_is_the_published_one() -> None:
    # E. B. Wilson's score interval for 81 of 263, as given by Newcombe, Statistics in Medicine 17 (1998), table I.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 10)[0] == 0
    assert wilson_interval(0, 0) is None


def test_confusion_matrix_has_true_classes_in_rows() -> None:
    assert confusion_matrix(np.array([0, 1]), np.array([0, 0]), 2).tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], np.full((3, 2), 0.5), "labels of shape"),
        ([0, 1], np.full((2, 3), 1 / 3), "one column of probabilities for each of 2"),
        ([0, 2], np.full((2, 2), 0.5), "labels from 0 to 1"),
        ([0, 1], np.array([[2.0, 1.0], [0.5, 0.5]]), "apply softmax"),
        ([0, 1], np.array([[np.nan, 1.0], [0.5, 0.5]]), "apply softmax"),
    ],
)
def test_input_that_cannot_be_right_is_refused(labels: list[int], probabilities: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate_probabilities(labels, probabilities, ("a", "b"))


def test_groups_of_another_length_are_refused() -> None:
    with pytest.raises(InputError, match="a group for each of 4 images"):
        evaluate_probabilities([0, 1, 0, 1], np.full((4, 2), 0.5), ("a", "b"), groups=["x"])


def test_splits_give_baseline_of_the_training_classes_and_calibration() -> None:
    labels, probabilities = random_case(300, 3)
    parts = {"train": [2, 2, 1], "validation": labels[:150], "test": labels[150:]}
    found = evaluate_splits(parts, {"validation": probabilities[:150], "test": probabilities[150:]}, "abc")
    assert found["baseline"] == {"class_name": "c", "accuracy": pytest.approx((labels[150:] == 2).mean(), abs=1e-6)}
    assert found["calibration"]["test"]["before"]["log_loss"] == pytest.approx(found["test"]["log_loss"], abs=1e-5)
    assert found["screening"] is None


def test_splits_without_a_test_part() -> None:
    labels, probabilities = random_case(50, 3)
    parts = {"train": labels, "validation": labels, "test": np.zeros(0, int)}
    found = evaluate_splits(parts, {"validation": probabilities}, "abc")
    assert found["test"] is None
    assert found["baseline"]["accuracy"] == pytest.approx(np.bincount(labels).max() / 50)


def test_baseline_without_images_is_null() -> None:
    assert majority_baseline([], [], ("a",)) == {"class_name": None, "accuracy": None}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=40), st.floats(0.01, 1))
@settings(max_examples=200, deadline=None)
def test_threshold_is_the_highest_that_finds_enough(cases: list[tuple[bool, int]], wanted: float) -> None:
    labels = np.array([positive for positive, _ in cases], int)
    scores = np.array([score / 8 for _, score in cases])
    if not labels.any():
        with pytest.raises(InputError, match="at least one image of the positive class"):
            threshold_for_sensitivity(labels, scores, wanted)
        return
    threshold = threshold_for_sensitivity(labels, scores, wanted)
    assert (scores[labels == 1] >= threshold).mean() >= wanted - 1e-9
    assert (scores[labels == 1] > threshold).mean() < wanted


def test_threshold_is_chosen_on_validation_and_judged_on_test() -> None:
    labels, probabilities = random_case(600, 2)
    parts = {"train": labels, "validation": labels[:300], "test": labels[300:]}
    by_split = {"validation": probabilities[:300], "test": probabilities[300:]}
    found = evaluate_splits(parts, by_split, ("well", "ill"), sensitivity=0.95)["screening"]
    assert found["wanted_sensitivity"] == 0.95
    assert found["validation"]["sensitivity"] >= 0.95
    assert found["test"]["threshold"] == found["validation"]["threshold"]
    truth, called = labels[300:] == 1, probabilities[300:, 1] >= found["test"]["threshold"]
    assert found["test"]["specificity"] == pytest.approx((~called[~truth]).mean(), abs=1e-6)


def test_sensitivity_needs_two_classes() -> None:
    labels, probabilities = random_case(60, 3)
    with pytest.raises(InputError, match="two classes"):
        evaluate_splits({"validation": labels}, {"validation": probabilities}, "abc", sensitivity=0.9)


def test_threshold_figures_and_curves() -> None:
    found = evaluate_threshold([1, 1, 0, 0], [0.9, 0.4, 0.6, 0.1], 0.5)
    assert (found["sensitivity"], found["specificity"], found["precision"]) == (0.5, 0.5, 0.5)
    assert found["roc_curve"]["true_positive_rate"][-1] == 1
    assert evaluate_threshold([1, 1], [0.9, 0.4], 0.5)["roc_curve"] is None
    assert evaluate_threshold([1, 1], [0.9, 0.4], 0.5)["specificity"] is None


def test_weighted_roc_auc_agrees_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    truth, scores = generator.random(200) < 0.4, generator.integers(12, size=200)
    weights = generator.poisson(1, size=200).astype(float)
    expected = reference.roc_auc_score(truth, scores, sample_weight=weights)
    assert weighted_roc_auc(truth, scores, 12, weights) == pytest.approx(expected)


@pytest.mark.slow
def test_memory_does_not_grow_beyond_the_input() -> None:
    peaks = {}
    for num_images in (1_000, 50_000):
        labels, probabilities = random_case(num_images, 100)
        probabilities = probabilities.astype(np.float32)
        tracemalloc.start()
        evaluate_probabilities(labels, probabilities, [str(index) for index in range(100)])
        peaks[num_images] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[50_000] - peaks[1_000] < 2 * 50_000 * 100 * 4
