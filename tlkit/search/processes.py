"""Processes of trials: talked to, ended with their parent, and told apart by how they ended."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from tlkit.child_processes import start, stop
from tlkit.search.folder import LOG


class Stopped(Exception):
    """The time for trials is over."""


def end_with_parent() -> None:
    """Has this process end when its parent, which holds the other end of standard input, has ended."""

    def wait() -> None:
        while os.read(0, 1):  # Not sys.stdin, whose lock a thread must not hold where Python ends.
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="tlkit-parent").start()


class Conversation:
    """A process that answers each line with lines; it is started when first told one, and anew where it has died.

    Args:
        function: As for `start`.
        log: File for what it prints beside its answers.
    """

    def __init__(self, function: str, log: Path) -> None:
        self.function, self.log = function, log
        self.process: subprocess.Popen[bytes] | None = None
        self.kills_before = 0

    def tell(self, line: str) -> None:
        """Sends a line.

        Raises:
            BrokenPipeError: The process has died.
        """
        process, self.kills_before = self.begin(), memory_kills()
        assert process.stdin is not None
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()

    def hear(self, deadline: float) -> str:
        """Returns the next line of its answer.

        Raises:
            Stopped: The deadline has passed, as `time.monotonic()` tells time.
            EOFError: The process has died.
        """
        assert self.process is not None
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not selector.select(min(max(deadline - time.monotonic(), 0), 1.0)):
                if time.monotonic() >= deadline:
                    raise Stopped
        line = self.process.stdout.readline()
        if not line:
            raise EOFError
        return line.decode()

    def ended(self) -> dict[str, Any]:
        """Tells why the process has died."""
        assert self.process is not None
        code = self.process.wait()
        self.close()
        return why_it_ended(code, self.kills_before, self.log.name)

    def close(self) -> None:
        """Ends the process."""
        if self.process is not None:
            stop(self.process)
            self.process = None

    def begin(self) -> subprocess.Popen[bytes]:
        """Starts the process unless it is there, and returns it."""
        if self.process is None or self.process.poll() is not None:
            self.close()
            with open(self.log, "ab") as log:
                self.process = start(self.function, log=log, pipes=True)
        assert self.process is not None
        return self.process


def memory_kills() -> int:
    """Returns how many processes the system has killed since it started because memory ran out, as far as it tells."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def why_it_ended(code: int, kills_before: int, log: str = LOG) -> dict[str, Any]:
    """Tells why a process ended that left no result.

    Args:
        code: Its exit code.
        kills_before: What `memory_kills` returned when it began.
        log: Name of the file for what it printed.
    """
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        if memory_kills() > kills_before:
            return {"reason": "out of memory", "message": "Killed by the system, whose memory had run out."}
        return {"reason": "killed", "message": "Killed by signal 9: by hand, or by the system where memory ran out."}
    if code < 0:
        return {"reason": "crash", "message": f"Ended by signal {signal.Signals(-code).name}."}
    return {"reason": "crash", "message": f"Ended with exit code {code}; its {log} tells more."}
