"""Numbered states of a long computation on disk: each whole or not there, the previous one kept, older ones removed.

A state is one `.npz` file of two members, a header in JSON and the bytes of all arrays one after the other: hundreds
of members would take longer to write than what is in them. Arrays that stay the same for many states lie in files of
their own, written once. Both members carry a checksum (CRC-32, as zip files have it): whatever a crash has spoilt is
found when it is read, and the state before it then serves.
"""

from __future__ import annotations

import contextlib
import json
import math
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
HEADER, BYTES = "header", "bytes"  # The members of a file.

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
        path = self.folder / f"state-{self._next_number():08d}.npz"
        self._write(path, {"facts": facts, "shared": shared}, arrays)
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
        self._write(self.folder / name, {}, {name: arrays})
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
                header, arrays = _read(path, bytes_too=found is None)
                if found is None:
                    shared = {name: _read(self.folder / name)[1][name] for name in set(header["shared"].values())}
                    arrays |= {group: shared[name] for group, name in header["shared"].items()}
                    found = Saved(header["facts"], arrays)
                self._referred[path] = set(header["shared"].values())
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

    def _write(self, path: Path, header: Mapping[str, Any], arrays: Mapping[str, Arrays]) -> None:
        described = {name: [(array.dtype.str, array.shape) for array in group] for name, group in arrays.items()}
        text = json.dumps({"version": VERSION, "arrays": described, **header}, default=_plain).encode()
        flat = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for group in arrays.values() for array in group]
        self.folder.mkdir(parents=True, exist_ok=True)
        with run.atomic_file(path) as file:
            joined = np.concatenate(flat) if flat else np.zeros(0, np.uint8)
            np.savez(file, **{HEADER: np.frombuffer(text, np.uint8), BYTES: joined})  # type: ignore[arg-type]

    def _remove_old(self) -> None:
        for path in sorted(self._referred)[:-KEPT]:
            path.unlink(missing_ok=True)
            del self._referred[path]
        needed = set().union(*self._referred.values())
        for path in (*self.folder.glob(SHARED), *self.folder.glob(".*")):  # With what killed writes have left.
            if path.name not in needed:
                path.unlink(missing_ok=True)


def _read(path: Path, bytes_too: bool = True) -> tuple[dict[str, Any], dict[str, list[np.ndarray]]]:
    """Reads a file: its header and its lists of arrays; none of these without `bytes_too`."""
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
        header = json.loads(file[HEADER].tobytes())
        if header["version"] != VERSION:
            raise InputError(
                f"Expected saved states of version {VERSION}. Received: version {header['version']} in {path}. Go on "
                "with the tlkit that wrote them, or train anew."
            )
        content = file[BYTES] if bytes_too else np.zeros(0, np.uint8)
    arrays: dict[str, list[np.ndarray]] = {}
    start = 0
    for name, described in header["arrays"].items() if bytes_too else ():
        arrays[name] = []
        for dtype, shape in described:
            size = math.prod(shape) * np.dtype(dtype).itemsize
            # A copy: what lies at odd places is read slowly, or not at all.
            arrays[name].append(np.frombuffer(content[start : start + size].tobytes(), dtype).reshape(shape).copy())
            start += size
    return header, arrays


def _plain(value: Any) -> Any:
    """Returns a NumPy number or array as JSON takes it."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"Expected what JSON takes. Received: {type(value).__name__}.")
