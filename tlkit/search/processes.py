"""Processes of trials: started, waited for, ended with their parent, and told apart by how they ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from tlkit import run
from tlkit.search.folder import LOG

TASK = "task.json"
RESULT = "result.json"
POLL_SECONDS = 0.05
GRACE_SECONDS = 5.0  # Between asking a process to end and ending it.


class Stopped(Exception):
    """The time for trials is over."""


def start(
    function: str,
    *arguments: str,
    log: IO[bytes] | int,
    pipes: bool = False,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a function of tlkit in a process of its own, which ends when this one does.

    Args:
        function: Such as `"tlkit.search.trial_process:main"`.
        arguments: What the process finds in `sys.argv[1:]`.
        log: Where its output goes.
        pipes: Whether its standard output is read by us, and only errors go to the log.
        environment: Variables that it has beside ours.
    """
    module, name = function.split(":")
    code = f"from {module} import {name}; {name}()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,  # Closed by the system when we end, however we end.
        stdout=subprocess.PIPE if pipes else log,
        stderr=log,
        env=dict(os.environ) | dict(environment or {}),
        start_new_session=True,  # An interruption from the keyboard reaches us alone: we end the others.
    )


def end_with_parent() -> None:
    """Has this process end when its parent, which holds the other end of standard input, has ended."""

    def wait() -> None:
        while os.read(0, 1):  # Not sys.stdin, whose lock a thread must not hold where Python ends.
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="tlkit-parent").start()


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a process, by force where it does not follow."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def run_task(folder: Path, task: dict[str, Any], deadline: float) -> dict[str, Any]:
    """Runs a task of `trial_process` and returns its result, or why there is none.

    Args:
        folder: Of the task; holds its config.toml.
        task: JSON-able.
        deadline: When it must have ended, as `time.monotonic()` tells time.

    Returns:
        What the process left in result.json; where it left nothing, `reason` and `message`.

    Raises:
        Stopped: The deadline has passed; the process was ended.
    """
    (folder / RESULT).unlink(missing_ok=True)
    run.write_json(folder / TASK, task)
    with open(folder / LOG, "wb") as log:
        process = start("tlkit.search.trial_process:main", str(folder), log=log)
        try:
            while process.poll() is None:
                if time.monotonic() >= deadline:
                    raise Stopped
                time.sleep(POLL_SECONDS)
        finally:
            stop(process)
    if process.returncode == 0 and (folder / RESULT).exists():
        found: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        return found
    return why_it_ended(process.returncode)


def why_it_ended(code: int) -> dict[str, Any]:
    """Tells why a process ended that left no result, by its exit code."""
    if code == -signal.SIGKILL or code == 128 + signal.SIGKILL:
        return {"reason": "out of memory", "message": "Killed by the system, as it does where memory runs out."}
    if code < 0:
        return {"reason": "crash", "message": f"Ended by signal {signal.Signals(-code).name}."}
    return {"reason": "crash", "message": f"Ended with exit code {code}; its {LOG} tells more."}
