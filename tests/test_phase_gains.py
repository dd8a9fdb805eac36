from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tlkit.errors import InputError
from tlkit.phase_gains import Gain, measure_gain, phase_gains, worth_keeping, write_phase_gains

LABELS = np.arange(200) % 4


def right_on(rows: np.ndarray, sure: float = 0.7) -> np.ndarray:
    """Probabilities that name the truth on some images and the next class on the others."""
    named = np.where(rows, LABELS, (LABELS + 1) % 4)
    return np.full((200, 4), (1 - sure) / 3) + (sure - (1 - sure) / 3) * np.eye(4)[named]


def test_gain_is_the_difference_and_its_interval_holds_it() -> None:
    first, second = np.arange(200) < 120, np.arange(200) < 150
    gains = phase_gains(LABELS, [("head", right_on(first)), ("body", right_on(second))])
    assert gains["phase"].tolist() == ["head", "body"]
    assert gains["accuracy"].tolist() == [0.6, 0.75]
    assert gains["gain"].isna().tolist() == [True, False]
    head, body = gains.to_dict("records")
    assert head["log_loss"] == pytest.approx(-0.6 * np.log(0.7) - 0.4 * np.log(0.1), abs=1e-6)
    assert body["gain"] == pytest.approx(0.15)
    # The standard error of a share of 0.15 of 200 images is 0.025.
    assert body["low"] == pytest.approx(0.15 - 1.96 * 0.025, abs=0.012)
    assert body["high"] == pytest.approx(0.15 + 1.96 * 0.025, abs=0.012)


def test_no_change_has_an_interval_of_nothing() -> None:
    rows = np.arange(200) % 3 > 0
    gains = phase_gains(LABELS, [("a", right_on(rows)), ("b", right_on(rows, 0.9))])
    assert gains.loc[1, ["gain", "low", "high"]].tolist() == [0, 0, 0]
    assert gains.loc[1, "log_loss"] != gains.loc[0, "log_loss"]


def test_groups_widen_the_interval() -> None:
    first, second = np.arange(200) < 100, np.arange(200) < 150
    phases = [("a", right_on(first)), ("b", right_on(second))]
    alone, grouped = (
        phase_gains(LABELS, phases, groups=groups) for groups in (None, [f"film {row // 25}" for row in range(200)])
    )
    width = lambda table: table.loc[1, "high"] - table.loc[1, "low"]  # noqa: E731
    assert width(grouped) > 2 * width(alone)
    assert grouped.loc[1, "gain"] == alone.loc[1, "gain"]


def test_other_images_are_told() -> None:
    with pytest.raises(InputError, match=r"\(200, classes\) for phase 'b'"):
        phase_gains(LABELS, [("a", right_on(LABELS > 0)), ("b", np.ones((199, 4)))])


def test_file_has_empty_cells_and_no_formula(tmp_path: Path) -> None:
    gains = phase_gains(LABELS, [("=1+1", right_on(LABELS > 0)), ("body", right_on(LABELS > 1))])
    write_phase_gains(tmp_path, gains)
    lines = (tmp_path / "phases.csv").read_text().splitlines()
    assert lines[0] == ("phase,images,accuracy,log_loss,gain,low,high,kept,log_loss_gain,log_loss_low,log_loss_high")
    assert lines[1].startswith("'=1+1,200,0.75,")
    assert lines[1].endswith(",,,,True,,,")
    assert pd.read_csv(tmp_path / "phases.csv").loc[1, "gain"] == -0.25


def test_gains_are_over_the_last_phase_kept() -> None:
    first, worse, last = (right_on(np.arange(200) < count) for count in (120, 100, 150))
    gains = phase_gains(LABELS, [("a", first), ("b", worse), ("c", last)], kept=[True, False, True])
    assert gains["gain"].tolist()[1:] == pytest.approx([-0.1, 0.15])
    assert gains["kept"].tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("right", "sure", "kept"),
    [
        (180, 0.6, True),  # More right, far beyond noise.
        (161, 0.6, True),  # One image of 200 more is noise, but the likelier side of it.
        (160, 0.7, False),  # As many right, only surer: one temperature does that.
        (180, 0.99, True),  # More right, and far too sure of it.
        (159, 0.6, False),  # One fewer.
        (140, 0.7, False),  # Fewer right.
    ],
)
def test_what_is_worth_keeping(right: int, sure: float, kept: bool) -> None:
    gain = measure_gain(LABELS, right_on(np.arange(200) < 160, 0.6), right_on(np.arange(200) < right, sure))
    assert worth_keeping(gain) == kept


@pytest.mark.parametrize(
    ("accuracy", "log_loss", "kept"),
    [
        ((-0.05, -0.15, 0.05), 0.1, True),  # One image of twenty fewer, and probabilities that are better.
        ((-0.05, -0.08, -0.02), 0.1, False),  # Fewer right beyond noise: no log-loss makes up for it.
        ((0.05, 0.02, 0.08), -0.1, True),  # More right beyond noise.
        ((0.05, -0.05, 0.15), -0.1, False),
        ((0.0, 0.0, 0.0), 0.0, False),  # Nothing changed.
    ],
)
def test_the_log_loss_decides_where_accuracy_shows_nothing(
    accuracy: tuple[float, float, float], log_loss: float, kept: bool
) -> None:
    mean, low, high = accuracy
    assert worth_keeping(Gain(mean, (low, high), log_loss, (log_loss - 0.2, log_loss + 0.2))) == kept


def test_knowing_which_answers_are_sure_is_worth_keeping() -> None:
    rows = np.arange(200) < 160
    doubting = np.where(rows[:, None], right_on(rows, 0.8), right_on(rows, 0.4))
    gain = measure_gain(LABELS, right_on(rows, 0.6), doubting)
    assert gain.accuracy == 0
    assert worth_keeping(gain)
