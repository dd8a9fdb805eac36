"""Being asked to stop: the first Ctrl-C or SIGTERM can wait for a good moment, the second does not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class _State:
    asked: bool = False
    postponing: int = 0


_state = _State()  # Of the process, as signals are.


def is_asked() -> bool:
    """Tells whether a stop was asked for that has been postponed."""
    return _state.asked


@contextmanager
def postponed() -> Iterator[None]:
    """Within the block, the first signal only has `is_asked` say so; who asks that ends the work with an exception."""
    _state.postponing += 1
    try:
        yield
    finally:
        _state.postponing -= 1


@contextmanager
def watched(on_postponed: Callable[[], None]) -> Iterator[None]:
    """Has SIGINT and SIGTERM raise `KeyboardInterrupt`, or be postponed; a second one ends the process at once.

    A signal that is ignored, as under nohup, stays ignored. Outside the main thread nothing is changed.

    Args:
        on_postponed: Called where a signal is postponed: tells the user so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[signal.Signals, Any] = {
        number: handler for number in SIGNALS if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }

    def handle(number: int, frame: FrameType | None) -> None:
        for other in before:  # The system itself acts on the next one, whatever Python is in the middle of.
            signal.signal(other, signal.SIG_DFL)
        _state.asked = True
        if not _state.postponing:
            raise KeyboardInterrupt
        on_postponed()

    _state.asked = False
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.asked = False
