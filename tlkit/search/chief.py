"""The chief: serves the oracle, starts workers on this machine, and goes on where one of them dies."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tlkit import console
from tlkit.child_processes import start, stop
from tlkit.search.folder import ENDED, Record, read_records
from tlkit.search.plan import Plan
from tlkit.search.roles import ORACLE_IP, ORACLE_PORT, TUNER_ID, chief_address
from tlkit.search.service import LEASE_SECONDS, Servicer, serving

LOOPBACK = "127.0.0.1"
POLL_SECONDS = 0.5
STARTS_A_WORKER = 3  # Of a worker that dies again and again, the machine is the cause.


def lead(plan: Plan, oracle: Any, on_trial: Callable[[Record], None], served: bool) -> None:
    """Serves an oracle to workers until all trials have ended or time is over.

    Args:
        plan: The search.
        oracle: One of `oracles`.
        on_trial: Called with each record.
        served: Whether workers of other machines come too: the environment then says where to listen.

    Raises:
        InputError: The port is taken.
    """
    ip, port = chief_address() if served else (LOOPBACK, 0)
    wanted = plan.settings.workers if plan.settings.workers > 1 or not served else 0
    deadline = plan.deadline()
    told: set[int] = {one.number for one in read_records(plan.folder) if one.status in ENDED}
    with serving(oracle, ip, port) as (servicer, bound), _workers(plan, bound, wanted) as crew:
        console.say(f"  The chief listens at {ip}:{bound}; workers here: {wanted}")
        while True:
            time.sleep(POLL_SECONDS)
            for record in read_records(plan.folder):
                if record.status in ENDED and record.number not in told:
                    told.add(record.number)
                    on_trial(record)
            crew.mind(oracle, servicer)
            if time.monotonic() >= deadline:
                console.say("  The time for trials is over.")
                break
            if _is_done(plan, oracle, servicer) and not crew.is_busy() and not oracle.tuner_ids:
                break
            if wanted and not served and not crew.is_busy():
                console.warn("  No worker is left: each died several times. Their logs lie in the folder.")
                break
        oracle.closed = True


def _is_done(plan: Plan, oracle: Any, servicer: Servicer) -> bool:
    """Whether a worker was told that there are no more trials, and none is at work or waiting."""
    default = any(one.number == 0 and one.status in ENDED for one in read_records(plan.folder))
    return default and servicer.stop_triggered and not oracle.ongoing_trials and not oracle._retry_queue


class Crew:
    """The workers on this machine."""

    def __init__(self, plan: Plan, port: int) -> None:
        self.plan, self.port = plan, port
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.starts: dict[str, int] = {}

    def start(self, name: str) -> None:
        """Starts a worker."""
        self.starts[name] = self.starts.get(name, 0) + 1
        variables = {TUNER_ID: name, ORACLE_IP: LOOPBACK, ORACLE_PORT: str(self.port)}
        with open(self.plan.folder / f"{name}.txt", "ab") as log:
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
            given_up = oracle.give_up(name)
            if code != 0:
                lost = "" if given_up is None else f"; trial {int(given_up) + 1} is given to another"
                console.warn(f"  {name} died (exit code {code}){lost}.")
                if self.starts[name] < STARTS_A_WORKER:
                    self.start(name)
        for name in servicer.silent():
            if name not in self.processes:
                oracle.give_up(name)
                console.warn(
                    f"  {name} has not been heard of for {LEASE_SECONDS:.0f} s: its trial is given to another."
                )

    def is_busy(self) -> bool:
        """Whether a worker of this machine is alive."""
        return bool(self.processes)


@contextmanager
def _workers(plan: Plan, port: int, count: int) -> Iterator[Crew]:
    crew = Crew(plan, port)
    try:
        for index in range(count):
            crew.start(f"worker-{index}")
        yield crew
    finally:
        for process in crew.processes.values():
            stop(process)
