"""A release as a whole: register, review, promote, smoke test; undone as a whole when one of them fails."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

from packshot.adapters.registry import Registry
from packshot.errors import PackshotError
from packshot.layout import Layout
from packshot.params import Params
from packshot.records import Live, Version
from packshot.release.ledger import Entry, Ledger
from packshot.release.live import mirror, reconcile
from packshot.release.promote import promote
from packshot.release.register import register
from packshot.release.review import Outcome, review
from packshot.release.smoke import smoke

log = logging.getLogger(__name__)


class Transaction:
    """The acts of one release. Left by an exception, the champion and the candidate of before are back.

    `by` names who releases; it tells this release's promotion from everybody else's, so it should name the run as well.
    """

    def __init__(self, params: Params, layout: Layout, *, by: str) -> None:
        self.params, self.layout, self.by = params, layout, by
        self._registry = Registry(layout, params.release.model)
        before = self._registry.at("candidate")
        self._candidate = before.version.version if before else None
        self._before = Ledger(layout.ledger).head()
        self._registered: Version | None = None

    def register(self) -> Version:
        self._registered = register(self.params, self.layout)
        return self._registered

    def review(self) -> Outcome:
        return review(self.params, self.layout, by=self.by)

    def promote(self) -> Live:
        return promote(self.params, self.layout, by=self.by)

    def smoke(self, url: str | None = None) -> Live:
        return smoke(self.layout, url)

    def undo(self, reason: str) -> bool:
        """Put back the champion and the candidate of before; whether there was a promotion to undo.

        Only this release's own promotion is undone, by the same compare-and-set. Raises PromotionLost where somebody has
        promoted since: theirs stays.
        """
        promoted = self._promotion()
        if promoted is not None:
            ledger = Ledger(self.layout.ledger)
            champion = self._before.champion if self._before else None
            entry = ledger.append("undoing", champion, after=promoted, by=self.by, reason=reason)
            reconcile(self.layout)
            mirror(self.layout, self.params.release.model, entry)
            log.warning("undone: %s is champion again", f"version {champion.version}" if champion else "nobody")
        if self._registered is not None and self._registered.version != self._candidate:
            try:
                self._registry.point("candidate", self._candidate)
            except PackshotError as error:
                log.warning("the alias 'candidate' in MLflow still names version %d: %s", self._registered.version, error)
        return promoted is not None

    def _promotion(self) -> Entry | None:
        """The row that this release wrote, where it wrote one: known by its epoch, its hand and its weights."""
        epoch = self._before.epoch + 1 if self._before else 1
        rows = (entry for entry in Ledger(self.layout.ledger).history() if entry.epoch == epoch)
        row = next(rows, None)
        ours = self._registered is not None and row is not None and row.act == "promotion" and row.by == self.by
        return row if ours and row is not None and self._registered and row.sha256 == self._registered.sha256 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            return
        reason = str(error) if isinstance(error, PackshotError) else f"{type(error).__name__}: {error}"
        try:
            self.undo(reason or type(error).__name__)
        except PackshotError as fault:
            log.error("not undone: %s", fault)
