"""Numbered states of a long computation on disk: each whole or not there, the previous one kept, older ones removed.

A state is one `.npz` file of arrays and of facts as JSON. Arrays that stay the same for many states lie in files of
their own, written once. Every part carries a checksum (CRC-32, as zip files have it): whatever a crash has spoilt is
found when it is read, and the state before it then serves.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkit import run
from tlkit.errors import InputError

VERSION = 1  # Of the files.
KEPT = 2  # States: the newest, and the one before it in case that is damaged.
STATES, SHARED = "state-*.npz", "arrays-*.npz"
HEADER = "header"  # Name of the JSON text in a state's file.

Arrays = Sequence[np.ndarray]


@dataclass(frozen=True)
class Saved:
    """A state as it was saved.

    Attributes:
        facts: JSON-able.
        arrays: Lists of arrays by name.
    """

    facts: dict[str, Any]
    arrays: dict[str, list[np.ndarray]]


class Checkpoint:
    """A folder of states. One process at a time may use it: what keeps others away is the caller's matter.

    Args:
        folder: Made when the first state is saved.

    Attributes:
        notes: What loading found wrong, one line each.
        saves: States that this process has saved.
        seconds: What that took.
        peak_bytes: The most that the folder has taken on disk since.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.notes: list[str] = []
        self.saves, self.seconds, self.peak_bytes = 0, 0.0, 0
        self._referred: dict[Path, set[str]] = {}  # To which files each state on disk refers.
        self._put = 0

    def save(
        self, facts: Mapping[str, Any], arrays: Mapping[str, Arrays], shared: Mapping[str, str] | None = None
    ) -> None:
        """Saves a state; when this returns it is on disk.

        Args:
            facts: JSON-able; numbers that are not finite are kept.
            arrays: Lists of arrays by name.
            shared: Lists of arrays by name, as `put` called them.

        Raises:
            OSError: The folder cannot be written, or the disk is full; earlier states are as they were.
        """
        start = time.monotonic()
        shared = dict(shared or {})
        lengths = {name: len(group) for name, group in arrays.items()}
        header = {"version": VERSION, "facts": facts, "lengths": lengths, "shared": shared}
        text = json.dumps(header, default=_plain).encode()
        members = {f"{name}.{place}": array for name, group in arrays.items() for place, array in enumerate(group)}
        path = self.folder / f"state-{self._next_number():08d}.npz"
        self._write(path, {HEADER: np.frombuffer(text, np.uint8), **members})
        self._referred[path] = set(shared.values())
        self.peak_bytes = max(self.peak_bytes, run.folder_bytes(self.folder))
        self._remove_old()
        self.saves += 1
        self.seconds += time.monotonic() - start

    def put(self, arrays: Arrays) -> str:
        """Writes arrays that several states will share and returns what they are called; the next state must name them.

        Raises:
            OSError: As for `save`.
        """
        start = time.monotonic()
        self._put += 1
        name = f"arrays-{self._next_number():08d}-{self._put}.npz"
        self._write(self.folder / name, {str(place): array for place, array in enumerate(arrays)})
        self.seconds += time.monotonic() - start
        return name

    def load(self) -> Saved | None:
        """Reads the newest state that is whole; None where there is none.

        Damaged ones are removed, and told in `notes`.

        Raises:
            InputError: Another version of tlkit wrote the states.
        """
        found: Saved | None = None
        for path in sorted(self.folder.glob(STATES), reverse=True):
            try:
                header, saved = self._read_state(path, arrays_too=found is None)
                self._referred[path] = set(header["shared"].values())
                found = found or saved
            except InputError:
                raise
            except Exception:  # The reader of zip files alone raises half a dozen types.
                path.unlink(missing_ok=True)
                self.notes.append(f"The saved state {path} was damaged: the one before it serves.")
        return found

    def remove(self) -> None:
        """Removes all states, and the folder where nothing else lies in it."""
        for pattern in (STATES, SHARED, ".*"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _next_number(self) -> int:
        return 1 + max((int(path.stem.removeprefix("state-")) for path in self.folder.glob(STATES)), default=0)

    def _write(self, path: Path, members: Mapping[str, np.ndarray]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with run.atomic_file(path) as file:
            np.savez(file, **members)  # type: ignore[arg-type]

    def _read_state(self, path: Path, arrays_too: bool) -> tuple[dict[str, Any], Saved | None]:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            header = json.loads(file[HEADER].tobytes())
            if header["version"] != VERSION:
                raise InputError(
                    f"Expected saved states of version {VERSION}. Received: version {header['version']} in {path}. Go "
                    "on with the tlkit that wrote them, or train anew."
                )
            if not arrays_too:
                return header, None
            lengths = header["lengths"]
            arrays = {name: [file[f"{name}.{place}"] for place in range(lengths[name])] for name in lengths}
        return header, Saved(header["facts"], arrays | self._read_shared(header["shared"]))

    def _read_shared(self, names: Mapping[str, str]) -> dict[str, list[np.ndarray]]:
        read: dict[str, list[np.ndarray]] = {}
        for name in set(names.values()):
            with open(self.folder / name, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                read[name] = [file[str(place)] for place in range(len(file.files))]
        return {group: read[name] for group, name in names.items()}

    def _remove_old(self) -> None:
        for path in sorted(self._referred)[:-KEPT]:
            path.unlink(missing_ok=True)
            del self._referred[path]
        needed = set().union(*self._referred.values())
        for path in (*self.folder.glob(SHARED), *self.folder.glob(".*")):  # With what killed writes have left.
            if path.name not in needed:
                path.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    """Returns a NumPy number or array as JSON takes it."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"Expected what JSON takes. Received: {type(value).__name__}.")
