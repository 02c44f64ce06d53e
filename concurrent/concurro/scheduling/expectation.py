"""What is expected of a slave: how long, how soon, how much to move.

Measured durations of the slave where there are some, else of the class. Strategies and
the judgement of a shadow use the same expectations.
"""

from __future__ import annotations

import heapq
import itertools
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurro.records import SlaveRecord, TaskClass, TaskRecord

SAMPLE = 8
"""Leases of a slave that are looked at; more are taken to be like them."""

MOST_PARTS = 32
"""Blobs of a task that are looked at."""

ASSUMED_RATE = 100e6
"""At which missing bytes are taken to travel [B/s]: that of a usual network."""


def expected_duration(slave: SlaveRecord, task_class: TaskClass, slowness: float = 1.0) -> float | None:
    """Return what a task of a class is expected to take at a slave [s].

    Args:
        slave: Where it would run.
        task_class: Its class.
        slowness: How much longer the slave takes than others, for classes it never ran.

    Returns:
        None for a class that was never measured.
    """
    here = slave.durations.get(task_class.name)
    if here is not None:
        return here
    return None if task_class.mean is None else task_class.mean * slowness


def expected_wait(slave: SlaveRecord, slowness: float = 1.0) -> float:
    """Return when a worker is expected to be free, from now [s].

    A free worker is there at once; else what is held is shared by the workers. Tasks of
    classes never measured count nothing.
    """
    held = len(slave.leases)
    if held < slave.workers or not held:
        return 0.0
    seen, last_class, last = 0.0, None, 0.0
    for task in itertools.islice(slave.leases.values(), SAMPLE):
        task_class = task.task_class
        if task_class is not last_class:
            last_class, last = task_class, expected_duration(slave, task_class, slowness) or 0.0
        seen += last
    return seen * held / (min(held, SAMPLE) * max(1, slave.workers))


def expected_rest(slave: SlaveRecord, now: float, slowness: float = 1.0) -> float | None:
    """Return when the first of what runs is expected to end, from now [s].

    What has run for longer than expected is expected to run as long again: with durations
    of heavy tail, what is late gets later.

    Returns:
        None when nothing runs there, or what runs was never measured.
    """
    first: float | None = None
    for task in itertools.islice(slave.leases.values(), min(SAMPLE, slave.workers)):
        duration = expected_duration(slave, task.task_class, slowness)
        if duration is not None:
            age = max(0.0, now - task.leased_at)
            rest = duration - age if age < duration else age
            first = rest if first is None else min(first, rest)
    if first is None:
        return None
    return first + expected_wait(slave, slowness) * slave.queued / max(1, len(slave.leases))


def parts_of(task: TaskRecord) -> list[tuple[bytes, int]]:
    """Return digest and size of the blobs that a task needs.

    Its code is among them; of many, these are the largest.
    """
    parts = [(digest, size) for blobs in (task.blobs, task.task_class.code[1]) for _, digest, size in blobs or ()]
    return parts if len(parts) <= MOST_PARTS else heapq.nlargest(MOST_PARTS, parts, key=itemgetter(1))


def bytes_to_move(slave: SlaveRecord, parts: list[tuple[bytes, int]]) -> int:
    """Return the bytes of `parts` that a slave lacks [B]."""
    held = slave.blobs
    return sum(size for digest, size in parts if digest not in held)


def can_ever_run(slave: SlaveRecord, task: TaskRecord) -> bool:
    """Say whether a slave could take a task once it has a worker free."""
    if slave.sick or slave.draining:
        return False
    return all(slave.resources.get(name, 0.0) >= amount for name, amount in task.requires.items())
