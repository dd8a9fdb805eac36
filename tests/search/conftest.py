"""A search whose features are had already: the pixels of scikit-learn's digits, so that no network need run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tlkit import run
from tlkit.config import Config, DataConfig, SearchConfig
from tlkit.config_files import config_to_toml
from tlkit.search.folder import FEATURES, TRUTH
from tlkit.search.plan import Plan
from tlkit.search.recipes import default_recipe, features_recipe, identity
from tlkit.search.space import Space, read_space

TRAIN = 300


@pytest.fixture
def make_plan(tmp_path: Path) -> Callable[..., Plan]:
    """Makes a plan of head trials with its features in place."""

    def make(name: str = "search", space: Space | None = None, **settings: Any) -> Plan:
        folder = tmp_path / name
        base = Config(data=DataConfig(data="builtin:digits", split_seed=0))
        plan = Plan(
            folder, base, space or read_space("head", base), SearchConfig(**{"space": "head", "trials": 6, **settings})
        )
        folder.mkdir()
        plan.write()
        put_features(plan)
        return plan

    return make


@pytest.fixture
def children() -> Callable[[int], list[int]]:
    """Tells the processes that a process has started and that have not ended."""

    def of(parent: int) -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                state, above = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            except OSError:  # It has ended meanwhile.
                continue
            if int(above) == parent and state != "Z":
                found.append(int(folder.name))
        return found

    return of


def put_features(plan: Plan) -> None:
    """Writes the pixels of digits where the features of the default recipe are looked for."""
    x, y = load_digits(return_X_y=True)
    recipe = features_recipe(default_recipe(plan.base, plan.space))
    folder = plan.folder / FEATURES / identity(recipe)
    folder.mkdir(parents=True)
    run.write_text(folder / run.CONFIG, config_to_toml(recipe))
    both = np.concatenate([x, np.sqrt(x)], axis=1).astype("float32")
    for part, rows in (("train", slice(0, TRAIN)), ("validation", slice(TRAIN, 2 * TRAIN))):
        np.save(folder / f"{part}.npy", both[rows])
        np.save(folder / f"{part}-labels.npy", y[rows])
    truth = {"labels": y[TRAIN : 2 * TRAIN].tolist(), "groups": None}
    run.write_json(folder / "result.json", {"classes": 10, **truth})
    run.write_json(plan.folder / TRUTH, truth)
