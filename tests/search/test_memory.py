"""A trial for which memory runs out: the system kills it and nothing else, and the search tells so and goes on."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tlkit.search.folder import read_records

LIMIT = 3 * 2**30  # Bytes. A batch of 1,024 images wants some six, one of 32 less than one.
SPACE = """[space]
strategy = "scratch"
weights = "none"
batch_size = [8, 1024]
learning_rate = "default"
label_smoothing = "default"
"""
COMMAND = "import sys; from tlkit.cli import main; sys.exit(main())"


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """Makes a control group (version 1) with a limit of memory below the one of this process."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next(line.split(":", 2)[2] for line in lines if line.split(":")[1] == "memory")
        group = Path(f"/sys/fs/cgroup/memory{own}/tlkit-{os.getpid()}")
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))
    except (OSError, StopIteration):
        pytest.skip("no control group of memory can be made here")
    yield group
    with contextlib.suppress(OSError):  # A process of it may not have ended.
        group.rmdir()


@pytest.mark.slow
def test_a_trial_that_the_system_kills_for_its_memory_has_failed_and_no_more(
    tmp_path: Path, memory_group: Path
) -> None:
    space, output = tmp_path / "space.toml", tmp_path / "search"
    space.write_text(SPACE)
    arguments = ["--data", "builtin:digits", "--image-size", "96", "--space", str(space), "--algorithm", "grid"]
    arguments += ["--epochs", "1", "--trials", "3", "--repeats", "0", "--output", str(output)]
    enter = f"open({str(memory_group / 'cgroup.procs')!r}, 'w').write('0')\n"
    done = subprocess.run([sys.executable, "-c", enter + COMMAND, "search", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    records = {one.values.get("batch_size"): one for one in read_records(output)}
    assert {size: one.status for size, one in records.items()} == {None: "completed", 8: "completed", 1024: "failed"}
    assert records[1024].reason == "out of memory"
    assert "failed: out of memory. Killed by the system" in done.stdout
