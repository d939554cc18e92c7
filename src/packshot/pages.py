"""The pieces of a report that opens anywhere: no script, no font, no picture from outside; one style for all of packshot's."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf8; --card: #fff; --ink: #23211e; --soft: #6f6a63; --line: #e6e1d9;
  --good: #1f7a4d; --bad: #b3352b; --open: #9a6a00; --tint: #f4f1ec; --bar: #8a9bb8; }
@media (prefers-color-scheme: dark) { :root { --paper: #171614; --card: #201f1c; --ink: #ece8e1; --soft: #a29b91; --line: #37342f;
  --good: #5cc492; --bad: #f08a7e; --open: #e0b04c; --tint: #282622; --bar: #7688a8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 30px; line-height: 1.25; margin: 6px 0 10px; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 48px 0 12px; } h3 { font-size: 15px; margin: 26px 0 8px; overflow-wrap: anywhere; }
p { margin: 6px 0; max-width: 76ch; overflow-wrap: anywhere; }
.soft { color: var(--soft); font-weight: 400; } .small { font-size: 13px; }
.verdict { border-left: 6px solid var(--tone); background: var(--card); padding: 20px 26px; border-radius: 0 10px 10px 0;
  box-shadow: 0 1px 3px rgb(0 0 0 / .08); }
.verdict .word { color: var(--tone); font-weight: 700; letter-spacing: .06em; text-transform: uppercase; font-size: 13px; }
.pass { --tone: var(--good); } .reject { --tone: var(--bad); } .inconclusive { --tone: var(--open); }
.state { color: var(--tone); font-weight: 600; white-space: nowrap; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th { text-align: left; color: var(--soft); font-weight: 500; background: var(--tint); white-space: nowrap; }
th, td { padding: 7px 12px; border-bottom: 1px solid var(--line); vertical-align: middle; }
tr:last-child td { border-bottom: 0; } tr.chosen td { background: color-mix(in srgb, var(--good) 9%, transparent); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.range { color: var(--soft); font-size: 12px; } code { font: 12px/1.4 ui-monospace, SFMono-Regular, Menlo, monospace; }
.name { display: inline-block; min-width: 9em; max-width: 44em; overflow-wrap: anywhere; }
figure { margin: 14px 0; } figure img { max-width: 100%; border: 1px solid var(--line); border-radius: 8px;
  background: #fff; display: block; }
figcaption { color: var(--soft); font-size: 13px; margin-bottom: 6px; } details { margin: 14px 0; } summary { cursor: pointer; }
.advice { font-size: 12.5px; line-height: 1.4; min-width: 250px; }
svg { display: block; } svg .span { stroke: var(--soft); stroke-width: 3; stroke-linecap: round; } svg .dot { fill: var(--tone); }
svg .limit { stroke: var(--ink); stroke-width: 1.5; } svg .allowed { fill: var(--good); opacity: .13; }
svg .bin { fill: var(--bar); } svg .out { fill: var(--bad); } svg .before { fill: none; stroke: var(--open); stroke-width: 1.5; }
svg text { fill: var(--soft); font: 10.5px system-ui, sans-serif; }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; margin: 18px 0 8px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px 18px 12px; min-width: 128px;
  flex: 1 1 auto; color: var(--soft); font-size: 13px; }
.tile b { display: block; color: var(--ink); font-size: 23px; line-height: 1.3; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.photos { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 14px 12px; margin: 10px 0 16px; }
.photos figure { margin: 0; min-width: 0; } .photos img { width: 100%; aspect-ratio: 1; object-fit: contain; border-radius: 6px; }
.photos figcaption { font-size: 11.5px; line-height: 1.35; margin: 4px 0 0; overflow-wrap: anywhere;
  max-height: 6.8em; overflow: hidden; }
.photos figcaption b { color: var(--ink); font-weight: 600; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 14px; margin: 10px 0 16px; }
.pair { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px; min-width: 0; }
.pair .photos { grid-template-columns: 1fr 1fr; margin: 0 0 6px; } .pair p { font-size: 12px; line-height: 1.4; margin: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 12px; }
.chart { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px 14px; min-width: 0; }
.chart b { font-weight: 600; } .chart p { font-size: 12px; line-height: 1.4; margin: 0; }
.chart svg { width: 100%; height: auto; }
.bar { background: var(--bar); height: 10px; border-radius: 3px; min-width: 2px; } td:has(> .bar) { width: 40%; min-width: 90px; }
@media (max-width: 560px) { main { padding: 20px 14px 60px; } h1 { font-size: 24px; } .verdict { padding: 14px 16px; }
  .tile { min-width: 96px; padding: 8px 12px; } .tile b { font-size: 19px; } th, td { padding: 6px 8px; }
  .name { min-width: 7em; } }
@media print { .scroll { overflow: visible; } details { break-inside: avoid; } }
"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole HTML document; its policy forbids whatever is not inside it, should anything slip in."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n" + "\n".join(body) + "\n</main>\n</body>\n</html>\n"
    )


def draw_verdict(eyebrow: str, word: str, tone: str, title: str, sentence: str) -> str:
    """The head of a report: where it comes from, the verdict in one word (`tone` is pass, reject or inconclusive), and why."""
    told = f"<p>{escape(sentence)}</p>" if sentence else ""
    return (
        f'<p class="soft small">{escape(eyebrow)}</p><section class="verdict {tone}"><div class="word">{escape(word)}</div>'
        f"<h1>{escape(title)}</h1>{told}</section>"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = (), chosen: int | None = None) -> str:
    """A table of ready HTML cells; the columns in `numbers` stand flush right, the row `chosen` is lit."""
    right = set(numbers)

    def cell(kind: str, column: int, content: str) -> str:
        return f"<{kind}{' class=number' if column in right else ''}>{content}</{kind}>"

    lines = ["<tr>" + "".join(cell("th", column, escape(name)) for column, name in enumerate(head)) + "</tr>"]
    for index, row in enumerate(rows):
        lit = ' class="chosen"' if index == chosen else ""
        lines.append(f"<tr{lit}>" + "".join(cell("td", column, content) for column, content in enumerate(row)) + "</tr>")
    return '<div class="scroll"><table>\n' + "\n".join(lines) + "\n</table></div>"


def tiles(facts: Mapping[str, str]) -> str:
    """A row of figures, each over what it counts."""
    boxes = (f'<div class="tile"><b>{escape(value)}</b>{escape(name)}</div>' for name, value in facts.items())
    return f'<div class="tiles">{"".join(boxes)}</div>'


def figure(png: bytes, caption: str) -> str:
    """A picture that travels inside the page."""
    coded = base64.b64encode(png).decode("ascii")
    told = escape(caption)
    return f'<figure><figcaption>{told}</figcaption><img alt="{told}" src="data:image/png;base64,{coded}"></figure>'


def photos(figures: Iterable[tuple[str, str, str]]) -> str:
    """A grid of thumbnails: (data URI or '', name, what is told of it in HTML); a name too long is cut, hovering shows it."""
    cells = []
    for uri, name, told in figures:
        label = escape(name)
        picture = f'<img alt="{label}" title="{label}" src="{uri}">' if uri else '<p class="soft small">no picture</p>'
        words = f'<span title="{label}">{escape(shorten(name))}</span>' if name else ""
        cells.append(f"<figure>{picture}<figcaption>{'<br>'.join(filter(None, (told, words)))}</figcaption></figure>")
    return f'<div class="photos">{"".join(cells)}</div>' if cells else ""


def shorten(name: str, most: int = 60) -> str:
    """A name of at most `most` characters; its end tells more than its middle."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-(most // 2) :]}"


def state(word: str) -> str:
    """pass, reject or inconclusive, in its colour."""
    return f'<span class="state {word}">{word}</span>'


def bar(share: float) -> str:
    """A bar that fills `share`, 0..1, of its cell."""
    return f'<div class="bar" style="width:{100 * min(1.0, max(0.0, share)):.1f}%"></div>'


def tell_number(value: float) -> str:
    """A number as people read it: 1,023 · 31.2 · 0.0412."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def tell_bytes(count: int) -> str:
    """Bytes as people read them: '512 B', '3.1 MB'."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def plural(count: int, one: str, many: str = "") -> str:
    """'1 photo', '2,000 photos'."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def histogram(
    counts: Sequence[int],
    low: float,
    high: float,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    before: Sequence[int] = (),
) -> str:
    """Counts in equal bins from `low` to `high`, with the bounds drawn in; bins wholly outside them are red.

    `before`, counts of another set of photos in the same bins, is drawn as an outline at its own scale.
    """
    width, height, bins = 240.0, 64.0, len(counts)
    step, span = width / bins, (high - low) or 1.0
    most = max(counts, default=0) or 1
    parts = []
    for index, count in enumerate(counts):
        if not count:
            continue
        left, right = low + index * span / bins, low + (index + 1) * span / bins
        outside = (at_least is not None and right <= at_least) or (at_most is not None and left >= at_most)
        tall = max(1.5, height * count / most)
        parts.append(
            f'<rect class="{"out" if outside else "bin"}" x="{index * step:.1f}" y="{height - tall:.1f}" '
            f'width="{max(1.0, step - 1):.1f}" height="{tall:.1f}"/>'
        )
    if before and max(before):
        tops = [(index * step, height - height * count / max(before)) for index, count in enumerate(before)]
        parts.append('<path class="before" d="M0,64 ' + " ".join(f"V{y:.1f} H{x + step:.1f}" for x, y in tops) + ' V64"/>')
    for bound in (at_least, at_most):
        if bound is not None:
            x = min(width - 1.0, max(1.0, (bound - low) / span * width))
            parts.append(f'<line class="limit" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height:.0f}" stroke-dasharray="3 2"/>')
    return (
        f'<svg viewBox="0 0 240 80" role="img" aria-label="histogram from {low:.4g} to {high:.4g}">{"".join(parts)}'
        f'<text x="0" y="77">{tell_number(low)}</text><text x="240" y="77" text-anchor="end">{tell_number(high)}</text></svg>'
    )
