"""Every evaluation that the gate has judged on this machine, with its verdict: what another policy makes of history."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field
from rich.table import Table
from rich.text import Text

from packshot.evaluation.gate import judge
from packshot.evaluation.policy import GateParams
from packshot.layout import Layout
from packshot.records import Digest, EvaluationReport, Record, Verdict

log = logging.getLogger(__name__)


class Hearing(Record):
    """One evaluation before the gate."""

    at: str
    """UTC, ISO 8601: when it was first judged under that policy."""
    report: EvaluationReport
    verdict: Verdict


class Replayed(Record):
    """A hearing of the past, and what another policy makes of the same evidence."""

    at: str
    report: Digest
    was: Verdict
    would_be: Verdict

    @property
    def changed(self) -> bool:
        """Whether another checkpoint goes on than did, or one where none did, or none where one did."""
        return self.was.candidate != self.would_be.candidate


class Replay(Record):
    """All of history under another policy, the oldest first."""

    policy: Digest
    hearings: tuple[Replayed, ...] = Field(min_length=1)


def keep_hearing(layout: Layout, evaluation: Digest, report: EvaluationReport, verdict: Verdict) -> int:
    """Note a hearing, and say how many evaluations of this dataset the gate has seen, this one among them.

    `evaluation` is the digest of what was measured without a clock: the same under the same policy is the same hearing. The
    held-out photos of one dataset wear out with every evaluation that somebody chooses by (Blum and Hardt 2015, 1502.04585).
    """
    path = layout.hearings / f"{report.dataset[:16]}-{evaluation[:16]}-{verdict.policy[:16]}.json"
    if not path.is_file():
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        Hearing(at=at, report=report, verdict=verdict).write(path)
    looks = {other.name.split("-")[1] for other in layout.hearings.glob(f"{report.dataset[:16]}-*.json")}
    return len(looks)


def read_hearings(layout: Layout) -> tuple[Hearing, ...]:
    """Every hearing, the oldest first. Raises IntegrityError where a file is none."""
    paths: list[Path] = sorted(layout.hearings.glob("*.json"))
    return tuple(sorted((Hearing.read(path) for path in paths), key=lambda hearing: hearing.at))


def replay(hearings: tuple[Hearing, ...], params: GateParams) -> Replay:
    """Judge every hearing anew under `params`, each beside the champion of its day, who might have been another by then."""
    return Replay(
        policy=params.content_digest(),
        hearings=tuple(
            Replayed(
                at=hearing.at,
                report=hearing.report.content_digest(),
                was=hearing.verdict,
                would_be=judge(hearing.report, params),
            )
            for hearing in hearings
        ),
    )


def tell_replay(told: Replay) -> Table:
    """History as a table: a line each hearing, what it came to and what it would have."""
    table = Table("at (UTC)", "who went on", "who would", "why", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for one in told.hearings:
        names = [verdict.candidate.name if verdict.candidate else "none" for verdict in (one.was, one.would_be)]
        mark = "yellow" if one.changed else ""
        table.add_row(one.at[:19].replace("T", " "), names[0], Text(names[1], mark), one.would_be.reason)
    return table
