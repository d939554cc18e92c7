"""What the catalogue's commands say, for a terminal; plain text where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from packshot.catalog.diff import Drawn
from packshot.catalog.pictures import tell_counts
from packshot.catalog.show import Fact, PhotoFacts, Quarantine
from packshot.catalog.status import Ingested, Status, Validated
from packshot.pages import plural, tell_bytes, tell_number
from packshot.records import BadPhoto

PLAIN_WIDTH = 160
"""Columns where there is no terminal: lines are for grep, not for a screen."""

MOST_ROWS = 20
"""Lines of a table on a terminal; the page has more."""


def render(told: RenderableType, *, terminal: bool) -> str:
    """What a renderable looks like: in colour and as wide as the terminal, or plain."""
    width = None if terminal else PLAIN_WIDTH
    console = Console(force_terminal=terminal, no_color=not terminal, width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(told)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def tell_status(now: Status) -> RenderableType:
    """Where the data stands, a line a fact."""
    facts = _facts()
    facts.add_row("source", f"{now.source}{f'  version {now.version[:12]}' if now.version else '  (not under DVC)'}")
    facts.add_row("committed", "yes" if now.committed else Text("no", "yellow"))
    parts: list[RenderableType] = [facts]
    if now.ingested:
        _tell_ingested(facts, now.ingested)
    else:
        facts.add_row("ingested", Text("nothing yet", "yellow"))
    if now.pending is not None:
        words = f"{now.pending.added:,} added, {now.pending.removed:,} removed, {now.pending.changed:,} changed"
        facts.add_row("pending", Text(words, "yellow") if now.pending.total else "nothing: what is offered is ingested")
        for name in now.pending.named:
            facts.add_row("", name)
    facts.add_row("validated", _verdict(now.validated))
    for line in now.validated.broken if now.validated else ():
        facts.add_row("", line)
    for line in now.outdated if now.ingested else ():  # before the first ingest everything is
        first, *others = line.split(", ")
        facts.add_row("out of date", f"{first}{f' and {len(others)} more' if others else ''}")
    for line in now.notes:
        facts.add_row("note", Text(line, "yellow"))
    if now.ingested:
        parts.append(_counts(now.ingested))
    parts.append(Text.assemble("\nnext: ", (now.next.command, "bold"), f"   {now.next.why}"))
    return Group(*parts)


def _tell_ingested(facts: Table, told: Ingested) -> None:
    generation = f", delivery {told.generation}" if told.generation else ""
    facts.add_row(
        "ingested", f"{told.photos:,} photos of {len(told.categories):,} categories{generation}  digest {told.digest[:12]}"
    )
    facts.add_row("size", f"{tell_bytes(told.original_bytes)} of originals, {tell_bytes(told.stored_bytes)} ingested")
    for one in told.attributes:
        share = 100 * one.known / max(1, told.photos)
        facts.add_row(one.kind, f"{one.name}: known of {share:.3g} %, {plural(one.values, 'value')}")
    reasons = ", ".join(f"{one.files:,} {one.reason}" for one in told.quarantined)
    facts.add_row("quarantined", Text(reasons, "yellow") if reasons else "nothing")
    facts.add_row("near-duplicates", plural(told.copies, "pair"))


def _verdict(told: Validated | None) -> Text:
    if told is None:
        return Text("not yet", "yellow")
    words = f"{'accepted' if told.passed else 'rejected'}: {told.kept} of {told.expectations} expectations hold"
    words += f", rights until {told.valid_until}" if told.valid_until else ""
    return Text(
        words if told.current else f"{words} (of other data)", ("green" if told.passed else "red") if told.current else "yellow"
    )


def _counts(told: Ingested) -> RenderableType:
    table = _table("category", "photos", numbers=[1])
    most = sorted(told.categories, key=lambda one: (-one.photos, one.category))
    for one in most[:MOST_ROWS]:
        table.add_row(one.category, f"{one.photos:,}")
    return Group("", table, *_more(len(most), "categories"))


def tell_diff(drawn: Drawn) -> RenderableType:
    """What changed, in tables, and where the sheet and the page are."""
    diff = drawn.diff
    before, after = (f"{side.name}{f' ({side.commit[:10]})' if side.commit else ''}" for side in (diff.before, diff.after))
    parts: list[RenderableType] = [Text.assemble((f"{before} .. {after}: ", "bold"), tell_counts(diff))]
    parts.append(f"{diff.before.photos:,} photos before, {diff.after.photos:,} after")
    if touched := [one for one in diff.categories if one.touched]:
        table = _table("category", "before", "after", "added", "removed", "moved in", "moved out", "changed", numbers=range(1, 8))
        for one in touched[:MOST_ROWS]:
            table.add_row(one.category, *(f"{count:,}" if count else "" for count in one.numbers))
        parts += ["", table, *_more(len(touched), "categories")]
    if known := [one for one in diff.attributes if one.changed or one.before != one.after]:
        table = _table("attribute", "known before", "known after", "changed", numbers=range(1, 4))
        for told in known:
            table.add_row(told.attribute, f"{told.before:,}", f"{told.after:,}", f"{told.changed:,}")
        parts += ["", table]
    if diff.reasons:
        table = _table("quarantined", "before", "after", numbers=range(1, 3))
        for reason in diff.reasons:
            table.add_row(reason.reason, f"{reason.before:,}", f"{reason.after:,}")
        parts += ["", table]
    if shifted := [one for one in diff.drift if one.shifted]:
        table = _table("measure", "median before", "median after", "stability index", numbers=range(1, 4))
        for drift in shifted:
            table.add_row(drift.measure, tell_number(drift.before), tell_number(drift.after), f"{drift.index:.3f}")
        parts += ["", table]
    return Group(*parts, "", f"sheet  {drawn.sheet}", f"page   {drawn.page}", f"json   {drawn.record}")


def tell_quarantine(told: Quarantine) -> RenderableType:
    """The quarantined files, grouped by reason."""
    if not told.total:
        return Text("nothing is quarantined: every file could be taken in")
    counts = dict(told.reasons)
    parts: list[RenderableType] = []
    for reason, files in groupby(told.files, key=lambda bad: bad.reason):
        table = _table("file", "category", "detail")
        for bad in files:
            table.add_row(bad.path, bad.category, bad.detail)
        parts += [Text(f"{reason}: {plural(counts[reason], 'file')}", "bold"), table, ""]
    return Group(*parts[:-1])


def tell_photo(told: PhotoFacts | BadPhoto) -> RenderableType:
    """All about one photo, a line a fact."""
    facts = _facts()
    facts.add_row("photo", Text(told.path, "bold"))
    facts.add_row("category", told.category)
    if isinstance(told, BadPhoto):
        facts.add_row("quarantined", Text(f"{told.reason}: {told.detail}", "red"))
        facts.add_row("sha256", told.sha256 or "not known")
        return facts
    facts.add_row("sha256", told.sha256)
    facts.add_row("original", told.original)
    facts.add_row("stored", told.stored)
    facts.add_row("split", told.split)
    if told.sku:
        facts.add_row("sku", told.sku)
    if told.generation:
        facts.add_row("delivery", f"{told.generation}")
    for title, group in (("attributes", told.attributes), ("rights", told.rights), ("measures", told.measures)):
        for number, line in enumerate(_lines(group)):
            facts.add_row("" if number else title, line)
    for number, copy in enumerate(told.copies):
        facts.add_row("" if number else "near-duplicates", f"{copy.path}  ({copy.category}, {copy.split})  {copy.sha256[:12]}")
    for number, line in enumerate(told.broken):
        facts.add_row("" if number else "breaks", Text(line, "red"))
    if told.suspicion:
        words = f"looks like '{told.suspicion.likely}' ({100 * told.suspicion.confidence:.0f} %)"
        facts.add_row("mislabelled?", Text(words, "yellow"))
    return facts


def _lines(facts: Sequence[Fact]) -> Iterator[str]:
    width = max((len(fact.name) for fact in facts), default=0)
    for fact in facts:
        note = f"  ({fact.note})" if fact.note and fact.value else fact.note
        yield f"{fact.name:<{width}}  {fact.value}{note}"


def _facts() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _table(*heads: str, numbers: Iterable[int] = ()) -> Table:
    """A table without lines; long names are folded, never cut."""
    right = set(numbers)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place in right else "left", overflow="fold")
    return table


def _more(count: int, what: str) -> list[RenderableType]:
    return [Text(f"and {count - MOST_ROWS:,} more {what}", "dim")] if count > MOST_ROWS else []
