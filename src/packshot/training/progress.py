"""What a person sees of a training: a line now and then, and its curves."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections.abc import Mapping, Sequence

from packshot.training.log import Log, Pixels
from packshot.training.state import Row

SECONDS_BETWEEN_LINES = 5.0
logger = logging.getLogger(__name__)


class Progress:
    """A Log that writes a line to Python's logging every few seconds: how far, how fast, how long still, and the losses."""

    def __init__(self, run: str, steps: int, batch_size: int) -> None:
        self.run, self.steps, self.batch_size = run, steps, batch_size
        self.last: tuple[float, int] | None = None
        """When it was told last, and of which step: the pace is that of the way since, so a resumed run's is right at once."""
        self.spoke = -SECONDS_BETWEEN_LINES

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        now = time.monotonic()
        before, self.last = self.last, (now, step)
        if now - self.spoke < SECONDS_BETWEEN_LINES and step < self.steps:
            return
        self.spoke = now
        told = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        logger.info("%s %d/%d%s  %s", self.run, step, self.steps, self._pace(before, now, step), told)

    def picture(self, step: int, name: str, pixels: Pixels) -> None:
        """Pictures are not for a line of text."""

    def _pace(self, before: tuple[float, int] | None, now: float, step: int) -> str:
        if before is None or step <= before[1] or now <= before[0]:
            return ""
        a_second = (step - before[1]) / (now - before[0])
        left = round((self.steps - step) / a_second)
        return f"  {a_second * self.batch_size:.0f} images/s  {left // 60}:{left % 60:02d} left"


class Both:
    """A Log that tells two others."""

    def __init__(self, first: Log, second: Log) -> None:
        self.first, self.second = first, second

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.first.metrics(step, values)
        self.second.metrics(step, values)

    def picture(self, step: int, name: str, pixels: Pixels) -> None:
        self.first.picture(step, name, pixels)
        self.second.picture(step, name, pixels)


def curves_csv(history: Sequence[Row]) -> str:
    """The losses as CSV: `step`, then a column a loss in the order in which they first appeared; empty where one had no turn."""
    names = list(dict.fromkeys(name for row in history for name in row.values))
    sink = io.StringIO()
    table = csv.writer(sink, lineterminator="\n")
    table.writerow(["step", *names])
    for row in history:
        table.writerow([row.step, *(f"{row.values[name]:.6g}" if name in row.values else "" for name in names)])
    return sink.getvalue()
