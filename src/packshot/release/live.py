"""What follows from the ledger and can be written again at any time: the record that the service follows, and MLflow's alias."""

from __future__ import annotations

import fcntl
import logging
from pathlib import Path

from packshot.adapters.registry import Registry
from packshot.adapters.shelf import Shelf
from packshot.adapters.tracking import SECONDS_TO_ANSWER
from packshot.errors import PackshotError
from packshot.layout import Layout
from packshot.records import Live
from packshot.release.ledger import Champion, Entry, Ledger

log = logging.getLogger(__name__)


def reconcile(layout: Layout) -> Live | None:
    """Make live.json say what the ledger says, and give it back; None where nobody is champion.

    Raises MissingArtifact or IntegrityError where the champion's weights in the store are not there or not those: the record, and
    with it the service, stay as they are.
    """
    layout.live.parent.mkdir(parents=True, exist_ok=True)
    with (layout.live.with_name(f".{layout.live.name}.lock")).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the later of two writers reads the later ledger
        head = Ledger(layout.ledger).head()
        if head is None or head.champion is None:
            layout.live.unlink(missing_ok=True)
            return None
        live = live_of(layout, head.epoch, head.champion)
        if read_live(layout.live) != live:
            live.write(layout.live)
            log.info("%s says version %d (epoch %d)", layout.live, live.version, live.epoch)
        return live


def live_of(layout: Layout, epoch: int, champion: Champion) -> Live:
    """The record for a champion, whose weights in the store are checked."""
    shelved = Shelf(layout).find(champion.model, champion.version, champion.sha256)
    return Live(
        epoch=epoch,
        model=champion.model,
        version=champion.version,
        sha256=champion.sha256,
        weights=str(shelved.weights),
        card=str(shelved.card),
    )


def read_live(path: Path) -> Live | None:
    """What live.json says; None where it says nothing that can be read."""
    try:
        return Live.read(path)
    except PackshotError:
        return None


def mirror(layout: Layout, model: str, entry: Entry) -> None:
    """Let MLflow's alias `champion` say what the ledger says. MLflow's absence is a warning: the ledger counts."""
    try:
        registry = Registry(layout, model, seconds=SECONDS_TO_ANSWER)
        registry.point("champion", entry.champion.version if entry.champion else None)
        if entry.champion:
            registry.note(entry.champion.version, "epoch", str(entry.epoch))
    except PackshotError as error:
        log.warning("the alias 'champion' in MLflow is not up to date, the ledger is: %s", error)
