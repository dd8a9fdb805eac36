"""What KerasTuner's environment variables make of a process: the chief of a search, or a worker."""

from __future__ import annotations

import os

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
