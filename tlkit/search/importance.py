"""What mattered: permutation importance on a forest that learnt scores from hyperparameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tlkit.search.folder import Record
from tlkit.search.objectives import Objective
from tlkit.search.parameters import Parameter
from tlkit.search.space import Space

FEWEST_TRIALS = 10  # A forest on fewer tells of the trials, not of the hyperparameters.
TREES = 300
REPEATS = 20
INACTIVE = -1.0  # Lower than any share of a range or place among choices.


def importance(space: Space, records: list[Record], objective: Objective) -> dict[str, Any]:
    """Measures how much worse a forest foretells scores where the values of one hyperparameter are shuffled.

    The forest is judged on trials that it has not seen, in folds: what it only remembers counts for nothing.

    Args:
        space: What was searched.
        records: Trials that succeeded, the default recipe left out.
        objective: What was made better.

    Returns:
        `shares`: name, share of the score's variance and its standard deviation, largest first, empty for too few
        trials; `explained`: the share of variance that the forest foretells of unseen trials; `trials`.
    """
    if len(records) < FEWEST_TRIALS or len({one.metrics[objective.name] for one in records}) < 2:
        return {"shares": [], "explained": None, "trials": len(records)}
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance
    from sklearn.metrics import r2_score
    from sklearn.model_selection import KFold

    names = list(dict.fromkeys(one.option for one in space.parameters))
    table = np.array([[_place(space, name, one) for name in names] for one in records])
    scores = np.array([one.metrics[objective.name] for one in records])
    foretold, drops = np.empty(len(scores)), []
    for train, test in KFold(5, shuffle=True, random_state=0).split(table):
        forest = RandomForestRegressor(TREES, random_state=0).fit(table[train], scores[train])
        foretold[test] = forest.predict(table[test])
        found = permutation_importance(
            forest, table[test], scores[test], scoring="neg_mean_squared_error", n_repeats=REPEATS, random_state=0
        )
        drops.append(found.importances_mean / max(float(np.var(scores)), 1e-12))
    mean, spread = np.mean(drops, axis=0), np.std(drops, axis=0)
    order = np.argsort(-mean)
    shares = [{"name": names[i], "share": float(mean[i]), "spread": float(spread[i])} for i in order]
    return {"shares": shares, "explained": float(r2_score(scores, foretold)), "trials": len(records)}


def _place(space: Space, option: str, record: Record) -> float:
    """Returns where a trial's value lies among the choices, or in the range, from 0 to 1."""
    for parameter in space.parameters:
        if parameter.option == option and parameter.name in record.values:
            return place(parameter, record.values[parameter.name])
    return INACTIVE


def place(parameter: Parameter, value: Any) -> float:
    """Returns where a value lies among the choices (0, 1, 2, ...) or, of a range, its number or logarithm."""
    if parameter.values:
        return float(parameter.values.index(value)) if value in parameter.values else INACTIVE
    return math.log10(value) if parameter.sampling == "log" else float(value)
