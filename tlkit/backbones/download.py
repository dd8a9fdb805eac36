"""Fetches one file with time-outs of its own: what cannot be had is told within seconds, never waited for."""

from __future__ import annotations

import hashlib
import os
import queue
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tlkit.console import OnProgress

CHUNK_BYTES = 1 << 18
FIRST_BYTE_SECONDS = 12.0  # Name look-up, connection, TLS and the server's first answer together.
STALL_SECONDS = 12.0  # Without a byte while the file is coming in.
POLL_SECONDS = 0.2  # How soon the end of the fetch, or Ctrl-C, is noticed.


class DownloadError(Exception):
    """The file could not be had; the message says why in a few words."""


def download(
    url: str,
    path: Path,
    *,
    digest: str | None = None,
    on_progress: OnProgress | None = None,
    first_byte_seconds: float = FIRST_BYTE_SECONDS,
    stall_seconds: float = STALL_SECONDS,
) -> None:
    """Downloads a file whole or not at all.

    The network is touched by a thread of its own, for a name look-up cannot be interrupted and may hang for minutes;
    this function comes back in time whatever that thread waits for.

    Args:
        url: Address of the file.
        path: Where it shall lie; its folder is made. It appears there only when complete and checked.
        digest: MD5 or SHA-256 of its content in hexadecimal digits, not checked when None.
        on_progress: Called with (bytes done, bytes in all; 0 where the server does not say).
        first_byte_seconds: How long the first byte may take.
        stall_seconds: How long any later byte may take.

    Raises:
        DownloadError: It could not be had, or is not the file expected. Nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in _chunks(url, on_progress, first_byte_seconds, stall_seconds):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if digest is not None and file_digest(partial, digest) != digest:
            raise DownloadError("what came is not the file expected (its digest differs)")
        os.chmod(partial, 0o644)  # mkstemp makes private files; the cache may be shared.
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def file_digest(path: Path, like: str) -> str:
    """Computes a file's digest, by the algorithm whose digests are as long as `like`: MD5 or SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5" if len(like) == 32 else "sha256").hexdigest()


def _chunks(
    url: str, on_progress: OnProgress | None, first_byte_seconds: float, stall_seconds: float
) -> Iterator[bytes]:
    """Yields the content as it comes, and watches the clock."""
    arrivals: queue.Queue[bytes | int | Exception] = queue.Queue(maxsize=64)
    abandoned = threading.Event()
    # The thread's own time-out is the longer one: it only ends a thread that nobody waits for any more.
    arguments = (url, arrivals, abandoned, 2 * max(first_byte_seconds, stall_seconds))
    threading.Thread(target=_fetch, args=arguments, name="tlkit-download", daemon=True).start()
    done, total, allowed = 0, 0, first_byte_seconds
    try:
        while True:
            arrival = _next(arrivals, allowed)
            if isinstance(arrival, Exception):
                raise DownloadError(_reason(arrival)) from arrival
            if isinstance(arrival, int):
                total = arrival
                continue
            if not arrival:
                break
            done, allowed = done + len(arrival), stall_seconds
            yield arrival
            if on_progress is not None:
                on_progress(done, total)
    finally:
        abandoned.set()
    if total and done != total:
        raise DownloadError(f"the connection ended after {done} of {total} bytes")


def _next(arrivals: queue.Queue, seconds: float) -> bytes | int | Exception:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            return arrivals.get(timeout=POLL_SECONDS)
        except queue.Empty:
            continue
    raise DownloadError(f"no answer within {seconds:g} seconds")


def _fetch(url: str, arrivals: queue.Queue, abandoned: threading.Event, seconds: float) -> None:
    """Runs in the thread: puts the length, the chunks and an empty chunk at the end, or what went wrong."""
    try:
        # An opener of our own: `urlopen` keeps the proxies that were set when it was first used in the process.
        with urllib.request.build_opener().open(url, timeout=seconds) as response:
            arrivals.put(int(response.headers.get("Content-Length") or 0))
            while not abandoned.is_set():
                chunk = response.read1(CHUNK_BYTES)
                _put(arrivals, chunk, abandoned)
                if not chunk:
                    return
    except Exception as error:
        _put(arrivals, error, abandoned)


def _put(arrivals: queue.Queue, item: bytes | Exception, abandoned: threading.Event) -> None:
    while not abandoned.is_set():
        try:
            arrivals.put(item, timeout=POLL_SECONDS)
            return
        except queue.Full:
            continue


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(cause) or type(error).__name__
