"""The table of items: where each image comes from, its class, its part of the split, what is known of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tlkit.data import splits
from tlkit.data.class_names import clashes, normalise
from tlkit.data.findings import Finding
from tlkit.data.identity import digest_of
from tlkit.data.items import Source
from tlkit.data.splits import PARTS
from tlkit.errors import InputError
from tlkit.run import plain_cell, safe_cell, write_text

COLUMNS = ("item", "label", "split", "group", "digest", "status", "problem", "cluster")
MIN_IMAGES_PER_CLASS = 3  # One image for each of training, validation and test.


@dataclass(frozen=True)
class Manifest:
    """A data set: its items in a table, its classes in a fixed order, and how to read it.

    Attributes:
        items: One row an item, index 0 to n - 1, columns as in `COLUMNS`, all text: `item` (path below the source's
            root with `/`, or such as `digits/0007`), `label` (class name), `split` (`train`, `validation`, `test` or
            empty), `group` (empty: none), `digest` (empty until examined), `status` (`ok` or `set aside`), `problem`
            (one line where set aside), `cluster` (same text for images that must stay in one part; empty: alone).
        class_names: Sorted; the position is the integer label.
        source: Reads the items.
        findings: What was noticed while listing and splitting.
    """

    items: pd.DataFrame
    class_names: tuple[str, ...]
    source: Source
    findings: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def notes(self) -> tuple[str, ...]:
        """The messages of the findings, one line each."""
        return tuple(finding.message for finding in self.findings)

    @property
    def usable(self) -> np.ndarray:
        """True for the rows that are not set aside; bool (n,)."""
        return (self.items["status"] == "ok").to_numpy(bool)

    def labels(self, split: str | None = None) -> np.ndarray:
        """Returns integer labels, int64: of all rows, or of the rows that `indices(split)` names, in that order."""
        codes = pd.Categorical(self.items["label"], categories=list(self.class_names)).codes.astype(np.int64)
        return codes if split is None else codes[self.indices(split)]

    def indices(self, split: str) -> np.ndarray:
        """Returns the row numbers of the usable items of one part, int64, ascending."""
        if split not in PARTS:
            raise InputError(f"Expected one of {', '.join(PARTS)}. Received: split={split!r}.")
        return np.flatnonzero(self.usable & (self.items["split"] == split).to_numpy(bool)).astype(np.int64)

    def counts(self) -> pd.DataFrame:
        """Returns the number of usable images, one row a class, one column a part; `unassigned` where there is none."""
        rows = self.items[self.usable]
        parts = [part for part in (*PARTS, "") if (rows["split"] == part).any()]
        table = pd.crosstab(rows["label"], rows["split"])
        table = table.reindex(index=list(self.class_names), columns=parts, fill_value=0)
        table.index.name, table.columns.name = "class", None
        return table.rename(columns={"": "unassigned"})

    # --- splitting ---

    def split(
        self, validation: float = 0.15, test: float = 0.15, seed: int = 0, *, honour_leaks: bool = True
    ) -> Manifest:
        """Divides the usable items into train, validation and test, or completes the division that the data came with.

        Stratified by class; images with the same bytes, group or cluster stay in one part (see `splits.divide`).
        Clusters of near-duplicates are known after an audit: `manifest, audit = tlkit.data.check("images")`.
        A given division is kept; a part it lacks is taken from its training part.

        Args:
            validation: Share of the images for validation, 0 to below 1. 0 makes no such part.
            test: Share for the test part, likewise.
            seed: The same seed gives the same division, whatever the names and the order of files.
            honour_leaks: In a given division, leave out training and validation images whose twin is in a later part.

        Raises:
            InputError: A share out of range, or a class with too few images.
        """
        splits.check_shares(validation=validation, test=test)
        manifest = self.with_digests()
        require_trainable(manifest)
        rows = np.flatnonzero(manifest.usable)
        items = manifest.items.iloc[rows].reset_index(drop=True)
        if (items["split"] != "").any():
            parts, findings = splits.complete(items, validation, test, seed, honour_leaks)
        else:
            shares = {"train": 1 - validation - test, "validation": validation, "test": test}
            parts, findings = splits.divide(items, {part: share for part, share in shares.items() if share > 0}, seed)
            splits.check_disjoint(items.assign(split=parts))
        return manifest._with_parts(rows, parts, findings)

    def folds(self, folds: int = 5, validation: float = 0.15, seed: int = 0) -> tuple[Manifest, ...]:
        """Divides the usable items into k parts, each the test part once; see `split` for what stays together.

        Args:
            folds: Number of folds, at least 2.
            validation: Share of what is not the test part that becomes validation.
            seed: The same seed gives the same folds.
        """
        splits.check_shares(validation=validation)
        manifest = self.with_digests()
        require_trainable(manifest)
        rows = np.flatnonzero(manifest.usable)
        items = manifest.items.iloc[rows].reset_index(drop=True)
        made = splits.k_folds(items, folds, validation, seed)
        return tuple(manifest._with_parts(rows, parts, findings) for parts, findings in made)

    def few_shot(self, images_per_class: int, seed: int = 0) -> Manifest:
        """Keeps only so many training images of each class; the rest of the training part is in no part any more.

        A smaller choice lies within a larger one of the same seed. Validation and test stay as they are.
        """
        if images_per_class < 1:
            raise InputError(f"Expected at least 1 image a class. Received: images_per_class={images_per_class}.")
        rows = self.indices("train")
        if not len(rows):
            raise InputError("Expected a manifest with a training part. Received: none. Call split() first.")
        chosen, findings = splits.few_shot(self.items.iloc[rows].reset_index(drop=True), images_per_class, seed)
        return self._with_parts(rows, np.where(chosen, "train", "").astype(object), findings)

    def _with_parts(self, rows: np.ndarray, parts: np.ndarray, findings: Sequence[Finding]) -> Manifest:
        column = self.items["split"].to_numpy(object).copy()
        column[rows] = parts
        return replace(self, items=self.items.assign(split=column.astype(str)), findings=(*self.findings, *findings))

    def with_digests(self) -> Manifest:
        """Returns the manifest with the digest of every usable item; items that cannot be read are set aside."""
        unknown = np.flatnonzero(self.usable & (self.items["digest"] == "").to_numpy(bool))
        if not len(unknown):
            return self
        columns = {name: self.items[name].to_numpy(object).copy() for name in ("digest", "status", "problem")}
        names = self.items["item"].to_numpy(object)
        for row in unknown:
            try:
                columns["digest"][row] = digest_of(self.source.read(names[row]))
            except OSError as error:
                columns["status"][row], columns["problem"][row] = "set aside", f"Cannot be read: {error}."
        items = self.items.assign(**{key: pd.array(column, self.items[key].dtype) for key, column in columns.items()})
        return replace(self, items=items)

    # --- as a file ---

    def write_csv(self, path: str | Path) -> None:
        """Writes the items as CSV that a spreadsheet takes for text; `read_csv` gives them back exactly."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self.items[list(COLUMNS)].itertuples(index=False):
            writer.writerow([safe_cell(cell) for cell in row])
        write_text(path, text.getvalue())

    @classmethod
    def read_csv(cls, path: str | Path, source: Source, class_names: Sequence[str] | None = None) -> Manifest:
        """Reads what `write_csv` wrote.

        Args:
            path: The CSV file.
            source: Reads the items; `from_spec(...).source`.
            class_names: All classes in order, where some may have no row; by default those of the rows, sorted.
        """
        with open(path, encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        if not set(COLUMNS[:7]) <= set(header):
            raise InputError(f"Expected a manifest with the columns {', '.join(COLUMNS[:7])}. Received: {path}.")
        cells = [[plain_cell(cell) for cell in row] for row in rows]
        items = pd.DataFrame(cells, columns=header, dtype="str")
        for column in COLUMNS:
            if column not in header:
                items[column] = ""
        names = tuple(class_names) if class_names is not None else tuple(sorted(set(items["label"])))
        return cls(items[list(COLUMNS)].astype("str"), names, source)


def make_manifest(
    rows: Sequence[Mapping[str, str]],
    source: Source,
    findings: Sequence[Finding] = (),
    *,
    min_images: int = MIN_IMAGES_PER_CLASS,
) -> Manifest:
    """Builds a manifest from what a source listed: `item` and `label`, where known `split` and `group`.

    Class names are normalised and checked, rows sorted by item.

    Raises:
        InputError: No rows, one class only, a class name that cannot be used, or a class with fewer than `min_images`.
    """
    items = pd.DataFrame(sorted(rows, key=lambda row: row["item"]), dtype="str")
    written = sorted(set(items["label"])) if len(items) else []
    names = {name: normalise(name) for name in written}
    items = items.assign(label=items["label"].map(names)) if len(items) else items
    for column in COLUMNS:
        if column not in items:
            items[column] = "ok" if column == "status" else ""
    class_names = tuple(sorted(set(names.values())))
    manifest = Manifest(items[list(COLUMNS)].astype("str"), class_names, source, (*findings, *clashes(written)))
    if min_images:
        require_trainable(manifest, min_images)
    return manifest


def require_trainable(manifest: Manifest, min_images: int = MIN_IMAGES_PER_CLASS) -> None:
    """Checks that there is something to learn.

    Raises:
        InputError: Nothing usable, one class only, or a class with fewer than `min_images` usable images.
    """
    name = manifest.source.name
    usable = manifest.items["label"][manifest.usable].value_counts()
    if usable.empty:
        first = next((problem for problem in manifest.items["problem"] if problem), "")
        received = f"{len(manifest):,} items, none readable" if len(manifest) else "none"
        raise InputError(f"Expected images in {name}. Received: {received}. {first}".strip())
    if manifest.num_classes < 2:
        only = manifest.class_names[0]
        raise InputError(f"Expected at least 2 classes in {name}. Received: one, {only!r}. Add another class.")
    counts = {label: int(usable.get(label, 0)) for label in manifest.class_names}
    small = [f"{label!r} has {number}" for label, number in counts.items() if number < min_images]
    if small:
        told = ", ".join(small[:10]) + (f" and {len(small) - 10} more classes" if len(small) > 10 else "")
        raise InputError(
            f"Expected at least {min_images} usable images a class in {name}. Received: {told}. "
            "Add images or remove the class."
        )
