"""Charts of a report: SVG as text, without scripts.

Whatever there is to draw, a row has at most about a thousand shapes: what is narrower than a pixel is
joined with what is beside it.
"""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING, NamedTuple

from concurro.nodes.display import duration_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from concurro.cli.reporting.lanes import Placed

WIDTH = 960.0
LEFT = 130.0
RIGHT = 16.0
LANE = 15.0
MOST_LANES = 64
"""Workers whose timeline is drawn."""

JOINED = 1.5
"""What is narrower is joined with its neighbours [px]."""

LARGEST = 1e100
"""What is larger is not drawn."""

COLOURS = ("#4878cf", "#6acc65", "#b47cc7", "#c4ad66", "#77bedb", "#e08a4b", "#8c8c8c", "#d88fb8")
FAILED = "#d1342f"

_PLOT = WIDTH - LEFT - RIGHT


class Bar(NamedTuple):
    """Something on a timeline.

    Attributes:
        begin, end: When it was [s].
        colour: Its colour.
        text: What it is.
        attempts: How many it stands for.
    """

    begin: float
    end: float
    colour: str
    text: str
    attempts: int = 1


def timeline(lanes: Sequence[tuple[str, Sequence[Bar]]], span: float) -> str:
    """Return what each worker did over time.

    Args:
        lanes: Name and bars, in their order; of more than `MOST_LANES` the first are drawn.
        span: From 0 to here [s].
    """
    shown = lanes[:MOST_LANES]
    height = LANE * len(shown)
    parts = []
    for row, (name, bars) in enumerate(shown):
        top = row * LANE
        parts.append(_text(LEFT - 6, top + LANE - 4, name, "end"))
        for bar in _joined(bars, JOINED * span / _PLOT):
            left, width = _x(bar.begin, span), max(0.5, (bar.end - bar.begin) / span * _PLOT)
            place = f'x="{left:.1f}" y="{top + 1:.0f}" width="{width:.1f}" height="{LANE - 2:.0f}"'
            parts.append(f'<rect {place} fill="{bar.colour}"><title>{escape(bar.text)}</title></rect>')
    return _svg("".join(parts) + _time_axis(span, height), height + 22)


def lines(series: Sequence[tuple[str, Sequence[tuple[float, float]]]], span: float, unit: str, *, filled: bool) -> str:
    """Return values over time.

    Args:
        series: Name and points (time [s], value); of ratings of users' strategies, which may be infinite or none at
            all: such points are left out.
        span: From 0 to here [s].
        unit: Of the values.
        filled: Whether the first is drawn as an area.
    """
    height = 140.0
    series = [(name, [point for point in points if abs(point[1]) <= LARGEST]) for name, points in series]
    most = max((value for _, points in series for _, value in points), default=0.0)
    least = min(0.0, min((value for _, points in series for _, value in points), default=0.0))
    if most - least < 1 / LARGEST:
        most = least + max(1.0, abs(least))
    scale = (height - 8) / (most - least)
    parts = []
    for tick in _ticks(least, most):
        y = height - (tick - least) * scale
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{tick:g}", "end"))
    for number, (name, points) in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{_x(at, span):.1f},{height - (value - least) * scale:.1f}" for at, value in points)
        if not points:
            continue
        if filled and number == 0:
            zero = height + least * scale
            ends = f"{_x(points[-1][0], span):.1f},{zero:.1f} {_x(points[0][0], span):.1f},{zero:.1f}"
            parts.append(f'<polygon points="{path} {ends}" fill="{colour}" opacity="0.6"/>')
        else:
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f"<title>{escape(name)}</title>")
    parts.append(_text(4, 12, unit, "start"))
    legend = "".join(
        f'<span><i style="background:{COLOURS[number % len(COLOURS)]}"></i>{escape(name)}</span> '
        for number, (name, _) in enumerate(series)
    )
    return _svg("".join(parts) + _time_axis(span, height), height + 22) + f'<p class="legend">{legend}</p>'


def histogram(values: Sequence[float], weight: int) -> str:
    """Return how often which duration was, four bars to a power of ten.

    Args:
        values: Durations [s].
        weight: What each stands for.
    """
    if not values:
        return ""
    counts: dict[int, int] = {}
    for value in values:
        bucket = floor(4 * log10(max(value, 1e-6)))
        counts[bucket] = counts.get(bucket, 0) + weight
    first, last = min(counts), max(counts)
    height, most, width = 140.0, max(counts.values()), _PLOT / (last - first + 1)
    width = min(width, 80.0)
    parts = []
    for bucket in range(first, last + 1):
        count = counts.get(bucket, 0)
        tall = (height - 16) * count / most
        left = LEFT + (bucket - first) * width
        between = f"{precise(10 ** (bucket / 4))} to {precise(10 ** ((bucket + 1) / 4))}: {count}"
        place = f'x="{left + 1:.1f}" y="{height - tall:.1f}" width="{width - 2:.1f}" height="{tall:.1f}"'
        parts.append(f'<rect {place} fill="{COLOURS[0]}"><title>{between}</title></rect>')
        if bucket % 4 == 0 or last - first < 8:  # noqa: PLR2004 - few bars, and there is room
            parts.append(_text(left, height + 16, precise(10 ** (bucket / 4)), "start"))
    parts.append(_text(LEFT - 6, 20, str(most), "end"))
    return _svg("".join(parts), height + 22)


def precise(seconds: float) -> str:
    """Return a duration with three digits, in a unit that fits."""
    if seconds >= 60:  # noqa: PLR2004 - a minute
        return duration_text(seconds)
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if seconds * scale >= 1.0:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _joined(bars: Sequence[Bar], least: float) -> Iterator[Bar]:
    """Join what is too narrow with what is beside it.

    Of another colour only what no eye tells apart; a failure among them shows.
    """
    held: Bar | None = None
    for bar in bars:
        if (
            held is not None
            and bar.begin - held.end < least
            and (
                min(bar.end - bar.begin, (held.end - held.begin) / held.attempts) < least
                if bar.colour == held.colour
                else bar.end - held.begin < least
            )
        ):
            count = held.attempts + bar.attempts
            colour = FAILED if bar.colour == FAILED else held.colour
            held = Bar(held.begin, max(held.end, bar.end), colour, f"{count} attempts", count)
            continue
        if held is not None:
            yield held
        held = bar
    if held is not None:
        yield held


def bars_of(placed: Iterable[Placed], kinds: Sequence[str]) -> list[tuple[int, list[Bar]]]:
    """Return the lanes of a slave, each with its bars."""
    lanes: dict[int, list[Bar]] = {}
    for one in placed:
        attempt = one.attempt
        colour = FAILED if attempt.failure else COLOURS[kinds.index(attempt.kind) % len(COLOURS)]
        retry = f", attempt {attempt.number}" if attempt.number > 1 else ""
        text = f"{attempt.kind} {attempt.task}{retry}: {precise(attempt.seconds)} {attempt.failure}".rstrip()
        lanes.setdefault(one.lane, []).append(Bar(one.begin, one.end, colour, text))
    return sorted(lanes.items())


def _ticks(least: float, most: float, count: int = 5) -> list[float]:
    """Return round numbers between two."""
    rough = (most - least) / count
    power = 10 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    return [number * step for number in range(ceil(least / step), floor(most / step) + 1)]


def _time_axis(span: float, top: float) -> str:
    parts = [f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top}" y2="{top}"/>']
    for tick in _ticks(0.0, span, 8):
        x = _x(tick, span)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + 4}"/>')
        parts.append(_text(x, top + 16, f"{tick:g} s", "middle"))
    return "".join(parts)


def _x(at: float, span: float) -> float:
    return LEFT + min(1.0, max(0.0, at / span)) * _PLOT


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(content: str, height: float) -> str:
    return f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img">{content}</svg>'
