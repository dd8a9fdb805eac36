"""Comparing runs: paired figures on real predictions, settings that differ, test parts that do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from tlkit.errors import InputError
from tlkit.report import compare_runs, write_comparison
from tlkit.report.comparison_page import tell_difference
from tlkit.report.reading import read_run


@pytest.fixture(scope="module")
def weak_run(tmp_path_factory: pytest.TempPathFactory, build_run: Callable[..., Path]) -> Path:
    """The small run with a penalty that is far too strong."""
    folder = build_run(tmp_path_factory.mktemp("weak") / "weak", penalty=1.0)
    config = folder / "config.toml"
    config.write_text(config.read_text().replace("epochs = 6", "epochs = 9"))
    return folder


def right(folder: Path) -> np.ndarray:
    images = read_run(folder).predictions
    images = images[images["split"] == "test"]
    return (images["label"] == images["predicted"]).to_numpy()


def test_paired_figures_are_those_of_the_predictions(kept_run: Path, weak_run: Path) -> None:
    found = compare_runs([kept_run, weak_run])
    first, second = right(kept_run), right(weak_run)
    (difference,) = found.differences
    assert found.names == ("demo", "weak")
    assert found.num_images == 150
    assert found.accuracies == pytest.approx((first.mean(), second.mean()), abs=1e-6)
    assert difference.accuracy == pytest.approx(second.mean() - first.mean(), abs=1e-6)
    assert difference.only_this == (second & ~first).sum()
    assert difference.only_reference == (first & ~second).sum()
    alone = difference.only_this + difference.only_reference
    expected = scipy.stats.binomtest(difference.only_this, alone, 0.5).pvalue
    assert difference.p_value == pytest.approx(expected, abs=1e-6)
    low, high = difference.accuracy_interval
    assert low < difference.accuracy < high < 0
    gains = second.astype(float) - first
    assert high - low == pytest.approx(2 * 1.96 * gains.std() / np.sqrt(150), rel=0.2)
    assert difference.log_loss_interval[0] > 0
    assert "“weak” is worse than “demo”: −" in tell_difference(difference, "demo")


def test_only_settings_that_differ_are_told(kept_run: Path, weak_run: Path) -> None:
    assert compare_runs([kept_run, weak_run]).settings == (("training.epochs", ("6", "9")),)


def test_a_run_against_itself_does_not_differ(kept_run: Path) -> None:
    found = compare_runs([kept_run, kept_run])
    assert found.names == ("demo", "demo (2)")
    (difference,) = found.differences
    assert (difference.accuracy, difference.accuracy_interval, difference.p_value) == (0, None, 1)
    assert "right and wrong on the same images" in tell_difference(difference, "demo")


def test_order_of_the_images_has_no_influence(run: Path, weak_run: Path) -> None:
    lines = (run / "predictions.csv").read_text().splitlines()
    order = np.random.default_rng(0).permutation(len(lines) - 1)
    (run / "predictions.csv").write_text("\n".join([lines[0], *(lines[1 + row] for row in order)]) + "\n")
    np.save(run / "probabilities.npy", np.load(run / "probabilities.npy")[order])
    found = compare_runs([weak_run, run]).differences[0]
    assert found.accuracy > 0
    assert found.only_this > found.only_reference


def test_other_test_images_are_refused_unless_allowed(
    tmp_path: Path, kept_run: Path, build_run: Callable[..., Path]
) -> None:
    other = build_run(tmp_path / "fewer", num_images=500)
    with pytest.raises(InputError, match=r"in common \(demo: 150, fewer: \d+\).*Allow"):
        compare_runs([kept_run, other])
    found = compare_runs([kept_run, other], allow_different=True)
    assert not found.same_images
    assert found.num_images < 150
    page = write_comparison(found, tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "not judged on the same images" in page


def test_runs_without_a_common_image_are_refused(
    tmp_path: Path, kept_run: Path, build_run: Callable[..., Path]
) -> None:
    other = build_run(tmp_path / "other", num_images=200, test_share=0)
    with pytest.raises(InputError, match="all judged on a test part"):
        compare_runs([kept_run, other])
    text = (kept_run / "manifest.csv").read_text().splitlines()
    moved = Path(tmp_path / "moved")
    moved.mkdir()
    for file in kept_run.iterdir():
        if file.is_file():
            (moved / file.name).write_bytes(file.read_bytes())
    cells = [line.split(",") for line in text[1:]]
    rows = [",".join([*row[:4], row[4][::-1] + "0", *row[5:]]) for row in cells]
    (moved / "manifest.csv").write_text("\n".join([text[0], *rows]) + "\n")
    with pytest.raises(InputError, match="none in common"):
        compare_runs([kept_run, moved], allow_different=True)


def test_one_run_is_no_comparison(kept_run: Path) -> None:
    with pytest.raises(InputError, match="at least two runs"):
        compare_runs([kept_run])


def test_only_an_earlier_comparison_is_replaced(tmp_path: Path, kept_run: Path, weak_run: Path) -> None:
    found = compare_runs([kept_run, weak_run])
    page = write_comparison(found, tmp_path / "c.html")
    assert write_comparison(found, page) == page
    (tmp_path / "mine.html").write_text("<title>Mine</title>")
    with pytest.raises(InputError, match=r"mine\.html, which holds something else"):
        write_comparison(found, tmp_path / "mine.html")
    assert (tmp_path / "mine.html").read_text() == "<title>Mine</title>"


def test_page_shows_all_runs(tmp_path: Path, kept_run: Path, weak_run: Path) -> None:
    page = write_comparison(compare_runs([kept_run, weak_run, kept_run]), tmp_path / "c.html")
    text = page.read_text(encoding="utf-8")
    for told in ("demo (2)", "weak", "training.epochs", "not corrected for comparing several runs", "Curves"):
        assert told in text
