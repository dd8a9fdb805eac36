"""Which trials are best, and what of the others is kept."""

from __future__ import annotations

from tlkit.search.folder import COMPLETED, Record
from tlkit.search.plan import Plan


def ranked(plan: Plan, records: list[Record]) -> list[Record]:
    """Returns the trials that succeeded, best first, each result once; repeats under new seeds are left out."""
    objective = plan.objective
    own = [one for one in records if one.status == COMPLETED and one.copied_from is None and one.seed is None]
    sign = -1 if objective.direction == "max" else 1
    return sorted(own, key=lambda one: (sign * one.metrics[objective.name], one.number))


def best_record(plan: Plan, records: list[Record]) -> Record | None:
    """Returns the best trial, the earliest of equals; None where none succeeded."""
    return next(iter(ranked(plan, records)), None)


def kept_numbers(plan: Plan, records: list[Record]) -> set[int]:
    """Returns the trials whose models are kept: the best, and the default recipe."""
    default = {one.original for one in records if one.number == 0}
    return {0} | default | {one.number for one in ranked(plan, records)[: plan.settings.keep]}
