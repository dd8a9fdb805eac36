"""Tasks of `trial_process`, each in a process of its own: given to one, waited for, told by how it ended."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from tlkit import run
from tlkit.child_processes import GRACE_SECONDS, start, stop
from tlkit.search.folder import LOG, TASK, TASK_RESULT
from tlkit.search.forking import STOP
from tlkit.search.processes import Conversation, Stopped, memory_kills, why_it_ended

POLL_SECONDS = 0.05
CAN_FORK = sys.platform == "linux"  # Elsewhere a system's own libraries may not be used in a forked process.


class TaskRunner:
    """Runs tasks one after another; where the system can, processes are forked from one that has imported Keras.

    Args:
        log: File for what that process prints.
    """

    def __init__(self, log: Path) -> None:
        self.server = Conversation("tlkit.search.forking:main", log)

    def run(self, folder: Path, task: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Runs a task and returns its result, or why there is none.

        Args:
            folder: Of the task; holds its config.toml.
            task: JSON-able.
            deadline: When it must have ended, as `time.monotonic()` tells time.

        Returns:
            What the process left in result.json; where it left nothing, `reason` and `message`.

        Raises:
            Stopped: The deadline has passed; the process was ended.
        """
        (folder / TASK_RESULT).unlink(missing_ok=True)
        run.write_json(folder / TASK, task)
        kills_before = memory_kills()
        ended = self._forked(folder, deadline) if CAN_FORK else _fresh(folder, deadline)
        if ended == 0 and (folder / TASK_RESULT).exists():
            found: dict[str, Any] = json.loads((folder / TASK_RESULT).read_text(encoding="utf-8"))
            return found
        return why_it_ended(ended, kills_before) if isinstance(ended, int) else ended

    def begin(self) -> None:
        """Starts the process that others are forked from, where they are, without waiting until it can."""
        if CAN_FORK:
            self.server.begin()

    def close(self) -> None:
        """Ends the process that others are forked from."""
        self.server.close()

    def _forked(self, folder: Path, deadline: float) -> int | dict[str, Any]:
        """Returns the exit code, or why the process died that was to tell it."""
        try:
            self.server.tell(json.dumps(str(folder.resolve())))
            return int(self.server.hear(deadline))
        except (BrokenPipeError, EOFError):
            return self.server.ended()
        except BaseException:
            self._stop()
            raise

    def _stop(self) -> None:
        """Ends the task, and the process that it was forked from where that does not tell so in time."""
        try:
            self.server.tell(STOP)
            self.server.hear(time.monotonic() + 2 * GRACE_SECONDS)
        except (BrokenPipeError, EOFError, Stopped):
            self.server.close()


def _fresh(folder: Path, deadline: float) -> int:
    with open(folder / LOG, "wb") as log:
        process = start("tlkit.search.trial_process:main", str(folder), log=log)
        try:
            while process.poll() is None:
                if time.monotonic() >= deadline:
                    raise Stopped
                time.sleep(POLL_SECONDS)
        finally:
            stop(process)
    return int(process.returncode)
