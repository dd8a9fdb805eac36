"""What KerasTuner's environment variables make of a process: the chief of a search, or a worker."""

from __future__ import annotations

import os
import socket

from tlkit.errors import InputError

TUNER_ID, ORACLE_IP, ORACLE_PORT = "KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"


def role() -> str | None:
    """Returns what KerasTuner's environment variables make of this process: `"chief"`, `"worker"`, or None.

    Raises:
        InputError: One of them is missing or wrong.
    """
    names = (TUNER_ID, ORACLE_IP, ORACLE_PORT)
    there = [name for name in names if os.environ.get(name)]
    if not there:
        return None
    if missing := [name for name in names if name not in there]:
        raise InputError(
            f"Expected {' and '.join(missing)} beside {' and '.join(there)}. Received: none. Set all three, or none."
        )
    if not os.environ[ORACLE_PORT].isdecimal() or not 0 < int(os.environ[ORACLE_PORT]) < 65536:
        raise InputError(f"Expected {ORACLE_PORT} from 1 to 65535. Received: {os.environ[ORACLE_PORT]!r}.")
    return "chief" if "chief" in os.environ[TUNER_ID] else "worker"


def chief_address() -> tuple[str, int]:
    """Returns where the environment has the chief of a search listen."""
    return os.environ[ORACLE_IP], int(os.environ[ORACLE_PORT])


def require_port() -> None:
    """Raises InputError where the chief cannot listen where the environment has it."""
    ip, port = chief_address()
    try:
        try_listening(ip, port)
    except OSError:
        raise port_taken(ip, port) from None


def port_taken(ip: str, port: int) -> InputError:
    """Makes the error for an address at which nothing can listen."""
    return InputError(
        f"Expected a free port for the chief. Received: {ip}:{port}, which is taken or is no address of this "
        f"machine. Set {ORACLE_PORT} to another."
    )


def try_listening(ip: str, port: int) -> None:
    """Raises OSError where nothing can listen there: gRPC itself would print lines of its own before it fails."""
    family, kind, protocol, _, address = socket.getaddrinfo(ip.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # As gRPC does: a port just left is free.
        probe.bind(address)
        probe.listen()
