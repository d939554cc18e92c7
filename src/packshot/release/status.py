"""What is served, what waits, and how it came to be."""

from __future__ import annotations

from typing import Literal

from packshot.adapters.registry import Registry
from packshot.adapters.tracking import SECONDS_TO_ANSWER
from packshot.errors import PackshotError
from packshot.layout import Layout
from packshot.records import Record
from packshot.release.ledger import Entry, Ledger
from packshot.release.live import live_of, read_live


class Status(Record):
    """Where the release of a project stands."""

    model: str
    epoch: int
    """Of the last entry in the ledger; 0 before the first promotion."""
    champion: int | None
    """The champion's version, by the ledger."""
    sha256: str
    live: Literal["in step", "behind", "broken", "nothing"]
    """Whether live.json says what the ledger says. `promote` (again) or `rollback` puts right what is behind."""
    candidate: int | None
    review: str
    """Of the candidate: approved, refused, waiting, or not reviewed."""
    alias: int | None
    """The version that MLflow's alias `champion` names; the ledger counts."""
    registry: str
    """Why nothing is known of the registry; empty where it answers."""
    history: tuple[Entry, ...]
    """The oldest first."""


def status(layout: Layout) -> Status:
    """Read ledger, live.json and registry; without MLflow the rest is told all the same."""
    history = Ledger(layout.ledger).history() if layout.ledger.is_file() else ()
    named = (entry.champion.model for entry in reversed(history) if entry.champion)
    model = next(named, None) or _declared_model(layout)
    head = history[-1] if history else None
    candidate = champion = None
    fault = ""
    try:
        registry = Registry(layout, model, seconds=SECONDS_TO_ANSWER)
        candidate, champion = registry.at("candidate"), registry.at("champion")
    except PackshotError as error:
        fault = str(error)
    return Status(
        model=model,
        epoch=head.epoch if head else 0,
        champion=head.champion.version if head and head.champion else None,
        sha256=head.sha256 or "" if head else "",
        live=_live(layout, head),
        candidate=candidate.version.version if candidate else None,
        review=candidate.tags.get("review", "not reviewed") if candidate else "",
        alias=champion.version.version if champion else None,
        registry=fault,
        history=history,
    )


def _declared_model(layout: Layout) -> str:
    from packshot.params import load_params  # it loads every room: not where the ledger knows

    return load_params(layout.params).release.model


def _live(layout: Layout, head: Entry | None) -> Literal["in step", "behind", "broken", "nothing"]:
    if head is None or head.champion is None:
        return "behind" if layout.live.exists() else "nothing"
    try:
        expected = live_of(layout, head.epoch, head.champion)
    except PackshotError:
        return "broken"
    return "in step" if read_live(layout.live) == expected else "behind"
