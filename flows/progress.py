"""How far a training is, in Prefect: read off the lines that it prints."""

from __future__ import annotations

import re
import time
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

STEP = re.compile(r"([\w-]+) (\d+)/(\d+)\b")
SECONDS_BETWEEN = 2.0


class Progress:
    """A progress artifact for each run of a training, which follows its lines `vae 120/600  340 images/s ...`."""

    def __init__(self) -> None:
        self._artifacts: dict[str, UUID] = {}
        self._shown_at: dict[str, float] = {}

    def follow(self, line: str) -> None:
        """Show the step that `line` names, a run's at most every two seconds, and always its last one."""
        found = STEP.search(line)
        if not found:
            return
        run, step, steps = found[1].lower().replace("_", "-"), int(found[2]), int(found[3])
        if not 0 <= step <= steps or not steps:
            return
        if step < steps and time.monotonic() - self._shown_at.get(run, 0.0) < SECONDS_BETWEEN:
            return
        self._shown_at[run] = time.monotonic()
        percent, told = 100.0 * step / steps, line[found.start() :].strip()
        if run in self._artifacts:
            update_progress_artifact(self._artifacts[run], progress=percent, description=told)
        else:
            self._artifacts[run] = cast(UUID, create_progress_artifact(percent, key=f"train-{run}", description=told))
