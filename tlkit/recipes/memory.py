"""Memory, looked at before anything is done."""

from __future__ import annotations

from tlkit.errors import InputError
from tlkit.training.memory import available_bytes

GIGABYTE = 1e9


def require_memory(needed: float, purpose: str, remedy: str) -> None:
    """Refuses what would not fit in the memory that is free, where that can be told.

    Args:
        needed: In bytes.
        purpose: What needs it, such as `this recipe`.
        remedy: What to do, as a sentence.

    Raises:
        InputError: Less is free.
    """
    available = available_bytes()
    if available is not None and available < needed:
        raise InputError(
            f"Expected {needed / GIGABYTE:.1f} GB of free memory for {purpose}. "
            f"Received: {available / GIGABYTE:.1f} GB. {remedy}"
        )
