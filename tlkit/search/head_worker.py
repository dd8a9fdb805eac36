"""The one process that fits heads: started once, fed a trial a line, started anew where it died."""

from __future__ import annotations

import json
import selectors
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tlkit.search.processes import Stopped, start, stop, why_it_ended


class HeadWorker:
    """Fits heads in a process that imports no backend and keeps features and their rotation in memory.

    Args:
        log: File for what it prints.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> HeadWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fit(self, task: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Runs one trial; see `head_fitting.fit_trial`.

        Returns:
            Its answer; where the process died, `reason` and `message`.

        Raises:
            Stopped: The deadline has passed.
        """
        process = self._started()
        assert process.stdin is not None
        try:
            process.stdin.write((json.dumps(task) + "\n").encode())
            process.stdin.flush()
            line = self._answer(process, deadline)
        except (BrokenPipeError, EOFError):
            code = process.wait()
            self.close()
            return why_it_ended(code)
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """Ends the process."""
        if self.process is not None:
            stop(self.process)
            self.process = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self.process is None or self.process.poll() is not None:
            self.close()
            with open(self.log, "ab") as log:
                self.process = start("tlkit.search.head_fitting:main", log=log, pipes=True)
        assert self.process is not None
        return self.process

    def _answer(self, process: subprocess.Popen[bytes], deadline: float) -> bytes:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not selector.select(min(max(deadline - time.monotonic(), 0), 1.0)):
                if time.monotonic() >= deadline:
                    self.close()
                    raise Stopped
        line = process.stdout.readline()
        if not line:
            raise EOFError
        return line
