"""Memory, looked at before anything is done."""

from __future__ import annotations

from tlkit.errors import InputError

GIGABYTE = 1e9


class TooLittleMemoryError(InputError):
    """Less memory is free than is needed."""


def require_memory(needed: float, purpose: str, remedy: str) -> None:
    """Refuses what would not fit in the memory that is free, where that can be told.

    Args:
        needed: In bytes.
        purpose: What needs it, such as `this recipe`.
        remedy: What to do, as a sentence.

    Raises:
        TooLittleMemoryError: Less is free.
    """
    from tlkit.training.memory import available_bytes

    available = available_bytes()
    if available is not None and available < needed:
        raise TooLittleMemoryError(
            f"Expected {needed / GIGABYTE:.1f} GB of free memory for {purpose}. "
            f"Received: {available / GIGABYTE:.1f} GB. {remedy}"
        )
