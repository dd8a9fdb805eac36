"""The user's mistakes, told in one line: what was expected, what was received, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN_CHOICES = 12  # A longer list of choices hides the nearest name, which is what the reader needs.


class InputError(ValueError):
    """What the user gave cannot be used; the message is one line and names the remedy.

    The command line prints it and ends with exit code 2. Any other exception is a bug of ours.
    """


class NotFiniteError(InputError):
    """A loss or an output is NaN or infinite: for the images, the weights or the learning rate given."""


def nearest(received: str, choices: Iterable[str]) -> str | None:
    """Returns the choice most like `received`, or None where nothing is alike."""
    by_lower_case = {choice.lower(): choice for choice in choices}
    matches = difflib.get_close_matches(received.lower(), by_lower_case, n=1, cutoff=0.5)
    return by_lower_case[matches[0]] if matches else None


def unknown_name(kind: str, received: str, choices: Iterable[str]) -> InputError:
    """Makes the error for a name that is not among the known ones.

    Args:
        kind: What the name stands for, such as `"backbone"`.
        received: The name as given.
        choices: The names that exist.

    Returns:
        The error to raise, with the nearest name where one is alike.
    """
    names = list(choices)
    if len(names) <= SHOWN_CHOICES:
        expected = "one of " + ", ".join(names)
    else:
        expected = f"one of {len(names)} names ({', '.join(names[:SHOWN_CHOICES])}, ...)"
    guess = nearest(received, names)
    remedy = f" Did you mean {guess!r}?" if guess else ""
    return InputError(f"Unknown {kind}. Expected {expected}. Received: {received!r}.{remedy}")
