from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tlkit.errors import InputError
from tlkit.probe import PENALTIES, fit_probe


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    return load_digits(return_X_y=True)


def test_best_penalty_equals_scikit_learn_run_directly(
    digits: tuple[np.ndarray, np.ndarray], standardised: Callable[..., np.ndarray]
) -> None:
    x, y = digits
    probe = fit_probe(x[:1000], y[:1000], x[1000:1400], y[1000:1400], num_classes=10)
    direct = LogisticRegression(C=1 / (probe.penalty * 1000), max_iter=5000, tol=1e-6)
    direct.fit(standardised(x[:1000]), y[:1000])
    logits = x[1400:] @ probe.kernel + probe.bias
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = direct.predict_proba(standardised(x[:1000], x[1400:]))
    np.testing.assert_allclose(exponents / exponents.sum(axis=1, keepdims=True), expected, atol=1e-2)


def test_path_holds_the_choice(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    probe = fit_probe(x[:500], y[:500], x[500:800], y[500:800], num_classes=10)
    losses = [point.val_loss for point in probe.path]
    assert probe.penalty == probe.path[int(np.argmin(losses))].penalty
    assert [point.penalty for point in probe.path] == list(PENALTIES[: len(losses)])


def test_two_classes_and_a_class_without_images(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    chosen = y < 2
    x, y = x[chosen], y[chosen] * 2  # Classes 0 and 2 of three: class 1 has no image.
    probe = fit_probe(x[:200], y[:200], x[200:], y[200:], num_classes=3)
    assert probe.kernel.shape == (64, 3)
    predicted = (x[200:] @ probe.kernel + probe.bias).argmax(axis=1)
    assert (predicted == y[200:]).mean() > 0.97
    assert not (predicted == 1).any()


def test_constant_features_do_no_harm(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    x = np.concatenate([x, np.full((len(x), 1), 5.0)], axis=1)
    probe = fit_probe(x[:500], y[:500], x[500:800], y[500:800], num_classes=10)
    assert np.isfinite(probe.kernel).all()


def test_bad_features_are_refused() -> None:
    x, y = np.zeros((4, 2)), np.array([0, 1, 0, 1])
    with pytest.raises(InputError, match="NaN"):
        fit_probe(x * np.nan, y, x, y, num_classes=2)
    with pytest.raises(InputError, match="two classes"):
        fit_probe(x, y * 0, x, y, num_classes=2)


def test_few_images_do_not_give_the_word_to_features_that_seldom_fire(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    found = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(x))
        few = np.concatenate([order[y[order] == known][:5] for known in range(10)])
        rest = np.setdiff1d(order, few)
        scaler = StandardScaler().fit(x[few])
        plain = LogisticRegression(C=1, max_iter=5000).fit(scaler.transform(x[few]), y[few])
        probe = fit_probe(x[few], y[few], x[rest[::9]], y[rest[::9]], num_classes=10)
        ours = (x[rest] @ probe.kernel + probe.bias).argmax(axis=1)
        found.append([(ours == y[rest]).mean(), plain.score(scaler.transform(x[rest]), y[rest])])
    ours, plain = np.mean(found, axis=0)
    assert ours > plain + 0.02
