"""Divisions are stratified, keep together what belongs together, and stay put."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlkit.data import Manifest, from_arrays, from_spec
from tlkit.data.division import divide, units_of
from tlkit.data.splits import check_disjoint, crossing
from tlkit.errors import InputError

PARTS = ("train", "validation", "test")


def make(counts: dict[str, int], seed: int = 0) -> Manifest:
    """A set of random pictures, each class with pixels of its own seed, so that a class can grow."""
    images, labels = [], []
    for number, (label, count) in enumerate(counts.items()):
        generator = np.random.default_rng([seed, number])
        images += [generator.integers(0, 256, (6, 6), dtype=np.uint8) for _ in range(count)]
        labels += [label] * count
    return from_arrays(np.stack(images), labels)


def with_column(manifest: Manifest, column: str, values) -> Manifest:
    return replace(manifest, items=manifest.items.assign(**{column: values}))


def part_of_digest(manifest: Manifest) -> dict[str, str]:
    return dict(zip(manifest.items["digest"], manifest.items["split"], strict=True))


def test_digits_are_stratified():
    counts = from_spec("builtin:digits").split(seed=3).counts()
    total = counts.sum(axis=1)
    for part, share in (("train", 0.7), ("validation", 0.15), ("test", 0.15)):
        assert (counts[part] - share * total).abs().max() < 1


def test_the_same_seed_gives_the_same_division_and_another_another():
    manifest = make({"a": 40, "b": 40})
    first, again, other = (manifest.split(seed=seed).items["split"].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_names_and_order_do_not_matter():
    manifest = make({"a": 30, "b": 20})
    order = np.random.default_rng(0).permutation(50)
    shuffled = from_arrays(manifest.source.images[order], manifest.items["label"].to_numpy()[order], name="other")
    assert part_of_digest(manifest.split()) == part_of_digest(shuffled.split())


def test_a_class_that_grows_leaves_the_others_where_they_are():
    small, large = make({"a": 40, "b": 30, "c": 20}).split(), make({"a": 40, "b": 55, "c": 20}).split()
    before, after = part_of_digest(small), part_of_digest(large)
    of_other_classes = small.items["digest"][small.items["label"] != "b"]
    assert all(before[digest] == after[digest] for digest in of_other_classes)
    of_this = small.items["digest"][small.items["label"] == "b"]
    assert np.mean([before[digest] == after[digest] for digest in of_this]) > 0.6


def test_small_classes_have_one_image_in_each_part():
    split = make({"a": 3, "b": 4, "c": 60}).split(0.1, 0.1)
    assert (split.counts().loc[["a", "b"]] >= 1).all(axis=None)
    assert split.counts().loc["a"].tolist() == [1, 1, 1]
    assert [(f.kind, f.items) for f in split.findings] == [("small class", ("a", "b"))]
    assert "one image in a part" in split.notes[0]


def test_copies_stay_together():
    images = make({"a": 20, "b": 20}).source.images
    doubled = from_arrays(np.concatenate([images] * 2), (["a"] * 20 + ["b"] * 20) * 2).split()
    parts = doubled.items.groupby("digest")["split"].nunique()
    assert (parts == 1).all()
    assert (doubled.counts() % 2 == 0).all(axis=None)


@pytest.mark.parametrize("column", ["group", "cluster"])
def test_groups_stay_together_and_classes_stay_stratified(column: str):
    manifest = make({"a": 200, "b": 100})
    groups = [f"{label}{number % 40}" for number, label in enumerate(manifest.items["label"])]
    split = with_column(manifest, column, groups).split(0.2, 0.2)
    assert split.items.groupby(column)["split"].nunique().max() == 1
    counts = split.counts()
    assert (counts.div(counts.sum(axis=1), axis=0) - [0.6, 0.2, 0.2]).abs().max(axis=None) < 0.05


def test_groups_that_hold_several_classes():
    manifest = make({"a": 120, "b": 120, "c": 60})
    patients = np.random.default_rng(0).integers(0, 50, 300).astype(str)
    split = with_column(manifest, "group", patients).split(0.2, 0.2)
    assert split.items.groupby("group")["split"].nunique().max() == 1
    counts = split.counts()
    assert (counts.div(counts.sum(axis=1), axis=0) - [0.6, 0.2, 0.2]).abs().max(axis=None) < 0.1


def test_a_class_of_too_few_groups_is_told():
    manifest = with_column(make({"a": 20, "b": 20}), "group", ["one"] * 10 + ["two"] * 10 + [""] * 20)
    split = manifest.split()
    assert set(split.items["split"][split.items["label"] == "a"]) == {"train", "validation"}
    finding = next(finding for finding in split.findings if finding.kind == "class missing from a part")
    assert finding.items == ("a",)
    assert "test" in finding.message


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_division_is_whole_disjoint_and_leaves_no_class_without_need(data: st.DataObject):
    number = data.draw(st.integers(3, 60))
    few = st.integers(0, 12)
    items = pd.DataFrame(
        {
            "label": [str(data.draw(st.integers(0, 3))) for _ in range(number)],
            "digest": [str(data.draw(st.integers(0, 80))) for _ in range(number)],
            "group": [str(value) if (value := data.draw(few)) else "" for _ in range(number)],
            "cluster": [str(value) if (value := data.draw(st.integers(0, 40))) > 30 else "" for _ in range(number)],
        }
    )
    shares = {"train": 0.7, "validation": 0.15, "test": 0.15}
    parts, _ = divide(items, shares, seed=0)
    assert set(parts) <= set(shares)
    check_disjoint(items.assign(split=parts, item=range(number)))
    units = units_of(items)
    for label in set(items["label"]):
        mine = (items["label"] == label).to_numpy()
        alone = [unit for unit in set(units[mine]) if set(items["label"][units == unit]) == {label}]
        if len(alone) == len(set(units[mine])) >= 3:
            assert set(parts[mine]) == set(shares)
        assert (parts[mine] == "train").any() or not alone


def test_units_chain_through_groups_and_digests():
    items = pd.DataFrame(
        {"digest": ["1", "1", "2", "3", "4"], "group": ["", "g", "g", "", ""], "cluster": ["", "", "", "k", "k"]}
    )
    assert units_of(items).tolist() == [0, 0, 0, 1, 1]


def test_folds_test_every_image_once():
    manifest = make({"a": 31, "b": 17})
    folds = manifest.folds(4, validation=0.2, seed=1)
    tested = np.concatenate([fold.indices("test") for fold in folds])
    assert sorted(tested.tolist()) == list(range(48))
    for fold in folds:
        assert (fold.counts() > 0).all(axis=None)
        assert sum(len(fold.indices(part)) for part in PARTS) == 48
    sizes = [fold.counts()["test"].tolist() for fold in folds]
    assert np.ptp(sizes, axis=0).max() <= 1
    with pytest.raises(InputError, match="2 to 17 folds"):
        manifest.folds(18)


def test_few_shot_choices_lie_within_larger_ones():
    split = make({"a": 40, "b": 30}).split()
    five, ten = split.few_shot(5), split.few_shot(10)
    assert five.counts()["train"].tolist() == [5, 5]
    assert set(five.indices("train")) < set(ten.indices("train")) < set(split.indices("train"))
    for part in ("validation", "test"):
        assert five.indices(part).tolist() == split.indices(part).tolist()
    assert split.few_shot(25).notes[-1].startswith("Fewer than 25 training images in 'b'")
    with pytest.raises(InputError, match="split\\(\\) first"):
        make({"a": 3, "b": 3}).few_shot(1)
    with pytest.raises(InputError, match="at least 1"):
        split.few_shot(0)


def test_few_shot_takes_no_copies_while_there_are_others():
    images = make({"a": 6, "b": 6}).source.images
    manifest = from_arrays(np.concatenate([images, images, images]), (["a"] * 6 + ["b"] * 6) * 3)
    chosen = manifest.split(0, 0).few_shot(6)
    assert chosen.items["digest"][chosen.indices("train")].nunique() == 12


def test_shares_of_nothing_make_no_part():
    split = make({"a": 10, "b": 10}).split(validation=0.2, test=0)
    assert list(split.counts().columns) == ["train", "validation"]


@pytest.mark.parametrize(
    ("shares", "told"), [((0.5, 0.5), "leave something"), ((-0.1, 0.1), "validation=-0.1"), ((0, 1), "test=1")]
)
def test_shares_out_of_range(shares: tuple[float, float], told: str):
    with pytest.raises(InputError, match=told):
        make({"a": 10, "b": 10}).split(*shares)


def given_split(parts: list[str]) -> Manifest:
    manifest = make({"a": 12, "b": 12})
    return with_column(manifest, "split", parts * (24 // len(parts)))


def test_a_given_split_is_kept():
    manifest = given_split(["train", "train", "validation", "test"])
    split = manifest.split(0.4, 0.4)
    assert split.items["split"].tolist() == manifest.items["split"].tolist()
    assert split.notes == ("The split is the data's own: train, validation, test.",)


def test_a_part_that_is_not_given_is_taken_from_train():
    split = given_split(["train", "train", "train", "test"]).split(0.25, 0.25)
    assert split.counts().loc["a"].to_dict() == {"train": 7, "validation": 2, "test": 3}
    assert "no validation part; it is taken from train" in split.notes[1]
    assert list(given_split(["train", "train", "train", "test"]).split(0, 0.2).counts().columns) == ["train", "test"]


def test_a_given_split_that_is_incomplete():
    with pytest.raises(InputError, match="Received: 6 rows without"):
        given_split(["train", "test", "train", ""]).split()
    with pytest.raises(InputError, match="training part"):
        given_split(["validation", "test"]).split()


def test_twins_across_a_given_split_leave_training():
    manifest = given_split(["train", "train", "validation", "test"])
    clusters = [""] * 24
    clusters[0] = clusters[3] = "twins"
    clusters[2] = clusters[7] = "others"
    manifest = with_column(manifest, "cluster", clusters)
    split = manifest.split()
    assert split.items["split"].tolist()[0] == ""
    assert split.items["split"].tolist()[2] == ""
    assert split.items["split"].tolist()[3] == split.items["split"].tolist()[7] == "test"
    assert [finding.kind for finding in split.findings] == [
        "given split",
        "left out of validation",
        "left out of training",
    ]
    kept = manifest.split(honour_leaks=False)
    assert kept.items["split"].tolist() == manifest.items["split"].tolist()
    assert crossing(kept.items, ["cluster"]) == [("cluster", "others"), ("cluster", "twins")]


def test_disjointness_is_asserted():
    items = make({"a": 4, "b": 4}).split().items
    check_disjoint(items)
    with pytest.raises(AssertionError, match="lies in two parts"):
        check_disjoint(items.assign(group="all"))


def test_items_that_cannot_be_read_are_set_aside_by_split(tmp_path: Path):
    manifest = make({"a": 10, "b": 10})

    class Failing:
        name = "failing"

        def read(self, item: str):
            if item.endswith("3"):
                raise OSError("gone")
            return manifest.source.read(item)

        def stamp(self, item: str) -> str:
            return ""

    split = replace(manifest, source=Failing()).split()
    assert split.items["status"].tolist().count("set aside") == 2
    assert "gone" in split.items["problem"].iloc[3]
    assert sum(len(split.indices(part)) for part in PARTS) == 18
