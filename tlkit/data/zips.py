"""Zip archives, read in place."""

from __future__ import annotations

import stat
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

from tlkit.data.members import Members, check_total
from tlkit.errors import InputError

DIRECTORY_FLAG, ENCRYPTED_FLAG = 0x10, 0x1


class ZipSource:
    """Members of a zip archive. The archive is opened when first read, once in each process."""

    def __init__(self, name: str):
        self.name = name
        self._start()

    def _start(self) -> None:
        self._archive: zipfile.ZipFile | None = None
        self._lock = threading.Lock()

    def _open(self) -> zipfile.ZipFile:
        with self._lock:
            if self._archive is None:
                self._archive = zipfile.ZipFile(self.name)
            return self._archive

    def read(self, item: str) -> bytes:
        try:
            return self._open().read(item)
        except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise OSError(f"damaged in the archive, {error}") from error

    def stamp(self, item: str) -> str:
        entry = self._open().getinfo(item)
        return f"{entry.file_size}:{entry.CRC:08x}"

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.name = state["name"]
        self._start()

    def __del__(self) -> None:
        if getattr(self, "_archive", None) is not None:
            self._archive.close()  # type: ignore[union-attr]


def open_zip(path: Path) -> tuple[ZipSource, Members]:
    """Lists a zip archive without unpacking any of it.

    Raises:
        InputError: It is damaged, or would unpack to far more than it is.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"Expected a sound zip archive: {str(path)!r}. Received: {error}.") from error
    members, seen = Members(), set[str]()
    total = 0
    for entry in entries:
        name = entry.orig_filename if not entry.orig_filename.isascii() else entry.filename
        if entry.is_dir():
            continue
        if stat.S_ISLNK(entry.external_attr >> 16):
            members.refuse("link in the archive", name)
        elif entry.flag_bits & ENCRYPTED_FLAG:
            members.refuse("encrypted", name)
        elif members.accepts(entry.filename, entry.file_size):
            total += entry.file_size
            if entry.filename in seen:
                members.refuse("repeated name", name)
            else:
                seen.add(entry.filename)
                members.files.append(entry.filename)
    check_total(total, path.stat().st_size, str(path))
    return ZipSource(str(path)), members
