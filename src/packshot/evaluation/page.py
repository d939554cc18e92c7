"""The pieces of the gate's report that only it needs: numbers with their intervals, and the bounds that they are held against."""

from __future__ import annotations

from packshot.records import Finding


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
