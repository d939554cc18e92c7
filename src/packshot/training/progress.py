"""What a person sees of a training: a line that lives on a terminal, a line now and then elsewhere, and its curves."""

from __future__ import annotations

import csv
import io
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from packshot.training.log import Log, Pixels
from packshot.training.state import Row
from packshot.training.vitals import DEVICE, ENERGY, HOST, PACE

if TYPE_CHECKING:
    from rich.console import Console

SECONDS_BETWEEN_LINES = 5.0
WIDTH = 150
"""Characters of a line; what finds no room stands in the curves."""
SIGNALS = frozenset({"gradient_norm", "real", "drawn"})
"""What a line does not tell."""
LAST = frozenset({"wins", "active_units"})
"""What it tells where there is room."""
logger = logging.getLogger(__name__)


class Progress:
    """A Log that tells how far, how fast, how long still, the losses, the memory and the setbacks.

    On a terminal that is one line which is written again and again, and a plain one at the end; elsewhere it is a plain line to
    Python's logging every few seconds. Where the level is above INFO it is silent.
    """

    def __init__(
        self,
        run: str,
        steps: int,
        batch_size: int,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run, self.steps, self.batch_size, self.clock = run, steps, batch_size, clock
        self.spoke: float | None = None
        self.pace: float | None = None
        """Steps a second."""
        self.told = (clock(), 0, "")
        """When it was told last, of which step, and the rest of the line."""
        self._console = console
        self._live: Any = None
        self._streams: list[tuple[logging.StreamHandler[Any], Any]] = []

    def __enter__(self) -> Self:
        if not logger.isEnabledFor(logging.INFO) or not (self._console or sys.stderr.isatty()):
            return self
        from rich.console import Console
        from rich.live import Live

        terminal = sys.stderr
        console = self._console or Console(file=terminal)
        if not console.is_dumb_terminal:
            self._live = Live(
                console=console,
                get_renderable=self._line,
                redirect_stdout=sys.stdout.isatty(),
                refresh_per_second=2,
                transient=True,
            )
            self._live.start()
            console.show_cursor()  # rich hides it, and a killed training could not give it back
            # What is logged meanwhile goes above the line: through what stands for the terminal while the line lives.
            for handler in logging.getLogger().handlers:
                if isinstance(handler, logging.StreamHandler) and handler.stream is terminal:
                    self._streams.append((handler, handler.setStream(sys.stderr)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            for handler, stream in self._streams:
                handler.setStream(stream)
            self._streams.clear()
            self._live.stop()
            self._live = None
            if error is None and self.told[1]:
                logger.info("%s", self._plain(self.told[1], 0.0))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Tell of `step`, on a terminal always, elsewhere every few seconds and at the last one."""
        if ENERGY in values:
            return
        now, images = self.clock(), values.get(PACE)
        if images is not None:  # else the pace of before says when it ends: after a setback, or where a resumed run retells
            self.pace = images / self.batch_size
        self.told = (now, step, describe(values, images))
        if self._live is not None:
            return
        if self.spoke is not None and now - self.spoke < SECONDS_BETWEEN_LINES and step < self.steps:
            return
        self.spoke = now
        logger.info("%s", self._plain(step, 0.0))

    def picture(self, step: int, name: str, pixels: Pixels) -> None:
        """Pictures are not for a line of text."""

    def _plain(self, step: int, since: float) -> str:
        """`since`: seconds since the step was told."""
        return fit([f"{self.run} {step}/{self.steps}", *self._left(step, since), self.told[2]])

    def _left(self, step: int, since: float) -> list[str]:
        if self.pace is None or step >= self.steps:
            return []
        return [f"{tell_seconds((self.steps - step) / self.pace - since)} left"]

    def _line(self) -> Any:
        """The line that lives: between two rows, the time that is left goes on."""
        from rich.text import Text

        when, step, _ = self.told
        return Text(self._plain(step, self.clock() - when), no_wrap=True, overflow="ellipsis")


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


def describe(values: Mapping[str, float], images: float | None) -> str:
    """The rest of a line: the pace, the memory, the setbacks, the score on the dev split, the losses; the signals last."""
    parts = [] if images is None else [f"{images:.0f} images/s"]
    parts += [f"{values[HOST] / 1e3:.1f} GB"] if HOST in values else []
    parts += [f"{values[DEVICE] / 1e3:.1f} GB of the GPU"] if DEVICE in values else []
    if count := round(values.get("setbacks", 0)):
        parts.append(f"{count} setback{'s' if count > 1 else ''}")
    losses = {name: value for name, value in values.items() if "/" in name and not name.startswith("system/")}
    ranked = sorted(losses, key=lambda name: (not name.startswith("dev/"), name.rpartition("/")[2] in LAST))
    return "  ".join([*parts, *(f"{name} {losses[name]:.4g}" for name in ranked if name.rpartition("/")[2] not in SIGNALS)])


def fit(parts: Sequence[str]) -> str:
    """The parts as a line of at most WIDTH characters, without what would be cut in two."""
    kept: list[str] = []
    for part in "  ".join(filter(None, parts)).split("  "):
        if kept and len("  ".join([*kept, part])) > WIDTH:
            break
        kept.append(part)
    return "  ".join(kept)


def tell_seconds(seconds: float) -> str:
    """A time as 1:05:09, or 5:09 below an hour."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def curves_csv(history: Sequence[Row]) -> str:
    """The losses as CSV: `step`, then a column a loss in the order in which they first appeared; empty where one had no turn."""
    names = list(dict.fromkeys(name for row in history for name in row.values))
    sink = io.StringIO()
    table = csv.writer(sink, lineterminator="\n")
    table.writerow(["step", *names])
    for row in history:
        table.writerow([row.step, *(f"{row.values[name]:.6g}" if name in row.values else "" for name in names)])
    return sink.getvalue()
