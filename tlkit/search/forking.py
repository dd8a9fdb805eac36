"""The process that tasks are forked from: it has imported Keras and computes nothing, so that each task starts at once.

A line on its standard input names the folder of a task; its answer is the exit code of the process that did it. The
line `STOP` ends that process; the end of the input ends both.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import sys
import threading
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import TextIO

from tlkit.child_processes import GRACE_SECONDS
from tlkit.search.folder import LOG

STOP = "stop"
INPUT = 0  # The file descriptor of standard input.
MODULES = (
    "tlkit.evaluation",
    "tlkit.explaining",
    "tlkit.preparing",
    "tlkit.report",
    "tlkit.results",
    "tlkit.search.trial_process",
    "tlkit.training",
    "tlkit.training_run",
    "tlkit.varying",
    "tlkit.workflow",
)


def main() -> None:
    """Serves standard input and output, which nothing else may write to."""
    from tlkit.backend import start_keras

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    start_keras(compute=False)  # Threads and accelerators do not survive a fork: each task takes hold of its own.
    for name in MODULES:
        importlib.import_module(name)
    serve(answers)


def serve(answers: TextIO) -> None:
    """Does one task after another until there are no more lines."""
    while lines := os.read(INPUT, 65_536).decode().splitlines():
        for line in lines:
            if line != STOP:  # It came as the task ended, whose exit code was the answer to both.
                answers.write(f"{_exit_code(Path(json.loads(line)))}\n")
                answers.flush()


def _exit_code(folder: Path) -> int:
    """Does a task in a process of its own; ends it where a line comes meanwhile, or the end of all lines."""
    process = multiprocessing.get_context("fork").Process(target=_work, args=(folder,))
    process.start()
    while process.exitcode is None:
        if INPUT in wait([INPUT, process.sentinel]):
            asked = os.read(INPUT, 65_536)
            _end(process)
            if not asked:
                sys.exit()
        process.join(0)
    return process.exitcode


def _end(process: ForkProcess) -> None:
    process.terminate()
    process.join(GRACE_SECONDS)
    process.kill()
    process.join()


def _work(folder: Path) -> None:
    """Does a task in the process that was forked for it."""
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for target, descriptor in ((os.open(os.devnull, os.O_RDONLY), INPUT), (log, 1), (log, 2)):
        os.dup2(target, descriptor)
    with contextlib.suppress(OSError):  # Where memory runs out, the system should end this process and no other.
        Path("/proc/self/oom_score_adj").write_text("500")
    threading.Thread(target=_end_with_parent, daemon=True, name="tlkit-parent").start()
    from tlkit.search.trial_process import do_task

    do_task(folder)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
