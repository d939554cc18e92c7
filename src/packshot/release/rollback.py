"""Put the previous champion back."""

from __future__ import annotations

from packshot.adapters.shelf import Shelf
from packshot.errors import IntegrityError, UsageError
from packshot.failpoints import failpoint
from packshot.layout import Layout
from packshot.records import Live
from packshot.release.ledger import Entry, Ledger
from packshot.release.live import mirror, read_live, reconcile


def rollback(layout: Layout, *, by: str, reason: str) -> Live:
    """Make the previous champion champion again, from the store alone: neither MLflow nor torch is needed.

    It gets an epoch of its own. A second rollback goes further back, never to what was just found bad; but one that was killed
    before live.json was written is finished by the next. What was rolled back needs a person's approval before it is promoted
    again. The same weights under another version are not gone back to: they would draw the same.
    Raises UsageError where there is nothing to go back to, PromotionLost where somebody promoted in between, MissingArtifact or
    IntegrityError where the store does not have the weights.
    """
    if not reason.strip():
        raise UsageError("a rollback says why", advice="add --reason 'what went wrong'")
    nobody = UsageError("nobody is champion", where=str(layout.ledger), advice="packshot promote")
    if not layout.ledger.is_file():  # opening it makes it
        raise nobody
    ledger = Ledger(layout.ledger)
    head, previous = ledger.head(), ledger.previous()
    if head is None or head.champion is None:
        raise nobody
    shown = read_live(layout.live)
    if head.act == "rollback" and (shown is None or shown.epoch < head.epoch):
        return _finish(layout, head)
    if previous is None:
        raise UsageError(
            f"no champion with other weights stood before version {head.champion.version}",
            where=str(layout.ledger),
            advice="promote another version",
        )
    Shelf(layout).find(previous.model, previous.version, previous.sha256)
    entry = ledger.append("rollback", previous, after=head, by=by, reason=reason.strip())
    failpoint("rollback.committed")
    return _finish(layout, entry)


def _finish(layout: Layout, entry: Entry) -> Live:
    """Let live.json and the alias say what the ledger says."""
    live = reconcile(layout)
    if live is None or live.epoch < entry.epoch:
        raise IntegrityError("the ledger lost its last row", where=str(layout.ledger), advice="look at the disk")
    mirror(layout, live.model, entry)
    return live
