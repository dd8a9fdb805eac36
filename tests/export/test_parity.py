"""What counts as the same answer."""

from __future__ import annotations

import numpy as np
import pytest

from tlkit.export.parity import Agreement, Parity, ParityError, compare

LABELS = np.array([0, 1, 1])
ORIGINAL = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)


def parity_of(agreement: Agreement, precision: str = "float32") -> Parity:
    return Parity("onnx", "onnx", precision, "resized", None, 1, agreement, None, {1: 1.0})


def test_the_same_probabilities_agree() -> None:
    found = compare(ORIGINAL, ORIGINAL, LABELS)
    assert found == Agreement(1.0, 0.0, 0.0, pytest.approx(2 / 3), 0.0)
    parity_of(found).check()


def test_differences_are_measured() -> None:
    changed = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], np.float32)
    found = compare(ORIGINAL, changed, LABELS)
    assert found.top1_agreement == pytest.approx(2 / 3)
    assert found.max_difference == pytest.approx(0.3)
    assert found.mean_difference == pytest.approx(0.1)
    assert found.accuracy == 1.0
    assert found.accuracy_drop == pytest.approx(-1 / 3)


def test_not_a_number_never_agrees() -> None:
    broken = np.full_like(ORIGINAL, np.nan)
    with pytest.raises(ParityError):
        parity_of(compare(ORIGINAL, broken, LABELS)).check()


def test_float32_must_agree_to_a_ten_thousandth() -> None:
    parity_of(compare(ORIGINAL, ORIGINAL + np.float32(5e-5), LABELS)).check()
    with pytest.raises(ParityError, match=r"largest difference 0\.0002"):
        parity_of(compare(ORIGINAL, ORIGINAL + np.float32(2e-4), LABELS)).check()


def test_reduced_precision_is_measured_not_refused() -> None:
    parity_of(compare(ORIGINAL, 1 - ORIGINAL, LABELS), "int8").check()


def test_the_file_has_flat_entries() -> None:
    entry = parity_of(compare(ORIGINAL, ORIGINAL, LABELS)).to_dict()
    assert entry["top1_agreement"] == 1.0
    assert entry["milliseconds_batch_1"] == 1.0
    assert not any(isinstance(value, dict) for value in entry.values())
