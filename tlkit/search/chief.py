"""The chief: serves the oracle, starts workers on this machine, and goes on where one of them dies."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlkit import console
from tlkit.child_processes import start, stop
from tlkit.errors import InputError
from tlkit.search.folder import ENDED, FAILED, Record, read_records, write_record
from tlkit.search.plan import Plan
from tlkit.search.roles import ORACLE_IP, ORACLE_PORT, TUNER_ID, chief_address
from tlkit.search.service import EXIT_MISTAKE, LEASE_SECONDS, MISTAKE, Servicer, serving

LOOPBACK = "127.0.0.1"
ANY_ADDRESS = ("0.0.0.0", "::", "[::]")
POLL_SECONDS = 0.5
FAREWELL_SECONDS = 5.0  # For workers of other machines to hear that there are no more trials.
STARTS_A_WORKER = 3  # Of a worker that dies again and again, the machine is the cause.


def lead(plan: Plan, oracle: Any, on_trial: Callable[[Record], None], served: bool) -> None:
    """Serves an oracle to workers until all trials have ended or time is over.

    Args:
        plan: The search.
        oracle: One of `oracles`.
        on_trial: Called with each record.
        served: Whether workers of other machines come too: the environment then says where to listen.

    Raises:
        InputError: The port is taken, or a worker told that no trial can be run.
    """
    ip, port = chief_address() if served else (LOOPBACK, 0)
    wanted = plan.settings.workers if plan.settings.workers > 1 or not served else 0
    deadline = plan.deadline()
    told: set[int] = {one.number for one in read_records(plan.folder) if one.status in ENDED}
    near = LOOPBACK if ip in ANY_ADDRESS else ip
    with serving(oracle, ip, port) as (servicer, bound), _workers(plan, f"{near}:{bound}", wanted) as crew:
        console.say(f"  The chief listens at {ip}:{bound}; workers here: {wanted}")
        while True:
            time.sleep(POLL_SECONDS)
            for record in read_records(plan.folder):
                if record.status in ENDED and record.number not in told:
                    told.add(record.number)
                    on_trial(record)
            crew.mind(oracle, servicer)
            if servicer.error is not None:
                raise servicer.error
            if time.monotonic() >= deadline:
                console.say("  The time for trials is over.")
                break
            if _is_done(plan, oracle, servicer) and not crew.is_busy() and not oracle.tuner_ids:
                break
            if wanted and not served and not crew.is_busy():
                if crew.deaths:
                    console.warn("  No worker is left: each died several times. Their logs lie in the folder.")
                break
        oracle.closed = True
        until = time.monotonic() + FAREWELL_SECONDS
        while served and oracle.tuner_ids and time.monotonic() < until:
            time.sleep(POLL_SECONDS)


def _is_done(plan: Plan, oracle: Any, servicer: Servicer) -> bool:
    """Whether a worker was told that there are no more trials, and none is at work or waiting."""
    default = any(one.number == 0 and one.status in ENDED for one in read_records(plan.folder))
    return default and servicer.stop_triggered and not oracle.ongoing_trials and not oracle._retry_queue


class Crew:
    """The workers on this machine."""

    def __init__(self, plan: Plan, address: str) -> None:
        self.plan = plan
        self.ip, _, self.port = address.rpartition(":")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.starts: dict[str, int] = {}
        self.deaths = 0

    def start(self, name: str) -> None:
        """Starts a worker."""
        self.starts[name] = self.starts.get(name, 0) + 1
        variables = {TUNER_ID: name, ORACLE_IP: self.ip, ORACLE_PORT: self.port}
        with open(self._log(name), "ab") as log:
            self.processes[name] = start(
                "tlkit.search.service:work_for_chief", str(self.plan.folder), log=log, environment=variables
            )

    def mind(self, oracle: Any, servicer: Servicer) -> None:
        """Gives the trials of dead workers to others, and starts dead workers of this machine anew."""
        for name, process in list(self.processes.items()):
            code = process.poll()
            if code is None:
                continue
            del self.processes[name]
            stop(process)
            if code == EXIT_MISTAKE:
                oracle.give_up(name, False)
                raise InputError(_last_mistake(self._log(name)))
            lost = self._give_up(oracle, name)
            if code != 0:
                self.deaths += 1
                console.warn(f"{name} died (exit code {code}){lost}.")
                if self.starts[name] < STARTS_A_WORKER:
                    self.start(name)
        for name in servicer.silent():
            if name not in self.processes:
                lost = self._give_up(oracle, name)
                console.warn(f"{name} has not been heard of for {LEASE_SECONDS:.0f} s{lost}.")

    def _give_up(self, oracle: Any, name: str) -> str:
        """Takes a trial from a worker that is gone, and tells what becomes of it."""
        trial = oracle.give_up(name)
        if trial is None:
            return ""
        number = int(trial.trial_id) + 1
        if trial.status != "FAILED":
            return f"; trial {number} is given to another"
        own = [one for one in read_records(self.plan.folder) if one.number == number]
        record = own[0] if own else Record(number, dict(trial.hyperparameters.values), f"trial {number}")
        if record.status not in ENDED:
            message = "Two workers died over it."
            write_record(self.plan.folder, replace(record, status=FAILED, reason="killed", message=message))
        return f"; trial {number} fails: another had died over it"

    def _log(self, name: str) -> Path:
        return self.plan.folder / f"{name}.txt"

    def is_busy(self) -> bool:
        """Whether a worker of this machine is alive."""
        return bool(self.processes)


def _last_mistake(log: Path) -> str:
    lines = [
        line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.startswith(MISTAKE)
    ]
    return lines[-1].removeprefix(MISTAKE) if lines else f"Expected a worker that can run trials; {log} tells more."


@contextmanager
def _workers(plan: Plan, address: str, count: int) -> Iterator[Crew]:
    crew = Crew(plan, address)
    try:
        for index in range(count):
            crew.start(f"local-{index}")  # Other machines' workers have names of their own.
        yield crew
    finally:
        for process in crew.processes.values():
            stop(process)
