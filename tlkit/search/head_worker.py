"""The one process that fits heads: started once, fed a trial a line, started anew where it died."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from tlkit.search.processes import Conversation, Stopped


class HeadWorker:
    """Fits heads in a process that imports no backend and keeps features and their rotation in memory.

    Args:
        log: File for what it prints.
    """

    def __init__(self, log: Path) -> None:
        self.conversation = Conversation("tlkit.search.head_fitting:main", log)

    def __enter__(self) -> HeadWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fit(self, task: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Runs one trial; see `head_fitting.fit_trial`.

        Returns:
            Its answer; where the process died, `reason` and `message`.

        Raises:
            Stopped: The deadline has passed.
        """
        try:
            self.conversation.tell(json.dumps(task))
            line = self.conversation.hear(deadline)
        except Stopped:
            self.close()
            raise
        except (BrokenPipeError, EOFError):
            return self.conversation.ended()
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """Ends the process."""
        self.conversation.close()
