"""Many workers: KerasTuner's chief, which holds the oracle, and its clients, over gRPC.

Added to KerasTuner's service is that a worker may die: its trial is given to another, and the search ends all the same.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from keras_tuner import HyperParameters
from keras_tuner.engine.trial import Trial
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_client
from keras_tuner.src.distribute.oracle_chief import OracleServicer
from keras_tuner.src.distribute.oracle_client import OracleClient

from tlkit.errors import InputError
from tlkit.search.roles import ORACLE_IP, ORACLE_PORT, TUNER_ID, chief_address, port_taken, try_listening

BEAT_SECONDS = 2.0
LEASE_SECONDS = 30.0  # Without a sign of life, after which a worker is given up.
LOST_SECONDS = 120.0  # Without an answer of the chief, after which a worker ends: a chief may be taken up again.
BROKEN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
MISTAKE, EXIT_MISTAKE = "tlkit: ", 2  # How a worker tells its chief that no trial can be run.
oracle_client.TIMEOUT = LOST_SECONDS  # KerasTuner's client would wait for an hour.


class Servicer(OracleServicer):
    """KerasTuner's service, which also remembers when each worker was heard of."""

    stop_triggered: bool

    def __init__(self, oracle: Any) -> None:
        super().__init__(oracle)
        self.heard: dict[str, float] = {}
        self.error: Exception | None = None  # Of the oracle, which ends the search.

    def CreateTrial(self, request: Any, context: Any) -> Any:
        self.heard[request.tuner_id] = time.monotonic()
        with self._watched():
            trial = self.oracle.create_trial(request.tuner_id)
        self.stop_triggered = self.stop_triggered or trial.status == "STOPPED"
        return protos.get_service().CreateTrialResponse(trial=_bare(trial).to_proto())

    def UpdateTrial(self, request: Any, context: Any) -> Any:
        with self._watched():
            trial = self.oracle.update_trial(request.trial_id, request.metrics, step=request.step)
        return protos.get_service().UpdateTrialResponse(trial=_bare(trial).to_proto())

    def EndTrial(self, request: Any, context: Any) -> Any:
        with self._watched():
            return super().EndTrial(request, context)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.error = self.error or error
            raise

    def GetTrial(self, request: Any, context: Any) -> Any:
        for tuner_id, trial in list(self.oracle.ongoing_trials.items()):
            if trial.trial_id == request.trial_id:
                self.heard[tuner_id] = time.monotonic()
        trial = self.oracle.get_trial(request.trial_id)
        return protos.get_service().GetTrialResponse(trial=_bare(trial).to_proto())

    def silent(self) -> list[str]:
        """Returns the workers that have a trial and have not been heard of for too long."""
        limit = time.monotonic() - LEASE_SECONDS
        return [name for name in list(self.oracle.tuner_ids) if self.heard.get(name, limit) <= limit]


def _bare(trial: Trial) -> Trial:
    """Returns a trial with the values of its hyperparameters and without their space, which workers have already.

    KerasTuner 1.4.8 prints a line for each condition of a space that goes over the wire.
    """
    values = HyperParameters()
    values.values = dict(trial.hyperparameters.values)
    return Trial(values, trial.trial_id, trial.status)


@contextmanager
def serving(oracle: Any, ip: str, port: int) -> Iterator[tuple[Servicer, int]]:
    """Serves an oracle while the block lasts.

    Args:
        oracle: One of `oracles`.
        ip: Address to listen at.
        port: 0 takes a free one.

    Yields:
        The service, and its port.

    Raises:
        InputError: The port is taken.
    """
    # Without this option two chiefs would share a port, and a worker would reach either.
    # Signs of life go through while another thread makes a proposal.
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), options=(("grpc.so_reuseport", 0),))
    servicer = Servicer(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    try:
        try_listening(ip, port)
        bound = server.add_insecure_port(f"{ip}:{port}")
    except (OSError, RuntimeError):
        bound = 0
    if not bound:
        raise port_taken(ip, port)
    server.start()
    try:
        yield servicer, bound
    finally:
        server.stop(grace=1.0).wait()


class Client(OracleClient):
    """KerasTuner's client, which gives a sign of life while its trial runs."""

    def __init__(self) -> None:
        super().__init__(None)
        self.trial_id: str | None = None
        threading.Thread(target=self._beat, daemon=True, name="tlkit-beat").start()

    def create_trial(self, tuner_id: str) -> Any:
        trial = _patiently(super().create_trial, tuner_id)
        self.trial_id = trial.trial_id if trial.status == "RUNNING" else None
        return trial

    def update_trial(self, trial_id: str, metrics: Any, step: int = 0) -> Any:
        return _patiently(super().update_trial, trial_id, metrics, step)

    def end_trial(self, trial: Any) -> None:
        self.trial_id = None
        _patiently(super().end_trial, trial)

    def _beat(self) -> None:
        answered = time.monotonic()
        while True:
            time.sleep(BEAT_SECONDS)
            trial_id = self.trial_id
            if trial_id is None:
                answered = time.monotonic()
                continue
            try:
                self.stub.GetTrial(protos.get_service().GetTrialRequest(trial_id=trial_id), timeout=BEAT_SECONDS)
                answered = time.monotonic()
            except grpc.RpcError:
                if time.monotonic() - answered > LOST_SECONDS:
                    sys.stderr.write(f"tlkit: The chief of this search has not answered for {LOST_SECONDS:.0f} s.\n")
                    os._exit(1)


def _patiently(ask: Callable[..., Any], *arguments: Any) -> Any:
    """Asks the chief, again where the connection breaks: it may be taken up again. What is asked may be asked twice."""
    until = time.monotonic() + LOST_SECONDS
    while True:
        try:
            return ask(*arguments)
        except grpc.RpcError as error:
            if error.code() not in BROKEN or time.monotonic() >= until:
                raise
            time.sleep(BEAT_SECONDS)


def work_for_chief() -> None:
    """Runs trials for the chief that the environment names; the folder of the search is the first argument."""
    from tlkit.search.processes import end_with_parent

    end_with_parent()
    try:
        join(Path(sys.argv[1]))
    except InputError as error:
        sys.stderr.write(f"{MISTAKE}{error}\n")
        sys.exit(EXIT_MISTAKE)


def wait_for_chief(seconds: float) -> None:
    """Waits until the chief that the environment names listens.

    Raises:
        InputError: It does not within that time.
    """
    ip, port = chief_address()
    with grpc.insecure_channel(f"{ip}:{port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=seconds)
        except grpc.FutureTimeoutError:
            raise _no_answer(seconds) from None


def join(folder: Path) -> None:
    """Runs trials for a chief until it has no more.

    Raises:
        InputError: The chief does not answer.
    """
    from tlkit.search.plan import read_plan
    from tlkit.search.working import work

    plan = read_plan(folder)
    tuner_id = os.environ[TUNER_ID]
    executor = plan.executor(tuner_id)
    try:
        work(Client(), executor, tuner_id, deadline=plan.deadline())
    except grpc.RpcError as error:
        if error.code() in (*BROKEN, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise _no_answer(LOST_SECONDS) from None
        raise InputError(
            f"Expected a chief that goes on. Received: {error.details()}. Look at what it printed itself."
        ) from None
    finally:
        executor.close()


def _no_answer(seconds: float) -> InputError:
    ip, port = chief_address()
    return InputError(
        f"Expected a chief that answers at {ip}:{port}. Received: nothing for {seconds:.0f} s. Start it, or take it up "
        f"again, with the same {ORACLE_IP} and {ORACLE_PORT}; then start this worker anew."
    )
