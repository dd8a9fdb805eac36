"""The ways a data set may be split: made afresh, completed where it came divided, in k folds, few-shot.

Tables of items in, the part of each row and findings out; `Manifest` has the methods that users call.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tlkit.data.division import divide, order_key, units_in
from tlkit.data.findings import Finding, count, name_some
from tlkit.errors import InputError

PARTS = ("train", "validation", "test")

Division = tuple[np.ndarray, list[Finding]]


def complete(items: pd.DataFrame, validation: float, test: float, seed: int, honour_leaks: bool = True) -> Division:
    """Keeps the division that the data came with; takes a wanted part that it lacks from its training part.

    Args:
        items: The usable rows, with their `split`.
        validation: Share of the training rows that becomes validation where none is given; 0 makes none.
        test: Likewise for test.
        seed: Any integer.
        honour_leaks: Leave out rows whose twin is in a later part; see `drop_leaks`.

    Raises:
        InputError: Some rows have no part, or none is for training.
    """
    given = items["split"]
    if (given == "").any():
        raise InputError(
            f"Expected train, validation or test for every row. Received: {count(int((given == '').sum()), 'row')} "
            f"without, such as {items['item'][given == ''].iloc[0]!r}."
        )
    if not (given == "train").any():
        raise InputError(f"Expected a training part in the given split. Received: {', '.join(sorted(set(given)))}.")
    present = [part for part in PARTS if (given == part).any()]
    findings = [Finding("given split", "note", f"The split is the data's own: {', '.join(present)}.")]
    parts = given.to_numpy(object).copy()
    if honour_leaks:
        parts, leaks = drop_leaks(items)
        findings += leaks
    wanted = {"validation": validation, "test": test}
    missing = {part: share for part, share in wanted.items() if share > 0 and part not in present}
    if missing:
        rows = np.flatnonzero(parts == "train")
        shares = {"train": 1 - sum(missing.values()), **missing}
        parts[rows], told = divide(items.iloc[rows].reset_index(drop=True), shares, seed)
        names = " and ".join(missing)
        message = f"The given split has no {names} part; it is taken from train."
        findings += [Finding("given split completed", "note", message), *told]
    if honour_leaks:
        check_disjoint(items.assign(split=parts), ("digest", "cluster"))
    return parts, findings


def k_folds(items: pd.DataFrame, folds: int, validation: float, seed: int) -> list[Division]:
    """Divides rows into k parts, each the test part of one fold; validation is divided off the others.

    Raises:
        InputError: Fewer than 2 folds, or more than the smallest class has images.
    """
    smallest = int(items["label"].value_counts().min())
    if not 2 <= folds <= smallest:
        raise InputError(f"Expected 2 to {smallest} folds (the smallest class has so many images). Received: {folds}.")
    numbers, findings = divide(items, {str(fold): 1 / folds for fold in range(folds)}, seed)
    made = []
    for fold in range(folds):
        parts = np.where(numbers == str(fold), "test", "train").astype(object)
        told: list[Finding] = []
        if validation > 0:
            rest = np.flatnonzero(parts == "train")
            shares = {"train": 1 - validation, "validation": validation}
            parts[rest], told = divide(items.iloc[rest].reset_index(drop=True), shares, seed)
        check_disjoint(items.assign(split=parts))
        made.append((parts, [*findings, *told]))
    return made


def few_shot(items: pd.DataFrame, images_per_class: int, seed: int) -> Division:
    """Chooses images for few-shot learning, from as many units as there are; a smaller choice lies within a larger one.

    Args:
        items: The training rows.
        images_per_class: How many to choose of each class; all where a class has fewer.
        seed: Any integer.

    Returns:
        True for the chosen rows, bool (n,), and a finding where classes have fewer.
    """
    digests, labels = items["digest"].tolist(), items["label"].tolist()
    candidates: dict[str, list[tuple[int, str, str, int]]] = defaultdict(list)
    for unit in units_in(items, seed):
        taken: Counter[str] = Counter()
        for row in sorted(unit.rows, key=lambda row: order_key(seed, digests[row])):
            label = labels[row]
            candidates[label].append((taken[label], unit.key, digests[row], row))
            taken[label] += 1
    chosen = np.zeros(len(items), bool)
    for rows in candidates.values():
        chosen[[row for *_, row in sorted(rows)[:images_per_class]]] = True
    small = sorted(label for label, rows in candidates.items() if len(rows) < images_per_class)
    if not small:
        return chosen, []
    message = f"Fewer than {count(images_per_class, 'training image')} in {name_some(small)}; all are taken."
    return chosen, [Finding("few-shot class too small", "warning", message, tuple(small))]


def drop_leaks(items: pd.DataFrame) -> Division:
    """Empties the part of training and validation rows whose twin (same digest or cluster) is in a later part.

    Returns:
        The new part of each row, and a finding for each part that lost images.
    """
    parts = items["split"].to_numpy(object).copy()
    findings = []
    for rank, part in reversed(list(enumerate(PARTS[:-1]))):
        later = np.isin(parts, PARTS[rank + 1 :])
        leaking = np.zeros(len(items), bool)
        for column in ("digest", "cluster"):
            values = items[column]
            leaking |= (values.isin(set(values[later])) & (values != "")).to_numpy(bool)
        leaking &= parts == part
        if leaking.any():
            names = tuple(items["item"][leaking])
            message = f"Left out of the given {part} part, for their twins are in a later part: {name_some(names)}."
            findings.append(
                Finding(
                    "left out of training" if part == "train" else "left out of validation", "warning", message, names
                )
            )
            parts[leaking] = ""
    return parts, findings


def check_disjoint(items: pd.DataFrame, columns: Sequence[str] = ("digest", "group", "cluster")) -> None:
    """Makes sure that no digest, group or cluster lies in two parts.

    Raises:
        AssertionError: One does; a bug of this library where it made the division itself.
    """
    for column, name in crossing(items, columns):
        raise AssertionError(f"{column} {name!r} lies in two parts of the split")


def crossing(items: pd.DataFrame, columns: Sequence[str]) -> list[tuple[str, str]]:
    """Returns (column, value) for each digest, group or cluster whose rows lie in more than one part."""
    found = []
    for column in columns:
        placed = items[(items["split"] != "") & (items[column] != "")]
        parts = placed.groupby(column)["split"].nunique()
        found += [(column, str(value)) for value in parts.index[parts > 1]]
    return found


def check_shares(**shares: float) -> None:
    """Checks that each share lies within 0 and 1 and that training is left something.

    Raises:
        InputError: It does not.
    """
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise InputError(f"Expected a share from 0 to below 1. Received: {name}={share}.")
    if sum(shares.values()) >= 1:
        told = " + ".join(f"{name} {share:g}" for name, share in shares.items())
        raise InputError(f"Expected shares that leave something for training. Received: {told}.")
