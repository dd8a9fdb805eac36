"""Features of pictures as one .npy file, written row by row and there only when whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from tlkit.errors import InputError
from tlkit.prediction.outcome import Prediction


class EmbeddingFile:
    """A file of float32 (pictures, features) that takes the place of `path` when the block ends without an error.

    Rows of pictures that cannot be read are NaN.
    """

    def __init__(self, path: Path, count: int):
        self.path, self.count = path, count
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        self._temporary = Path(name)
        self._rows: np.memmap | None = None

    def __enter__(self) -> EmbeddingFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._rows is not None:
            self._rows.flush()
            os.chmod(self._temporary, 0o644)  # mkstemp makes private files.
            os.replace(self._temporary, self.path)
        self._temporary.unlink(missing_ok=True)

    def keep(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Passes predictions on, writing their features."""
        unread = 0
        for row, prediction in enumerate(predictions):
            if prediction.features is None:
                unread += self._rows is None
            elif self._rows is None:
                self._rows = self._open(len(prediction.features))
                self._rows[:unread] = np.nan
            if self._rows is not None:
                self._rows[row] = np.nan if prediction.features is None else prediction.features
            yield prediction

    def _open(self, features: int) -> np.memmap:
        try:
            return np.lib.format.open_memmap(self._temporary, "w+", np.float32, (self.count, features))
        except OSError as error:
            raise InputError(
                f"Expected room for {self.count:,} rows of {features:,} features. Received: {error}, {self.path}."
            ) from error
