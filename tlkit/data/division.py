"""Dividing rows into parts: stratified by class, with what belongs together kept together.

What must stay together (the same bytes, the same group, the same cluster of near-duplicates) forms a *unit*. Each class
is divided on its own, its units in the order of a hash of seed and digest. So the division does not depend on names, on
the order of files or on the image size, and a class that grows leaves the others where they are. That is why
scikit-learn's splitters are not used: they draw from one random sequence over all rows, so that one image more changes
every class, and `StratifiedGroupKFold` orders groups by their rows.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tlkit.data.findings import Finding, name_some


@dataclass
class Unit:
    """Rows that stay together: how many of each class, and their place in the order."""

    rows: list[int]
    classes: Counter[str]
    key: str
    part: str = ""


def units_of(items: pd.DataFrame) -> np.ndarray:
    """Returns each row's unit, numbered from 0: rows of one digest, group or cluster, directly or by a chain."""
    size = len(items)
    rows, nodes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for column in ("digest", "group", "cluster"):
        used = np.flatnonzero((items[column] != "").to_numpy(bool))
        codes, names = pd.factorize(items[column].to_numpy()[used])
        rows.append(used)
        nodes.append(codes + size)
        size += len(names)
    row, node = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(len(row), np.int8), (row, node)), shape=(size, size))
    _, components = connected_components(graph, directed=False)
    return pd.factorize(components[: len(items)])[0]


def divide(items: pd.DataFrame, shares: Mapping[str, float], seed: int) -> tuple[np.ndarray, list[Finding]]:
    """Divides rows into parts, stratified by class, units kept whole.

    Per class, each part gets its share of the images, rounded, and at least one where the class has as many units as
    there are parts. Units of several images go first, largest first, each to where most is missing; single images then
    fill the parts, the last named first, in the order of their hash.

    Args:
        items: Rows to divide, with text columns `label`, `digest`, `group` and `cluster`.
        shares: Share of each part, summing to 1; a class with too few units fills the parts named first.
        seed: Any integer.

    Returns:
        The name of the part for each row (object array), and findings about classes not divided as asked.
    """
    units = units_in(items, seed)
    by_class: dict[str, list[Unit]] = defaultdict(list)
    for unit in units:
        for label in unit.classes:
            by_class[label].append(unit)
    missing = {label: _targets(label, mine, shares, seed) for label, mine in by_class.items()}
    _place_large(units, missing)
    _place_single(units, missing)
    for mine in by_class.values():
        _fill_empty_parts(mine, tuple(shares))
    parts = np.full(len(items), "", object)
    for unit in units:
        parts[unit.rows] = unit.part
    return parts, _told(by_class, shares)


def units_in(items: pd.DataFrame, seed: int) -> list[Unit]:
    """Gathers rows into units, each with its place in the order of this seed."""
    labels, digests = items["label"].tolist(), items["digest"].tolist()
    members: dict[int, list[int]] = defaultdict(list)
    for row, number in enumerate(units_of(items).tolist()):
        members[number].append(row)
    return [
        Unit(rows, Counter(labels[row] for row in rows), order_key(seed, min(digests[row] for row in rows)))
        for rows in members.values()
    ]


def order_key(seed: int, text: str) -> str:
    """Returns what units and rows are ordered by: random to look at, the same on every machine."""
    return hashlib.sha256(f"{seed} {text}".encode()).hexdigest()


def _targets(label: str, units: Sequence[Unit], shares: Mapping[str, float], seed: int) -> dict[str, float]:
    """Returns the number of images wanted of one class in each part: largest remainders, none empty if avoidable."""
    total = sum(unit.classes[label] for unit in units)
    exact = {part: total * share for part, share in shares.items()}
    wanted = {part: int(value + 1e-9) for part, value in exact.items()}
    by_remainder = sorted(shares, key=lambda part: (wanted[part] - exact[part], order_key(seed, f"{label} {part}")))
    for part in by_remainder[: total - sum(wanted.values())]:
        wanted[part] += 1
    if len(units) >= len(shares):
        for part in shares:
            if not wanted[part]:
                wanted[max(wanted, key=lambda other: wanted[other])] -= 1
                wanted[part] = 1
    return {part: float(number) for part, number in wanted.items()}


def _place_large(units: Sequence[Unit], missing: Mapping[str, dict[str, float]]) -> None:
    """Places units of several images where, over their classes, the largest share of the class is missing."""
    large = [unit for unit in units if len(unit.rows) > 1]
    for unit in sorted(large, key=lambda unit: (len(unit.classes) == 1, -len(unit.rows), unit.key)):
        needs = {label: missing[label] for label in unit.classes}
        totals = {label: max(sum(need.values()), 1.0) for label, need in needs.items()}
        parts = next(iter(needs.values()))
        weight = {part: sum(n * needs[c][part] / totals[c] for c, n in unit.classes.items()) for part in parts}
        unit.part = max(weight, key=lambda part: weight[part])
        for label, number in unit.classes.items():
            missing[label][unit.part] -= number


def _place_single(units: Sequence[Unit], missing: Mapping[str, dict[str, float]]) -> None:
    for unit in sorted((unit for unit in units if len(unit.rows) == 1), key=lambda unit: unit.key):
        need = missing[next(iter(unit.classes))]
        wanting = [part for part in reversed(need) if need[part] > 0]
        unit.part = wanting[0] if wanting else next(iter(need))
        need[unit.part] -= 1


def _fill_empty_parts(units: Sequence[Unit], parts: Sequence[str]) -> None:
    """Moves the smallest unit of this class alone into each part without one, if that empties no part named earlier."""
    for rank, part in enumerate(parts):
        if any(unit.part == part for unit in units):
            continue
        held = Counter(unit.part for unit in units)
        later = parts[rank + 1 :]
        movable = [u for u in units if len(u.classes) == 1 and (held[u.part] > 1 or u.part in later)]
        if movable:
            min(movable, key=lambda unit: (-held[unit.part], len(unit.rows), unit.key)).part = part


def _told(by_class: Mapping[str, Sequence[Unit]], shares: Mapping[str, float]) -> list[Finding]:
    findings = []
    for part in shares:
        absent = sorted(label for label, units in by_class.items() if all(unit.part != part for unit in units))
        if absent:
            message = (
                f"No image of {name_some(absent)} is in the {part} part: too few images or groups that may be parted; "
                "figures for such a class are missing there."
            )
            findings.append(Finding("class missing from a part", "warning", message, tuple(absent)))
    small = sorted(
        label
        for label, units in by_class.items()
        if len(units) >= len(shares) and min(shares.values()) * sum(unit.classes[label] for unit in units) < 0.5
    )
    if small:
        message = f"Small classes ({name_some(small)}) have one image in a part where their share would be none."
        findings.append(Finding("small class", "note", message, tuple(small)))
    return findings
