"""How many tasks are sent ahead, and how many at once.

Tasks of microseconds are sent deep, so that a worker never waits for a round trip;
tasks of seconds are not sent ahead at all, so that any worker may still take them.
"""

from __future__ import annotations

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


def decayed_duration(previous: float | None, measured: float) -> float:
    """Return the new estimate: up at once, down slowly.

    A class that was long once is treated as long for a while: what waits behind a long task
    must be taken back. Not for long: until then tasks of microseconds go one by one, each
    with a round trip, which soon costs more than a take-back.
    """
    if previous is None or measured >= previous:
        return measured
    return previous + (measured - previous) * FALL
