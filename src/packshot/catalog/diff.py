"""diff: what changed between two versions of the catalogue, in numbers and in pictures."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from packshot.catalog.changes import Diff, compare
from packshot.catalog.pairing import find_changes
from packshot.catalog.pictures import collect_pictures, draw_page, draw_sheet
from packshot.catalog.snapshot import WORKSPACE, open_snapshot
from packshot.layout import Layout
from packshot.records import write_bytes


@dataclass(frozen=True, slots=True)
class Drawn:
    """A Diff, and where it is shown."""

    diff: Diff
    sheet: Path
    """The contact sheet, PNG."""
    page: Path
    """The page, HTML; it opens offline."""
    record: Path
    """The Diff itself, JSON."""


def diff(layout: Layout, before: str = "HEAD", after: str = WORKSPACE, *, folder: Path | None = None) -> Drawn:
    """Compare what was ingested at two Git revisions ('workspace' is what stands in data/ingest now) and draw the changes.

    Writes sheet.png, diff.html and diff.json to `folder` (var/diff/BEFORE-AFTER by default); the same versions give the same
    bytes. Raises as `open_snapshot` and `Snapshot.pixels` do.
    """
    with ExitStack() as open_until:
        old, new = (open_until.enter_context(open_snapshot(layout, name)) for name in (before, after))
        found = find_changes(old, new)
        told = compare(old, new, found)
        shown = collect_pictures(found, old, new)
    names = "-".join(side.commit[:10] or side.name for side in (told.before, told.after))
    place = folder or layout.diffs / names
    drawn = Drawn(told, place / "sheet.png", place / "diff.html", place / "diff.json")
    write_bytes(drawn.sheet, draw_sheet(told, shown))
    write_bytes(drawn.page, draw_page(told, shown).encode())
    told.write(drawn.record)
    return drawn
