"""The pieces of a page that opens anywhere: no script, no font, no picture from outside."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from packshot.records import Finding

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf8; --card: #fff; --ink: #23211e; --soft: #6f6a63; --line: #e6e1d9;
  --good: #1f7a4d; --bad: #b3352b; --open: #9a6a00; --tint: #f4f1ec; }
@media (prefers-color-scheme: dark) { :root { --paper: #171614; --card: #201f1c; --ink: #ece8e1; --soft: #a29b91; --line: #37342f;
  --good: #5cc492; --bad: #f08a7e; --open: #e0b04c; --tint: #282622; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 30px; line-height: 1.25; margin: 6px 0 10px; letter-spacing: -.01em; }
h2 { font-size: 20px; margin: 48px 0 12px; } h3 { font-size: 15px; margin: 26px 0 8px; }
p { margin: 6px 0; max-width: 76ch; } .soft { color: var(--soft); } .small { font-size: 13px; }
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
figure { margin: 14px 0; } figure img { max-width: 100%; border: 1px solid var(--line); border-radius: 8px;
  background: #fff; display: block; }
figcaption { color: var(--soft); font-size: 13px; margin-bottom: 6px; } details { margin: 14px 0; } summary { cursor: pointer; }
.advice { font-size: 12.5px; line-height: 1.4; min-width: 250px; }
svg { display: block; } svg .span { stroke: var(--soft); stroke-width: 3; stroke-linecap: round; } svg .dot { fill: var(--tone); }
svg .limit { stroke: var(--ink); stroke-width: 1.5; } svg .allowed { fill: var(--good); opacity: .13; }
"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole HTML document."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n" + "\n".join(body) + "\n</main>\n</body>\n</html>\n"
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


def figure(png: bytes, caption: str) -> str:
    """A picture that travels inside the page."""
    coded = base64.b64encode(png).decode("ascii")
    told = escape(caption)
    return f'<figure><figcaption>{told}</figcaption><img alt="{told}" src="data:image/png;base64,{coded}"></figure>'


def state(word: str) -> str:
    """pass, reject or inconclusive, in its colour."""
    return f'<span class="state {word}">{word}</span>'


def number(value: float | None) -> str:
    """Three decimals, two from 10 on; a dash where there is none."""
    if value is None:
        return "–"
    told = f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"
    return told.removeprefix("-") if not float(told) else told


def span(value: float | None, low: float | None, high: float | None) -> str:
    """A value with its interval."""
    if value is None:
        return '<span class="soft">withheld</span>'
    if low is None or high is None:
        return number(value)
    return f'{number(value)} <span class="range">[{number(low)}, {number(high)}]</span>'


def draw_interval(finding: Finding, *, at_least: bool) -> str:
    """The interval against its limit, as a small drawing; the allowed side is tinted."""
    if finding.value is None or finding.limit is None:
        return ""
    low = finding.value if finding.low is None else finding.low
    high = finding.value if finding.high is None else finding.high
    left, right = min(low, finding.limit), max(high, finding.limit)
    room = (right - left) * 0.25 or 1.0
    left, right = left - room, right + room

    def at(value: float) -> float:
        return round((value - left) / (right - left) * 150, 1)

    start, stop = (at(finding.limit), 150.0) if at_least else (0.0, at(finding.limit))
    return (
        f'<svg class="{finding.state}" width="150" height="20" role="img" aria-label="interval and limit">'
        f'<rect class="allowed" x="{start}" y="1" width="{round(stop - start, 1)}" height="18"/>'
        f'<line class="span" x1="{at(low)}" y1="10" x2="{at(high)}" y2="10"/>'
        f'<circle class="dot" cx="{at(finding.value)}" cy="10" r="4.5"/>'
        f'<line class="limit" x1="{at(finding.limit)}" y1="1" x2="{at(finding.limit)}" y2="19"/></svg>'
    )
