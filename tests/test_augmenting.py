"""What `auto` decides, and why."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tlkit.augmenting import Augmentation, FlipTest, choose_augmentation, try_flip
from tlkit.config import AugmentationConfig

AUTO = AugmentationConfig(augment="auto")
COUNTS = np.array([50, 60, 70])


def mirrored(images: np.ndarray) -> np.ndarray:
    return images.reshape(-1, 8, 8)[:, :, ::-1].reshape(-1, 64)


def test_digits_must_not_be_flipped() -> None:
    features, labels = load_digits(return_X_y=True)
    test = try_flip(features, labels, lambda rows: mirrored(features[rows]), 10)
    assert test.images == 1000
    assert test.accuracy > 0.9
    assert test.mirrored < 0.7
    assert not test.keeps_class


def test_what_has_no_side_may_be_flipped() -> None:
    features, labels = load_digits(return_X_y=True)
    both = np.concatenate([features, mirrored(features)])
    symmetric = (both[: len(features)] + both[len(features) :]) / 2
    assert try_flip(symmetric, labels, lambda rows: mirrored(symmetric[rows]), 10).keeps_class


def test_a_point_is_the_price_of_a_flip_however_few_the_images() -> None:
    assert FlipTest(1000, accuracy=0.807, mirrored=0.798, standard_error=0.008).keeps_class
    assert not FlipTest(1000, accuracy=0.915, mirrored=0.890, standard_error=0.008).keeps_class
    assert not FlipTest(100, accuracy=0.66, mirrored=0.63, standard_error=0.04).keeps_class


def test_auto_flips_what_keeps_its_class_and_says_why() -> None:
    features, labels = load_digits(return_X_y=True)
    chosen = choose_augmentation(
        AUTO, "frozen", COUNTS, lambda: try_flip(features, labels, lambda rows: mirrored(features[rows]), 10)
    )
    assert (chosen.asked.augment, chosen.asked.flip) == ("light", False)
    assert chosen.reasons[1].startswith("No flips: a head on the frozen features names 9")
    told = chosen.to_dict(chosen.layers(32, 3))
    assert told["flip"] is False
    mixed = Augmentation(AugmentationConfig(mixup=0.2))
    assert mixed.to_dict(mixed.layers(32, 3))["flip"] is False  # Nothing flips: test-time augmentation must not either.
    assert told["flip_test"]["images"] == 1000
    assert "flip=False" in told["layers"][0]


@pytest.mark.parametrize(
    ("strategy", "count", "preset"),
    [
        ("frozen", 500, "light"),
        ("partial", 10, "light"),
        ("full", 10, "standard"),
        ("scratch", 500, "strong"),
        ("scratch", 50, "standard"),
    ],
)
def test_auto_goes_by_strategy_and_size(strategy: str, count: int, preset: str) -> None:
    assert choose_augmentation(AUTO, strategy, np.array([count] * 3)).asked.augment == preset


def test_the_user_decides_on_flips() -> None:
    for flip in (True, False):
        asked = AugmentationConfig(augment="auto", flip=flip)
        chosen = choose_augmentation(asked, "partial", COUNTS, lambda: pytest.fail("not to be tried"))
        assert chosen.asked.flip is flip
        assert "as asked for" in chosen.reasons[1]


def test_without_features_there_are_no_flips() -> None:
    assert choose_augmentation(AUTO, "scratch", COUNTS).asked.flip is False


def test_a_preset_by_name_is_taken_as_it_is() -> None:
    asked = AugmentationConfig(augment="strong", strength=0.5)
    chosen = choose_augmentation(asked, "frozen", COUNTS)
    assert chosen.asked == asked
    assert len(chosen.layers(32, 3)) == 5
