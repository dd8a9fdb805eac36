"""Kill -9 at any moment, and going on: the run ends as if nothing had been."""

from __future__ import annotations

import random
from typing import Any

import pytest

Fixture = Any  # Those of conftest.py.
KILLED = -9


def killed_at_random(drive: Fixture, undisturbed: Fixture, moments: int, seed: int) -> Any:
    """Kills a run, and the next where one comes to its end, at random moments of its length; then lets it end."""
    chance = random.Random(seed)
    length = undisturbed.outcomes[0]["seconds"]
    found = drive([*({"after": chance.uniform(0, length)} for _ in range(moments)), {}])
    assert set(found.codes) <= {KILLED, 0}, found.told
    return found


def test_ten_random_deaths_change_nothing(drive: Fixture, undisturbed: Fixture, require_same: Fixture) -> None:
    found = killed_at_random(drive, undisturbed, 10, seed=0)
    assert KILLED in found.codes
    require_same(found)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_a_hundred_random_deaths_change_nothing(
    drive: Fixture, undisturbed: Fixture, require_same: Fixture, seed: int
) -> None:
    require_same(killed_at_random(drive, undisturbed, 10, seed))


PLACES = [
    ("tlkit.data.packing_rows:_pack_row", 50),  # Decoding.
    ("tlkit.activations.blocks:BlockFile.append", 2),
    ("tlkit.training.head:fit_head", 1),
    ("tlkit.training.saves:Saves.begin_phase", 2),  # Between phases.
    ("numpy:savez", 3),  # Within a save,
    ("os:replace", 12),  # and just before one gets its name.
    ("tlkit.training.keeping:KeepState.on_train_batch_end", 9),
    ("tlkit.training.keeping:KeepState.on_epoch_end", 2),
    ("tlkit.training.saves:Saves.begin_phase", 2),  # After the last phase.
    ("tlkit.training_run:write_history", 1),
    ("tlkit.workflow:save_model", 1),
    ("tlkit.results:write_predictions", 1),  # In evaluation,
    ("tlkit.explaining:write_explanations", 1),
    ("tlkit.report:write_report", 1),  # in the report,
    ("tlkit.run:write_state", 2),  # and when all is done but the word that it is.
]


@pytest.mark.slow
def test_a_death_in_every_part_of_the_work_changes_nothing(
    drive: Fixture, undisturbed: Fixture, require_same: Fixture
) -> None:
    found = drive([*({"at": place, "call": call} for place, call in PLACES), {}])
    assert found.codes == [KILLED] * len(PLACES) + [0], (list(zip(PLACES, found.codes, strict=False)), found.told)
    require_same(found)
    assert "its lock is stale" in found.told
