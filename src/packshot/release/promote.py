"""Make the reviewed candidate the champion."""

from __future__ import annotations

import logging

from packshot.adapters.registry import Registered, Registry
from packshot.adapters.shelf import Shelf, Shelved
from packshot.errors import IntegrityError, ReviewRefused
from packshot.failpoints import failpoint
from packshot.layout import Layout
from packshot.params import Params
from packshot.records import Live, ServiceCard
from packshot.release.bundle import keep_learnt
from packshot.release.ledger import Entry, Ledger
from packshot.release.live import mirror, reconcile
from packshot.release.review import assess, champion_of, decide, fetched, find_candidate
from packshot.serving.engine import Engine
from packshot.sources.drift import keep_profile

log = logging.getLogger(__name__)


def promote(params: Params, layout: Layout, *, by: str) -> Live:
    """Promote the candidate: reviewed, fetched, checked, shelved, warmed up; then a row in the ledger; then live.json and alias.

    The row decides. Killed before it, the old champion stays; killed after it, promoting again (or rolling back) finishes what is
    left. Promoting the champion again changes nothing. Raises UsageError where there is no candidate, ReviewRefused where its
    review is missing, refused or stale, IntegrityError where its bytes are not those that were judged or it draws no pictures,
    PromotionLost where somebody else promoted in between.
    """
    registry, ledger = Registry(layout, params.release.model), Ledger(layout.ledger)
    head = ledger.head()
    candidate = find_candidate(registry)
    if head and head.champion == champion_of(candidate):
        log.info("version %d is the champion already (epoch %d)", candidate.version.version, head.epoch)
    else:
        head = _promote(params, layout, registry, ledger, candidate, head, by)
    live = reconcile(layout)
    if live is None or live.epoch < head.epoch:
        raise IntegrityError("the ledger lost its last row", where=str(layout.ledger), advice="look at the disk")
    failpoint("promote.live")
    mirror(layout, params.release.model, head)
    failpoint("promote.mirrored")
    return live


def _promote(
    params: Params, layout: Layout, registry: Registry, ledger: Ledger, candidate: Registered, head: Entry | None, by: str
) -> Entry:
    with fetched(registry, candidate) as bundle:
        outcome = assess(candidate, decide(params.release, ledger, candidate, bundle, head), head)
        if outcome.decision != "approved":
            where = f"{candidate.version.model} version {candidate.version.version}"
            raise ReviewRefused(f"{outcome.decision}: {outcome.reason}", where=where, advice="packshot review")
        failpoint("promote.reviewed")
        card = bundle.service_card(candidate)
        shelved = Shelf(layout).put(bundle.weights, card)
        keep_profile(layout, bundle.profile)
        keep_learnt(layout, bundle)
    failpoint("promote.shelved")
    warm_up(shelved, card)
    failpoint("promote.warm")
    entry = ledger.append("promotion", champion_of(candidate), after=head, by=by, reason=f"{outcome.by}: {outcome.reason}")
    failpoint("promote.committed")
    return entry


def warm_up(shelved: Shelved, card: ServiceCard) -> None:
    """Load what is about to be served as the service will, and draw golden pictures of every category with it.

    Raises IntegrityError where a picture is not finite, flat, or not the same when it is drawn again.
    """
    live = Live(
        epoch=1,
        model=card.model,
        version=card.version,
        sha256=card.sha256,
        weights=str(shelved.weights),
        card=str(shelved.card),
    )
    Engine.load(live).warm_up()
