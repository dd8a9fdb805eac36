"""Numbered states of a long computation on disk: each whole or not there, the previous one kept, older ones removed.

A state is a small JSON file that names files of arrays by the digest of their content. So arrays that did not change
are written once, and whatever a crash has spoilt is found when it is read: the state before it then serves.
"""

from __future__ import annotations

import contextlib
import hashlib
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
PATTERN = "state-*.json"

Arrays = Sequence[np.ndarray]


@dataclass(frozen=True)
class Saved:
    """A state as it was saved.

    Attributes:
        facts: JSON-able.
        arrays: Lists of arrays by name.
        names: What each list is called on disk: `Checkpoint.save` takes these in place of arrays.
    """

    facts: dict[str, Any]
    arrays: dict[str, list[np.ndarray]]
    names: dict[str, str]


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
        self._named: dict[Path, set[str]] = {}  # What each state on disk refers to, the oldest state first.
        self._whole: set[str] = set()  # Files of arrays that this process has written, or read and found whole.

    def save(self, facts: Mapping[str, Any], arrays: Mapping[str, Arrays | str]) -> None:
        """Saves a state; when this returns it is on disk.

        Args:
            facts: JSON-able; numbers that are not finite are kept.
            arrays: Lists of arrays by name, or what `put` called them.

        Raises:
            OSError: The folder cannot be written, or the disk is full; earlier states are as they were.
        """
        start = time.monotonic()
        names = {name: group if isinstance(group, str) else self.put(group) for name, group in arrays.items()}
        state = json.loads(_text({"version": VERSION, "facts": facts, "arrays": names}))
        path = self.folder / f"state-{self._next_number():08d}.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        run.write_text(path, _text({"digest": _digest_of_text(_text(state)), "state": state}))
        self._named[path] = set(names.values())
        self.peak_bytes = max(self.peak_bytes, run.folder_bytes(self.folder))
        self._remove_old()
        self.saves += 1
        self.seconds += time.monotonic() - start

    def put(self, arrays: Arrays) -> str:
        """Writes arrays that several states will share and returns what they are called; the next state must name them.

        Raises:
            OSError: As for `save`.
        """
        name = _digest(arrays)
        if name not in self._whole:
            self.folder.mkdir(parents=True, exist_ok=True)
            with run.atomic_file(self.folder / f"{name}.npz") as file:
                np.savez(file, *arrays)
            self._whole.add(name)
        return name

    def load(self) -> Saved | None:
        """Reads the newest state that is whole; None where there is none.

        Damaged ones are removed, and told in `notes`.

        Raises:
            InputError: Another version of tlkit wrote the states.
        """
        found: Saved | None = None
        for path in sorted(self.folder.glob(PATTERN), reverse=True):
            try:
                state = _read_state(path)
                self._named = {path: set(state["arrays"].values()), **self._named}
                if found is None:
                    arrays = {name: self._read(digest) for name, digest in state["arrays"].items()}
                    found = Saved(state["facts"], arrays, state["arrays"])
            except InputError:
                raise
            except (OSError, ValueError, KeyError, TypeError):
                self._named.pop(path, None)
                path.unlink(missing_ok=True)
                self.notes.append(f"The saved state {path} was damaged: the one before it serves.")
        return found

    def remove(self) -> None:
        """Removes all states, and the folder where nothing else lies in it."""
        for path in (*self.folder.glob(PATTERN), *self.folder.glob("*.npz"), *self.folder.glob(".*")):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _next_number(self) -> int:
        return 1 + max((int(path.stem.removeprefix("state-")) for path in self._named), default=0)

    def _read(self, name: str) -> list[np.ndarray]:
        try:
            with open(self.folder / f"{name}.npz", "rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = [file[f"arr_{index}"] for index in range(len(file.files))]
        except Exception as error:  # The zip reader alone raises half a dozen types.
            raise ValueError(str(error)) from error
        if _digest(arrays) != name:
            raise ValueError("digest")
        self._whole.add(name)
        return arrays

    def _remove_old(self) -> None:
        for path in sorted(self._named)[:-KEPT]:
            path.unlink(missing_ok=True)
            del self._named[path]
        needed = set().union(*self._named.values())
        for path in (*self.folder.glob("*.npz"), *self.folder.glob(".*")):  # With what killed writes have left.
            if path.stem not in needed:
                path.unlink(missing_ok=True)
        self._whole &= needed


def _text(value: Any) -> str:
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    """Returns a NumPy number or array as JSON takes it."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"Expected what JSON takes. Received: {type(value).__name__}.")


def _digest(arrays: Arrays) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def _digest_of_text(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _read_state(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    state = found["state"]
    if found["digest"] != _digest_of_text(_text(state)):
        raise ValueError("digest")
    if state["version"] != VERSION:
        raise InputError(
            f"Expected saved states of version {VERSION}. Received: version {state['version']} in {path}. Go on with "
            "the tlkit that wrote them, or train anew."
        )
    return state
