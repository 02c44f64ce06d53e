"""Which worker ran what, as far as a master can tell.

It knows where an attempt ran, how long, and when its result came, in batches. Who laid bricks
of known lengths behind each other, each at its latest, from the end backwards, has a course that
fits; a worker's number is then a lane, not a process.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from math import inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from concurro.cli.reporting.course import Attempt, Course


class Placed(NamedTuple):
    """An attempt on a lane.

    Attributes:
        attempt: It.
        lane: Of its slave, from 0.
        begin: When it began, about [s].
        end: When it ended, about [s].
    """

    attempt: Attempt
    lane: int
    begin: float
    end: float


def place(attempts: Iterable[Attempt], lanes: int) -> list[Placed]:
    """Lay the attempts of one slave on lanes that they do not share.

    Args:
        attempts: They, in the order of their ends.
        lanes: How many ran at once at most.

    Returns:
        Them in the order of their begins.
    """
    free = [(inf, lane) for lane in range(max(1, lanes))]
    placed = []
    for attempt in reversed(list(attempts)):
        where = bisect_left(free, (attempt.ended, -1))
        until, lane = free.pop(min(where, len(free) - 1))
        end = min(attempt.ended, until)
        begin = end - attempt.seconds
        insort(free, (begin, lane))
        placed.append(Placed(attempt, lane, max(0.0, begin), max(0.0, end)))
    placed.sort(key=lambda one: (one.begin, one.end))
    return placed


def place_all(course: Course) -> Iterator[tuple[int, list[Placed]]]:
    """Lay the attempts of each slave of a course; give its index with them."""
    by_slave: dict[int, list[Attempt]] = {}
    for attempt in course.attempts:
        by_slave.setdefault(attempt.slave, []).append(attempt)
    for slave in sorted(by_slave):
        yield slave, place(by_slave[slave], course.slaves[slave].workers)
