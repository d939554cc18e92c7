"""Whether the gate's verdict still speaks of the champion that stands: somebody may have promoted or rolled back since."""

from __future__ import annotations

from packshot.evaluation.review import is_stale
from packshot.layout import Layout
from packshot.records import Verdict
from packshot.release.ledger import Ledger


def verdict_is_stale(layout: Layout) -> bool:
    """Whether data/gate/verdict.json was given beside somebody who is not champion now: evaluate and gate must run again.

    DVC cannot know: who is champion is no file of the project's. Raises MissingArtifact where there is no verdict.
    """
    verdict = Verdict.read(layout.stage("gate") / "verdict.json")
    head = Ledger(layout.ledger).head() if layout.ledger.is_file() else None
    return is_stale(verdict, head.sha256 if head else None)
