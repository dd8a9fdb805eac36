from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge as SklearnRidge

from tlkit.errors import InputError
from tlkit.ridge import fit_ridge

Standardised = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    return load_digits(return_X_y=True)


@pytest.mark.parametrize("count", [40, 300])
def test_it_is_the_least_squares_solution(
    digits: tuple[np.ndarray, np.ndarray], standardised: Standardised, count: int
) -> None:
    x, y = digits[0][:count], digits[1][:count]
    found = fit_ridge(x, y, num_classes=10)
    direct = SklearnRidge(alpha=found.penalty * count).fit(standardised(x), np.eye(10)[y])
    scores, expected = x @ found.kernel + found.bias, direct.predict(standardised(x))
    factor = (scores * expected).sum() / (expected**2).sum()  # Scores are sharpened for the softmax.
    np.testing.assert_allclose(scores, factor * expected, atol=1e-3 * np.abs(scores).max())


def test_left_out_accuracy_is_that_of_leaving_out(
    digits: tuple[np.ndarray, np.ndarray], standardised: Standardised
) -> None:
    x, y = digits[0][:60], digits[1][:60]
    found = fit_ridge(x, y, num_classes=10)
    z, targets, right = standardised(x), np.eye(10)[y], 0  # Scaled once over all, as the closed form has it.
    for left in range(60):
        others = np.arange(60) != left
        direct = SklearnRidge(alpha=found.penalty * 60).fit(z[others], targets[others])
        right += direct.predict(z[left : left + 1])[0].argmax() == y[left]
    assert abs(found.accuracy - right / 60) <= 1 / 60


def test_probabilities_are_of_use(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    found = fit_ridge(x[:200], y[:200], num_classes=10)
    logits = x[200:] @ found.kernel + found.bias
    assert (logits.argmax(axis=1) == y[200:]).mean() > 0.7
    assert found.log_loss < 1.0


def test_one_class_is_refused(digits: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(InputError, match="two classes"):
        fit_ridge(digits[0][:5], np.zeros(5, int), num_classes=3)
