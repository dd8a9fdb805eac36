"""Augmented pictures past a frozen part: its outputs for some views of each picture, shared by the epochs."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from tlkit.augment.batches import AugmentedDataset
from tlkit.augment.mixing import Mix
from tlkit.training.datasets import Part
from tlkit.training.job import Job
from tlkit.training.outcome import PhaseOutcome
from tlkit.views import ViewDataset, Views

HEAD_ON_VIEWS, HEAD_ON_PLAIN = "The head was fitted to the pictures", "The head was fitted to plain pictures"
MIXES_ALONE = "MixUp and CutMix do not reach the convex head, which wants one class for each picture."


class Augmented:
    """What a frozen prefix makes of the augmented training pictures of a job.

    Args:
        job: Its training data are an `AugmentedDataset`.
        prefix: The frozen part.
    """

    def __init__(self, job: Job, prefix: keras.Model):
        self.job, self.prefix = job, prefix
        self.data: AugmentedDataset = job.train
        self._open: list[Views] = []

    def for_head(self) -> list[np.ndarray]:
        """Returns the rows of all views, of pictures that are not mixed: the convex head wants one class each."""
        kept = [layer for layer in self.data.layers if not _mixes(layer)]
        if not kept:
            return []
        views, rows = self._views(kept), []
        with self.job.step("Computing features of augmented views", "views") as on_progress:
            for view in range(views.count):
                rows.append(np.asarray(views.rows(view)[0]))
                if on_progress:
                    on_progress(view + 1, views.count)
        return rows

    def part(self, labels: np.ndarray, batch_size: int) -> Part:
        """Returns the training data of a phase with epochs; views are computed as epochs come to them."""
        views = self._views(self.data.layers)
        return Part(ViewDataset(views, batch_size, self.job.seed), labels, batch_size, self.data.mixes)

    def tell(self, epochs: int) -> str:
        """Returns in a sentence what the epochs see."""
        if self.data.views >= epochs:
            return f"Each of {epochs} epochs sees augmented pictures of its own, through the frozen part once each."
        if self.job.recipe.extraction.cache == "off":
            return f"{epochs} epochs cycle through {self.data.views} augmented views of each picture, computed anew."
        return (
            f"{self.data.views} augmented views of each picture go through the frozen part once; {epochs} epochs cycle "
            f"through them. --views {epochs} gives each epoch its own."
        )

    def close(self) -> None:
        """Lets the cache evict the views."""
        for views in self._open:
            views.close()

    def _views(self, layers: list[keras.layers.Layer]) -> Views:
        keep = self.job.recipe.extraction.cache == "on"
        self._open.append(Views(self.prefix, self.data.dataset, layers, self.data.views, self.data.seed, keep))
        return self._open[-1]


def _mixes(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, Mix | keras.layers.MixUp | keras.layers.CutMix)


def reached(outcomes: Sequence[PhaseOutcome]) -> tuple[bool, tuple[str, ...]]:
    """Tells whether any phase trained on augmented pictures, and what was told of those that might have."""
    own = (HEAD_ON_VIEWS, HEAD_ON_PLAIN, MIXES_ALONE)
    told = tuple(note for outcome in outcomes for note in outcome.notes if note.startswith(own))
    trained = any(outcome.phase.epochs and outcome.probabilities is not None for outcome in outcomes)
    return trained or any(note.startswith(HEAD_ON_VIEWS) for note in told), told


def tell_head(views: int, better: bool) -> str:
    """Returns in a sentence what the convex head was fitted to."""
    if better:
        return f"{HEAD_ON_VIEWS} and {views} augmented views of each, which validates better."
    return f"{HEAD_ON_PLAIN}, which validates better than with {views} augmented views of each."
