"""Which pictures are meant: files, folders, patterns, tables, lists, archives, standard input; in the order given."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tlkit.data.archives import archive_kind
from tlkit.data.items import Source
from tlkit.data.listing import list_files
from tlkit.data.members import REASONS, Members
from tlkit.data.tables import COLUMN_NAMES
from tlkit.errors import InputError
from tlkit.run import plain_cell

STANDARD_INPUT = "-"
TABLES = {".csv": ",", ".tsv": "\t"}
LISTS = (".txt", ".lst")
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".tbz2", ".bz2", ".txz", ".xz")

# What a folder may hold beside files that can be read, as fields of `data.listing.Listing`.
UNREADABLE = {
    "links_out": "a link that leads out of the folder; name the file itself",
    "links_broken": "a link to nothing",
    "unreadable": "a folder that may not be read",
    "undecodable": "a name that is not valid Unicode",
}


@dataclass(frozen=True)
class Picture:
    """One picture to predict.

    Attributes:
        name: As the user knows it: a path, or `archive.zip/member.jpg`.
        read: Returns the file's bytes, or an array as `data.decode` takes it; raises OSError.
    """

    name: str
    read: Callable[[], bytes | np.ndarray]


def find_pictures(paths: Iterable[str | Path], standard_input: bytes | None = None) -> list[Picture]:
    """Lists the pictures that paths stand for.

    Args:
        paths: Each a picture; a folder, whose files are all taken, in order of their paths; a pattern such as
            `**/*.jpg`; a table (.csv, .tsv) with a column of paths; a list (.txt) of one path a line; an archive
            (.zip, .tar, ...); or `-`, paths on standard input, one a line or separated by zero bytes. Paths in a
            table or list start from its folder.
        standard_input: What `-` stands for.

    Returns:
        The pictures, in the order given. Those that a folder, list or archive names and that cannot be had are among
        them; reading them raises OSError with the reason.

    Raises:
        InputError: A path does not exist, a table has no column of paths, or there is no picture at all.
    """
    given = [os.fspath(path) for path in paths]
    pictures = [picture for path in given for picture in _expand(path, standard_input)]
    if not pictures:
        named = ", ".join(given) or "no path"
        raise InputError(f"Expected at least one picture. Received: {named}, with no file in it.")
    return pictures


def _expand(text: str, standard_input: bytes | None) -> Iterator[Picture]:
    if text == STANDARD_INPUT:
        return _listed(_split_names(standard_input or b""), Path())
    path = Path(text)
    suffix = path.suffix.lower()
    if path.is_dir():
        return _in_folder(path)
    if not path.exists():
        return _matching(text)
    if suffix in TABLES:
        return _listed(_read_table(path, TABLES[suffix]), path.parent)
    if suffix in LISTS:
        return _listed(_split_names(path.read_bytes()), path.parent)
    if suffix in ARCHIVES:
        return _in_archive(path)
    return iter([_file(text, path)])


def _matching(pattern: str) -> Iterator[Picture]:
    found = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else []
    if not found:
        raise InputError(f"Expected a picture or a folder of pictures. Received: {pattern}, which does not exist.")
    for name in found:
        path = Path(name)
        yield from _in_folder(path) if path.is_dir() else [_file(name, path)]


def _in_folder(folder: Path) -> Iterator[Picture]:
    listing = list_files(folder)
    problems = {name: told for kind, told in UNREADABLE.items() for name in getattr(listing, kind)}
    for name in sorted([*listing.files, *problems], key=lambda name: name.split("/")):
        path = folder / name
        yield _refused(str(path), problems[name]) if name in problems else _file(str(path), path)


def _listed(names: Iterable[str], root: Path) -> Iterator[Picture]:
    return (_file(name, root / name) for name in names)


def _split_names(data: bytes) -> list[str]:
    separated = data.split(b"\0") if b"\0" in data else data.removeprefix(b"\xef\xbb\xbf").splitlines()
    return [os.fsdecode(name) for name in separated if name.strip()]


def _read_table(path: Path, separator: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter=separator))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Expected a table in UTF-8: {path}. Received: {error}.") from error
    columns = [name for name in (rows[0] if rows else {}) if name is not None]
    by_lower_case = {name.strip().lower(): name for name in reversed(columns)}
    column = next((by_lower_case[name] for name in COLUMN_NAMES["item"] if name in by_lower_case), None)
    if column is None:
        received = f"columns {', '.join(columns)}" if columns else "no rows"
        expected = f"a column of paths in {path}, named such as path, file or image"
        raise InputError(f"Expected {expected}. Received: {received}. A plain list of paths ends in .txt.")
    return [plain_cell(row[column]) for row in rows if row[column]]


def _in_archive(path: Path) -> Iterator[Picture]:
    source, members = _open_archive(path)
    for name in members.files:
        yield Picture(_written(f"{path}/{name}"), partial(source.read, name))
    for reason, names in members.refused.items():
        for name in names if reason != "repeated name" else ():
            yield _refused(f"{path}/{name}", f"refused in the archive, {REASONS[reason][1]}")


def _open_archive(path: Path) -> tuple[Source, Members]:
    from tlkit.data.tars import open_tar
    from tlkit.data.zips import open_zip

    kind = archive_kind(path)
    if not kind:
        raise InputError(f"Expected a zip or tar archive. Received: {path}, which is neither, or is damaged.")
    return open_zip(path) if kind == "zip" else open_tar(path)


def _file(name: str, path: Path) -> Picture:
    return Picture(_written(name), path.read_bytes)


def _refused(name: str, problem: str) -> Picture:
    return Picture(_written(name), partial(_refuse, problem))


def _refuse(problem: str) -> bytes:
    raise OSError(problem)


def _written(name: str) -> str:
    """Returns a name that can be printed: file systems also hold bytes that are no text."""
    return os.fsencode(name).decode("utf-8", "replace")
