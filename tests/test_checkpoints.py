"""States on disk: whole or not there, the previous one kept, older ones removed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tlkit.checkpoints import KEPT, Checkpoint
from tlkit.errors import InputError


def arrays(number: int) -> list[np.ndarray]:
    return [np.full((100, 100), number, np.float32), np.array(number), np.zeros((0, 3))]


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    facts = {"a": [1, 2.5, None, "猫"], "loss": float("inf"), "number": np.float32(0.1)}
    Checkpoint(tmp_path / "states").save(facts, {"weights": arrays(1), "none": []})
    found = Checkpoint(tmp_path / "states").load()
    assert found is not None
    assert found.facts == {"a": [1, 2.5, None, "猫"], "loss": float("inf"), "number": float(np.float32(0.1))}
    assert found.arrays["none"] == []
    for left, right in zip(found.arrays["weights"], arrays(1), strict=True):
        assert (left.dtype, left.shape) == (right.dtype, right.shape)
        np.testing.assert_array_equal(left, right)


def test_nothing_is_found_where_nothing_was_saved(tmp_path: Path) -> None:
    assert Checkpoint(tmp_path / "none").load() is None


def test_old_states_are_removed_and_shared_arrays_are_written_once(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    (tmp_path / ".left.npz.x").write_bytes(b"of a killed write")
    shared = checkpoint.put(arrays(0))
    for number in range(1, 8):
        last = checkpoint.put(arrays(-number))
        checkpoint.save({"number": number}, {"own": arrays(number)}, {"shared": shared, "last": last})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len([name for name in names if name.startswith("state")]) == KEPT
    assert len(names) == 2 * KEPT + 1
    found = Checkpoint(tmp_path).load()
    assert found is not None
    assert [found.arrays[name][0][0, 0] for name in ("own", "shared", "last")] == [7, 0, -7]
    assert checkpoint.peak_bytes < 9 * 42_000
    assert (checkpoint.saves, Checkpoint(tmp_path).load().facts) == (7, {"number": 7})  # type: ignore[union-attr]
    checkpoint.remove()
    assert not tmp_path.exists()


@pytest.mark.parametrize("part", ["state", "arrays"])
@pytest.mark.parametrize("kind", ["changed", "cut", "empty", "gone"])
def test_a_damaged_state_falls_back_to_the_one_before(tmp_path: Path, part: str, kind: str) -> None:
    checkpoint = Checkpoint(tmp_path)
    for number in (1, 2):
        checkpoint.save({"number": number}, {"own": arrays(number)}, {"weights": checkpoint.put(arrays(number))})
    damaged = max(tmp_path.glob(f"{part}-*"))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes({"changed": content, "cut": content[:2000]}.get(kind, b""))
    if kind == "gone":
        damaged.unlink()
    again = Checkpoint(tmp_path)
    found = again.load()
    assert found is not None
    assert found.facts == {"number": 1}
    assert len(again.notes) == (0 if (part, kind) == ("state", "gone") else 1)
    again.save({"number": 3}, {}, {"weights": again.put(arrays(3))})
    found = Checkpoint(tmp_path).load()
    assert found is not None
    assert (found.facts, found.arrays["weights"][0][0, 0]) == ({"number": 3}, 3)


def test_another_version_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("tlkit.checkpoints.VERSION", 99)
        Checkpoint(tmp_path).save({}, {})
    with pytest.raises(InputError, match="version 99"):
        Checkpoint(tmp_path).load()


LIMITED = """
import resource, sys, numpy as np
from tlkit.checkpoints import Checkpoint
checkpoint = Checkpoint(sys.argv[1])
checkpoint.load()
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    checkpoint.save({"number": 2}, {"weights": [np.ones((100, 100), np.float32)]})
except OSError as error:
    print("refused", error.errno)
"""


def test_a_write_that_fails_leaves_the_states_as_they_were(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    Checkpoint(tmp_path).save({"number": 1}, {"weights": arrays(1)})
    before = sorted(tmp_path.iterdir())
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    assert "refused" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert sorted(tmp_path.iterdir()) == before
    found = Checkpoint(tmp_path).load()
    assert found is not None
    assert found.facts == {"number": 1}
