"""Asked to stop, a full disk, a clock that goes backwards: the run ends in good order, and can go on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tlkit import run, run_state
from tlkit.errors import InputError

Fixture = Any  # Those of conftest.py.
BATCH = "tlkit.training.keeping:KeepState.on_train_batch_end"
EPOCH = "tlkit.training.keeping:KeepState.on_epoch_end"


def test_signals_and_a_clock_that_goes_backwards_change_nothing(drive: Fixture, require_same: Fixture) -> None:
    steps = [
        {"at": "tlkit.training.head:fit_head", "signals": ["SIGTERM"]},
        {"at": BATCH, "call": 9, "signals": ["SIGINT"]},
        {"at": EPOCH, "call": 2, "signals": ["SIGTERM", "SIGINT"]},
        {"at": EPOCH, "call": 2, "clock": True},
        {"clock": True},
    ]
    found = drive(steps)
    assert found.codes == [130, 130, -2, -9, 0], found.told
    require_same(found)
    command = f"Go on with: tlkit finetune --resume {found.folders[0]}"
    assert found.told.count(command) == 2
    assert "Asked to stop: this step is finished" in found.told
    assert "Traceback" not in found.told


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of the test's own."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("this user may not mount a disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_and_one_that_refuses_are_told_and_change_nothing(
    drive: Fixture, require_same: Fixture, disk: Path
) -> None:
    steps = [
        {"at": "tlkit.data.store:create_packed", "fill": True},
        {"at": EPOCH, "call": 2, "fill": True},
        {"at": EPOCH, "call": 2, "forbid": "run-1/checkpoint"},
        {"at": "tlkit.workflow:save_model", "fill": True},
        {"at": "tlkit.report:write_report", "fill": True},
        {},
    ]
    found = drive(steps, disk)
    assert found.codes == [2, 2, 2, 2, 2, 0], found.told
    require_same(found)
    told = [line for line in found.told.splitlines() if line.startswith("tlkit: ")]
    assert len(told) == 5
    assert all("Expected a disk with room" in line and "--resume" in line for line in told)


def test_a_run_on_a_disk_that_refuses_is_told(disk: Path) -> None:
    (disk / "run").mkdir()
    run.write_state(disk / "run", "interrupted")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(InputError, match="can be written"), run_state.resumed_run(disk / "run"):
        pytest.fail("it cannot be held")
