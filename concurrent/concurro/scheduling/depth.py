"""How many tasks are sent ahead, and how many at once.

Tasks of microseconds are sent deep, so that a worker never waits for a round trip;
tasks of seconds are not sent ahead at all, so that any worker may still take them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurro.records import TaskClass

PREFETCH_SECONDS = 0.025
"""Work sent ahead per worker [s]: a few round trips through a busy master."""

PREFETCH_LIMIT = 1024
"""Most tasks sent ahead per worker."""

BURST_SECONDS = 0.001
"""Work per worker leased by one decision of the strategy [s]."""

BURST_LIMIT = 256
"""Most tasks leased by one decision of the strategy."""

FALL = 0.3
"""How far an estimate falls with each shorter task: from 1 s to sending 10 us deep within 40."""

MEAN_WEIGHT = 0.1
"""What one more attempt counts in a decaying mean."""


def lease_depth(workers: int, duration: float | None) -> int:
    """Return how many leases a slave may hold for tasks of this duration.

    Args:
        workers: Slots of the slave.
        duration: Measured duration of the task class [s]; None before the first.
    """
    if duration is None:
        return workers
    ahead = PREFETCH_LIMIT if duration <= 0 else min(PREFETCH_LIMIT, int(PREFETCH_SECONDS / duration))
    return workers * (1 + ahead)


def burst_size(duration: float | None, workers: int) -> int:
    """Return how many tasks one decision may lease to the chosen slave.

    Args:
        duration: Measured duration of the task class [s]; None before the first.
        workers: Slots of the slave.
    """
    if duration is None:
        return 1
    return max(1, BURST_LIMIT if duration <= 0 else min(BURST_LIMIT, int(BURST_SECONDS * workers / duration)))


def decayed_duration(previous: float | None, *measured: float) -> float:
    """Return the new estimate after attempts: up at once, down slowly.

    A class that was long once is treated as long for a while: what waits behind a long task
    must be taken back. Not for long: until then tasks of microseconds go one by one, each
    with a round trip, which soon costs more than a take-back.

    Args:
        previous: The estimate before [s]; None before the first.
        measured: What they took, in order, one at least [s].
    """
    estimate = measured[0] if previous is None else previous
    for seconds in measured:
        if seconds >= estimate:
            estimate = seconds
        else:
            estimate += (seconds - estimate) * FALL
    return estimate


def measure(task_class: TaskClass, durations: dict[str, float], seconds: list[float]) -> None:
    """Learn from attempts of one class on one slave.

    Args:
        task_class: Their class.
        durations: Class name to decaying mean on that slave [s].
        seconds: How long they took, in order [s].
    """
    task_class.measured += len(seconds)
    task_class.duration = decayed_duration(task_class.duration, *seconds)
    mean = sum(seconds) / len(seconds)
    weight = 1.0 - (1.0 - MEAN_WEIGHT) ** len(seconds)
    name, before = task_class.name, task_class.mean
    task_class.mean = mean if before is None else before + (mean - before) * weight
    before = durations.get(name)
    durations[name] = mean if before is None else before + (mean - before) * weight
