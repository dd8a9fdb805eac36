"""Tar archives: plain ones read in place, compressed ones from front to back."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from tlkit.data.items import Source
from tlkit.data.members import Members, check_total
from tlkit.data.spool import SpooledSource
from tlkit.errors import InputError

OPENERS: tuple[tuple[bytes, Callable[..., Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\0", lzma.open),
)
DAMAGE = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, ValueError)


@dataclass(frozen=True)
class TarSource:
    """Members of an uncompressed tar archive, by their place in the file."""

    name: str
    places: dict[str, tuple[int, int]] = field(repr=False)
    changed: int

    def read(self, item: str) -> bytes:
        offset, size = self.places[item]
        with open(self.name, "rb") as file:
            file.seek(offset)
            return file.read(size)

    def stamp(self, item: str) -> str:
        offset, size = self.places[item]
        return f"{offset}:{size}:{self.changed}"


class Limited:
    """A stream that stops with an error when an archive gives far more than it is."""

    def __init__(self, stream: IO[bytes], size: int, name: str):
        self.stream, self.size, self.name, self.total = stream, size, name, 0

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.total += len(data)
        check_total(self.total, self.size, self.name)
        return data


def open_tar(path: Path) -> tuple[Source, Members]:
    """Lists a tar archive; a compressed one is unpacked on the way into a `SpooledSource`.

    Raises:
        InputError: It is damaged, or unpacks to far more than it is.
    """
    members = Members()
    status = path.stat()
    if _opener(path) is not None:
        source = SpooledSource(str(path), f"{status.st_size}:{status.st_mtime_ns}", partial(_contents, path))
        source.fill(_contents(path, members))
        return source, members
    places = {entry.name: (entry.offset_data, entry.size) for _, entry in _entries(path, members)}
    return TarSource(str(path), places, status.st_mtime_ns), members


def _contents(path: Path, members: Members | None = None) -> Iterator[tuple[str, bytes]]:
    for archive, entry in _entries(path, members or Members()):
        file = archive.extractfile(entry)
        assert file is not None
        yield entry.name, file.read()


def _entries(path: Path, members: Members) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Yields the files that may be read, each with the open archive, and notes them and the others in `members`."""
    seen: set[str] = set()
    try:
        with _open(path) as archive:
            for entry in archive:
                if not _accept(entry, members):
                    continue
                if entry.name in seen:
                    members.refuse("repeated name", entry.name)
                else:
                    members.files.append(entry.name)
                seen.add(entry.name)
                yield archive, entry
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(f"Expected a sound tar archive: {str(path)!r}. Received: {error}.") from error


def _accept(entry: tarfile.TarInfo, members: Members) -> bool:
    if entry.isdir():
        return False
    if entry.issym() or entry.islnk():
        members.refuse("link in the archive", entry.name)
        return False
    if not entry.isreg():
        members.refuse("device in the archive", entry.name)
        return False
    if entry.issparse():  # A few bytes that stand for as many zeros as their author liked.
        members.refuse("too large", entry.name)
        return False
    return members.accepts(entry.name, entry.size)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[tarfile.TarFile]:
    opener = _opener(path)
    if opener is None:
        with tarfile.open(path, "r:") as archive:
            yield archive
        return
    with opener(path) as stream:
        limited = Limited(stream, path.stat().st_size, str(path))
        with tarfile.open(fileobj=limited, mode="r|") as archive:  # type: ignore[call-overload]
            yield archive


def _opener(path: Path) -> Callable[[Path], IO[bytes]] | None:
    with open(path, "rb") as file:
        start = file.read(6)
    return next((opener for magic, opener in OPENERS if start.startswith(magic)), None)
