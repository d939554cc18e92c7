"""How far a training is, in Prefect: read off the lines that it prints."""

from __future__ import annotations

import re
import time
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

STEP = re.compile(r"\b(\d+)\s*/\s*(\d+)\b")
SECONDS_BETWEEN = 2.0


class Progress:
    """A progress artifact that follows the lines `... 120/600 ...`; the text of the latest is its description."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._artifact: UUID | None = None
        self._shown_at = 0.0

    def follow(self, line: str) -> None:
        """Show the step that `line` names, at most every two seconds, and always the last one."""
        found = STEP.search(line)
        if not found:
            return
        step, steps = int(found[1]), int(found[2])
        if not 0 <= step <= steps or not steps:
            return
        if step < steps and time.monotonic() - self._shown_at < SECONDS_BETWEEN:
            return
        self._shown_at = time.monotonic()
        percent = 100.0 * step / steps
        if self._artifact is None:
            self._artifact = create_progress_artifact(percent, key=self._key, description=line.strip())
        else:
            update_progress_artifact(self._artifact, progress=percent, description=line.strip())
