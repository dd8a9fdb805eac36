"""Processes of our own: a function of tlkit in a fresh interpreter, ended with the process that started it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

GRACE_SECONDS = 5.0  # Between asking a process to end and ending it.


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
    found_here = str(Path(__file__).resolve().parent.parent)
    code = f"import sys; sys.path.append({found_here!r}); from {module} import {name}; {name}()"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, *arguments],  # -P: modules in the working folder are none of its business.
        stdin=subprocess.PIPE,  # Closed by the system when we end, however we end.
        stdout=subprocess.PIPE if pipes else log,
        stderr=log,
        env=dict(os.environ) | dict(environment or {}),
        start_new_session=True,  # An interruption from the keyboard reaches us alone: we end the others.
    )


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
            with contextlib.suppress(OSError):  # What it was told last may not have reached it.
                pipe.close()
