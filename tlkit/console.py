"""What people see in the terminal: steps with time left, tables, messages. The one module that imports rich."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tlkit.durations import tell_duration

if TYPE_CHECKING:
    from rich.console import Console

OnProgress = Callable[[int, int], None]

FIRST_LINE_SECONDS = 2.0  # A step shorter than this needs no progress.
UNFOLDED_WIDTH = 200
LINE_INTERVAL_SECONDS = 10.0  # Between lines where a bar cannot be redrawn (a log file, a pipe).


def say(text: str = "") -> None:
    """Prints one line of the story of a run."""
    _console().print(text, markup=False, highlight=False, soft_wrap=True)


def warn(text: str) -> None:
    """Prints a line that the reader should not miss."""
    _console().print(f"! {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def fail(text: str) -> None:
    """Prints an error, each of its lines with the program's name in front, to standard error."""
    for line in text.splitlines() or [""]:
        sys.stderr.write(f"tlkit: {line}\n")


def heading(text: str) -> None:
    """Prints the banner of a stage of the run."""
    _console().print(f"\n{text}", style="bold", markup=False, highlight=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[str] = ()) -> None:
    """Prints a table; the columns named in `right` are aligned to the right."""
    from rich.table import Table
    from rich.text import Text

    aligned = set(right)
    drawn = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        drawn.add_column(column, justify="right" if column in aligned else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(str(cell)) for cell in row))
    _console().print(drawn)


@contextmanager
def step(text: str, unit: str = "") -> Iterator[OnProgress]:
    """Shows one step of a run: a bar with the time left on a terminal, lines elsewhere.

    Args:
        text: What is being done, such as `"Decoding images"`.
        unit: What is counted, such as `"images"`; `"bytes"` are told as MB.

    Yields:
        A function to call with (done, total); a step that cannot count need not call it.
    """
    started = time.monotonic()
    reporter = _bar(text, unit) if _console().is_terminal else _lines(text, unit)
    with reporter as on_progress:
        yield on_progress
    say(f"  {text}: {tell_duration(time.monotonic() - started)}")


@contextmanager
def quiet_step(text: str) -> Iterator[None]:
    """Shows a step on a terminal while it lasts, and nothing where output goes to a file or a pipe."""
    with console_for_errors().status(text):
        yield


@contextmanager
def _bar(text: str, unit: str) -> Iterator[OnProgress]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("  {task.description}"), BarColumn(), TextColumn("{task.fields[count]}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=_console(), transient=True) as progress:
        task = progress.add_task(text, total=None, count="")

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, count=_count(done, total, unit))

        yield on_progress


@contextmanager
def _lines(text: str, unit: str) -> Iterator[OnProgress]:
    started = time.monotonic()
    next_line = started + FIRST_LINE_SECONDS
    first: tuple[int, float] | None = None  # The first batch compiles; the speed is that of those after it.

    def on_progress(done: int, total: int) -> None:
        nonlocal next_line, first
        now = time.monotonic()
        if first is None:
            first = done, now
        if now < next_line or done >= total:
            return
        next_line = now + LINE_INTERVAL_SECONDS
        known = done - first[0]
        left = f", {tell_duration((now - first[1]) * (total - done) / known)} left" if known > 0 else ""
        say(f"  {text}: {_count(done, total, unit)}{left}")

    yield on_progress


def _count(done: int, total: int, unit: str) -> str:
    if unit == "bytes":
        return f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
    return f"{done:,} of {total:,} {unit}".rstrip()


def _console() -> Console:
    from rich.console import Console

    console = Console()
    # Where there is no terminal there is no width to keep to: a table in a log or a pipe is not folded.
    return console if console.is_terminal else Console(width=UNFOLDED_WIDTH)


def console_for_errors() -> Console:
    """Returns a console on standard error, for what must not mix with results on standard output."""
    from rich.console import Console

    return Console(stderr=True)
