"""Runs the command line in processes of its own and has them die as a plan says; started by the tests beside it.

Keras is imported once, and each process is a fork of this one that has computed nothing yet: so a death costs no more
than the work up to it.

Usage: python driver.py FOLDER, with plan.json in it: `arguments` of finetune, and `steps`, each one process:

    {}                                          ends by itself
    {"after": seconds}                          is killed when it has used so much of a processor
    {"at": "module:attribute", "call": n}       kills itself as that is called for the n-th time
    {"at": ..., "signals": ["SIGINT"]}          sends itself these instead
    {"at": ..., "fill": true}                   fills the disk of the runs instead, until the process has ended
    {"at": ..., "forbid": "run-1/checkpoint"}   has a folder refuse writing instead, until then
    {"clock": true}                             sets the clock back at each look

The run is run-1 in `place`; where it is finished and steps are left, run-2 and so on. Writes outcomes.json: exit code,
or minus the signal, and seconds of processor of each.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def act_at(place: str, call: int, act: Callable[[], None], module: Any = None) -> None:
    """Has something done just before the n-th call of a function of a module or of a class in it."""
    name, attribute = place.split(":")
    owner = importlib.import_module(name)
    *classes, last = attribute.split(".")
    for part in classes:
        owner = getattr(owner, part)
    original, calls = getattr(owner, last), [0]

    def counted(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            act()
        return original(*arguments, **named)

    setattr(owner, last, counted)


def set_clock_back() -> None:
    """Has the clock of the day go backwards by an hour at each look."""
    now = [time.time()]

    def earlier() -> float:
        now[0] -= 3600
        return now[0]

    time.time = earlier


def fill(place: Path) -> None:
    """Takes all that is left of a disk."""
    size = 1 << 16
    with open(place / "filler", "ab", buffering=0) as file:
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2


def forbid(folder: Path) -> None:
    """Makes a folder one that can only be read, whoever asks."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)


def action(step: dict[str, Any], place: Path) -> Callable[[], None]:
    """Returns what a process does to itself at the place that the step names."""

    def act() -> None:
        if "fill" in step:
            fill(place)
        elif "forbid" in step:
            forbid(place / step["forbid"])
        else:
            for name in step.get("signals", ["SIGKILL"]):
                os.kill(os.getpid(), getattr(signal, name))

    return act


def child(step: dict[str, Any], arguments: list[str], log: Path, place: Path) -> None:
    """Runs the command line and ends this process with its code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background job ignores it, and its children.
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    if step.get("clock"):
        set_clock_back()
    if "at" in step:
        act_at(step["at"], step.get("call", 1), action(step, place))
    from tlkit.cli import main

    code = main(arguments)
    sys.stdout.flush()
    os._exit(code)


def used(process: int) -> float:
    """Returns the seconds of processor that a process has used: a busy machine does not change them."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_step(step: dict[str, Any], arguments: list[str], log: Path, place: Path) -> dict[str, Any]:
    """Runs one process to its end and tells how it ended."""
    process = os.fork()
    if not process:
        try:
            child(step, arguments, log, place)
        finally:
            os._exit(1)
    while "after" in step and not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if used(process) >= step["after"]:
            os.kill(process, signal.SIGKILL)
            break
        time.sleep(0.005)
    _, status, cost = os.wait4(process, 0)
    if "forbid" in step:
        subprocess.run(["umount", str(place / step["forbid"])], check=True)
    (place / "filler").unlink(missing_ok=True)
    return {"code": os.waitstatus_to_exitcode(status), "seconds": cost.ru_utime + cost.ru_stime}


def main(folder: Path) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    # All that a process imports, none of what it computes.
    import keras  # noqa: F401

    from tlkit import evaluation, explaining, features, report, results, training, workflow  # noqa: F401

    outcomes: list[dict[str, Any]] = []
    number, place = 1, Path(plan["place"])
    for step in plan["steps"]:
        run = place / f"run-{number}"
        begun = (run / "state.json").exists() and (run / "config.toml").exists()
        new = [*plan["arguments"], "--output", str(run)]
        arguments = ["finetune", *(["--resume", str(run)] if begun else new)]
        outcomes.append(run_step(step, arguments, folder / "log.txt", place))
        number += outcomes[-1]["code"] == 0
    (folder / "outcomes.json").write_text(json.dumps(outcomes))


main(Path(sys.argv[1]))
