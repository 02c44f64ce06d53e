"""The course of a system as one HTML page that needs nothing else."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from concurro.cli.reporting.charts import MOST_LANES, bars_of, histogram, lines, precise, timeline
from concurro.cli.reporting.lanes import place_all
from concurro.ids import SystemState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from concurro.cli.reporting.course import Attempt, Course
    from concurro.cli.reporting.lanes import Placed

MOMENTS = 160
"""Points of a curve over time."""

_ENDED = {state.value for state in SystemState if state.ended}

MOST_ROWS = 50
"""Rows of a table of failures, slaves or kinds."""

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--faint:#8881}
body{font:14px/1.45 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em}
h1{font-size:1.5em;margin-bottom:0}h2{font-size:1.15em;margin-top:2em;border-bottom:1px solid var(--line)}
table{border-collapse:collapse;margin:.6em 0}th,td{padding:.15em .9em .15em 0;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}tr+tr td{border-top:1px solid var(--faint)}
.tiles{display:flex;flex-wrap:wrap;gap:.7em;margin:1em 0}.tiles div{border:1px solid var(--line);
border-radius:6px;padding:.4em .9em}.tiles b{display:block;font-size:1.35em}
svg{width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:currentColor}
.grid{stroke:#8883}.axis{stroke:#888}.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.3em}
.legend span{margin-right:1em}small,.note{opacity:.75}code{font-size:.95em}
"""


def page_text(course: Course) -> str:
    """Return the page."""
    title = escape(f"{course.name}: {course.state}")
    when = datetime.fromtimestamp(course.wall, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    placed = list(place_all(course))
    sections = [
        _figures(course),
        _sampling(course),
        _section("Workers over time", _timeline(course, placed)),
        _section("At work", _at_work(course, placed)),
        _section("Durations", _durations(course)),
        _section("Waiting", _waiting(course)),
        _section("Transfers", _transfers(course)),
        _section("Slaves", _slaves(course)),
        _section("Ratings", _ratings(course)),
        _section("Failures", _failures(course)),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{title}</h1><p><code>{escape(course.system_id)}</code> submitted {when}</p>"
        f"{''.join(sections)}</body></html>\n"
    )


def efficiency(course: Course) -> float | None:
    """Return the share of the workers' time that was work.

    None when there was none.

    1 is the ideal: every worker worked from the submission to the end.
    """
    capacity = course.workers * course.span
    return min(1.0, course.work / capacity) if capacity and course.work else None


def _figures(course: Course) -> str:
    counts = course.counts
    until = "end" if course.state in _ENDED else "now"
    shown = [(precise(course.span), f"from submission to {until}"), (str(counts.get("done", 0)), "tasks done")]
    shown += [
        (str(counts[state]), f"tasks {state}") for state in ("failed", "cancelled", "queued") if counts.get(state)
    ]
    shown.append((f"{counts.get('done', 0) / course.span:.4g}", "tasks per second"))
    if course.workers:  # else nobody looked: nothing has ended yet
        shown.append((f"{course.workers:.3g}", "workers on average"))
    share = efficiency(course)
    if share is not None:
        ideal = min(course.span, max(course.work / course.workers, course.longest))
        shown.append((f"{share:.1%}", "of the workers' time was work"))
        shown.append((precise(ideal), "would be ideal"))
    tiles = "".join(f"<div><b>{value}</b>{name}</div>" for value, name in shown)
    note = (
        "The ideal is all work shared evenly by all workers, but no shorter than the longest task. What is above it "
        "is waiting: for tasks to come, for their way to a worker and back, for the last ones, or other systems' turns."
    )
    return f'<div class="tiles">{tiles}</div><p class="note">{note}</p>'


def _sampling(course: Course) -> str:
    if course.stride == 1:
        return ""
    return (
        f'<p class="note">Of the tasks that were done, one in {course.stride} was kept: what follows is drawn from '
        "those. Counts of tasks, the work of slaves and the ideal are of all.</p>"
    )


def _timeline(course: Course, placed: list[tuple[int, list[Placed]]]) -> str:
    kinds = _kinds(course)
    lanes = [
        (f"{course.slaves[slave].id} {lane + 1}", bars)
        for slave, attempts in placed
        for lane, bars in bars_of(attempts, kinds)
    ]
    if not lanes:
        return ""
    left_out = f" The first {MOST_LANES} of {len(lanes)} are drawn." if len(lanes) > MOST_LANES else ""
    note = (
        "A row is a worker, as far as the master can tell: it knows how long an attempt ran and when its result came. "
        f"Failed attempts are red.{left_out}"
    )
    return f'{timeline(lanes, course.span)}<p class="note">{note}</p>'


def _at_work(course: Course, placed: list[tuple[int, list[Placed]]]) -> str:
    width = course.span / MOMENTS
    busy = [0.0] * MOMENTS
    for _, attempts in placed:
        for one in attempts:
            weight = 1 if one.attempt.failure else course.stride
            first, last = (min(MOMENTS - 1, int(at / width)) for at in (one.begin, one.end))
            for moment in range(first, last + 1):
                share = min(one.end, (moment + 1) * width) - max(one.begin, moment * width)
                busy[moment] += weight * max(0.0, share) / width
    curve = [((moment + 0.5) * width, value) for moment, value in enumerate(busy)]
    workers = [(one.at, float(one.workers)) for one in course.samples]
    if workers:
        workers = [(0.0, workers[0][1]), *workers, (course.span, workers[-1][1])]
    return lines([("at work for this system", curve), ("workers", workers)], course.span, "workers", filled=True)


def _durations(course: Course) -> str:
    seconds = [one.seconds for one in course.done]
    if not seconds:
        return ""
    rows = []
    for kind in _kinds(course)[:MOST_ROWS]:
        own = sorted(one.seconds for one in course.done if one.kind == kind)
        if own:
            spread = [precise(value) for value in (sum(own) / len(own), *_spread(own))]
            rows.append([escape(kind), str(len(own) * course.stride), *spread])
    heads = ("task", "*about" if course.stride > 1 else "*done", "*mean", "*median", "*90 %", "*longest")
    return histogram(seconds, course.stride) + _table(heads, rows)


def _waiting(course: Course) -> str:
    queued = sorted(one.queued for one in course.done if one.queued is not None)
    under_way = sorted(one.under_way for one in course.done)
    rows = [
        [name, *(precise(value) for value in (sum(values) / len(values), *_spread(values)))]
        for name, values in (("until a slave was given it", queued), ("given to a slave, not running", under_way))
        if values
    ]
    if not rows:
        return ""
    note = (
        "The second is its way to the worker, its place behind tasks that the slave had before it (short tasks are "
        "sent ahead), and the way of its result, which may wait for others to travel with."
    )
    return f'{_table(("a task waited", "*mean", "*median", "*90 %", "*longest"), rows)}<p class="note">{note}</p>'


def _transfers(course: Course) -> str:
    done = course.done
    if not done:
        return ""
    known = [one.bytes_out for one in done if one.bytes_out is not None]
    tasks, results = sorted(one.bytes_in for one in done), sorted(known)
    rows = [
        [
            name,
            _about(course, sizes) + size_text(sum(sizes) / len(sizes) * len(done) * course.stride),
            *map(size_text, _spread(sizes)),
        ]
        for name, sizes in (("tasks", tasks), ("results", results))
        if sizes
    ]
    note = (
        "Bytes of tasks and results with their large parts. A part that many tasks share counts for each of them here "
        "and travels once to each machine; between processes of one machine large parts are mapped, not copied."
    )
    return f'{_table(("", "*in sum", "*median", "*90 %", "*largest"), rows)}<p class="note">{note}</p>'


def _about(course: Course, sizes: Sequence[int]) -> str:
    return "about " if course.stride > 1 or len(sizes) < len(course.done) else ""


def _slaves(course: Course) -> str:
    rows = [
        [
            escape(slave.id),
            escape(slave.host),
            str(slave.workers),
            str(slave.attempts),
            precise(slave.seconds),
            f"{min(1.0, slave.seconds / (slave.workers * course.span)):.1%}" if slave.workers else "",
        ]
        for slave in course.slaves[:MOST_ROWS]
    ]
    return _table(("slave", "host", "*workers", "*attempts", "*work", "*of its time"), rows, len(course.slaves))


def _ratings(course: Course) -> str:
    names = sorted({name for sample in course.samples for name in sample.ratings})[:8]
    series = [(name, [(one.at, one.ratings[name]) for one in course.samples if name in one.ratings]) for name in names]
    if not any(len(points) > 1 for _, points in series):
        return ""
    note = f"What the strategy thinks of each slave; less is better.{' The first 8 slaves.' if len(names) == 8 else ''}"  # noqa: PLR2004 - as many lines as one can tell apart
    return f'{lines(series, course.span, "rating", filled=False)}<p class="note">{note}</p>'


def _failures(course: Course) -> str:
    failures = course.failures
    if not failures:
        return ""
    reasons = Counter(one.failure for one in failures)
    counted = [[str(count), escape(reason)] for reason, count in reasons.most_common(MOST_ROWS)]
    rows = [_failure(course, one) for one in failures[:MOST_ROWS]]
    kept = f" The first {len(failures)} are known one by one." if course.failed > len(failures) else ""
    return (
        f"<p>{course.failed} attempts failed; a task may be tried again after it.{kept}</p>"
        f"{_table(('*attempts', 'failed with'), counted, len(reasons))}"
        f"{_table(('task', '*attempt', '*after', 'slave', 'failed with'), rows, len(failures))}"
    )


def _failure(course: Course, one: Attempt) -> list[str]:
    where = escape(course.slaves[one.slave].id)
    return [f"{escape(one.kind)} {one.task}", str(one.number), precise(one.ended), where, escape(one.failure)]


def _kinds(course: Course) -> list[str]:
    return list(dict.fromkeys(one.kind for one in course.attempts))


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return median, 90th percentile and largest of sorted values."""
    last = len(values) - 1
    return values[last // 2], values[round(last * 0.9)], values[last]


def size_text(count: float) -> str:
    """Return bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:  # noqa: PLR2004 - of the next unit
            return f"{count:.3g} {unit}" if count < 1000 else f"{count:.0f} {unit}"  # noqa: PLR2004 - no exponent
        count /= 1024
    return f"{count:.3g} TiB"


def _section(title: str, content: str) -> str:
    return f"<h2>{title}</h2>{content}" if content else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], count: int = 0) -> str:
    """Return a table of escaped cells.

    Columns whose head begins with a star are numbers.
    """
    classes = [' class="n"' if head.startswith("*") else "" for head in heads]
    head = "".join(f"<th{kind}>{name.lstrip('*')}</th>" for name, kind in zip(heads, classes, strict=True))
    lines_ = ["".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, classes, strict=True)) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines_)
    if count > len(lines_):
        body += f'<tr><td colspan="{len(heads)}">and {count - len(lines_)} more</td></tr>'
    return f"<table><tr>{head}</tr>{body}</table>"
