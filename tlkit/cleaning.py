"""The verb `clean`: deletes the folder of a run or a search, and no other."""

from __future__ import annotations

import shutil
from pathlib import Path

from tlkit.run import folder_bytes, require_run
from tlkit.run_state import require_idle
from tlkit.search.folder import SETTINGS, owned, read_settings


def require_removable(folder: Path) -> None:
    """Raises InputError where a folder is neither a run nor a search, or a process works on it."""
    if (folder / SETTINGS).exists():
        read_settings(folder)
        with owned(folder):
            return
    require_idle(require_run(folder))


def remove(folder: Path) -> int:
    """Deletes the folder of a run or a search, after making sure that it is one, and returns the bytes freed."""
    require_removable(folder)
    freed = folder_bytes(folder)
    shutil.rmtree(folder)
    return freed
