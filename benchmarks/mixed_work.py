"""The work of W13: tasks of 10 us and of 1 s, in three orders."""

from __future__ import annotations

import random
import time

SHORT = 10e-6
LONG = 1.0
"""Durations [s]."""

SHORTS = 5_000
LONGS = 8
"""How many; an even number of long ones can be divided among two workers without a rest."""


def durations(order: str, shorts: int) -> list[float]:
    """Return what each task takes, in order [s].

    Args:
        order: Where the long ones are: `first`, `last` or `random`.
        shorts: How many short ones; there is 8 long ones for each 5 000, at least two.
    """
    longs = max(2, shorts * LONGS // SHORTS)
    if order == "first":
        return [LONG] * longs + [SHORT] * shorts
    mixed = [SHORT] * shorts + [LONG] * longs
    if order == "random":
        random.Random(13).shuffle(mixed)
    return mixed


def work(seconds: float) -> float:
    """Work for so long, and return what it took [s].

    Short work spins, since nothing sleeps for 10 us. Long work sleeps: it occupies its worker and
    leaves the processors to the master and the hosts, so that a makespan above the bound is time
    in which a worker had nothing to do, and not a processor that was shared.
    """
    clock = time.perf_counter
    started = clock()
    if seconds >= LONG:
        time.sleep(seconds)
    else:
        while clock() - started < seconds:
            pass
    return clock() - started


def efficiency(works: list[float], workers: int, makespan: float) -> dict[str, float]:
    """Return the makespan and its part of the best possible.

    Source: R. L. Graham, "Bounds on Multiprocessing Timing Anomalies", 1969: no schedule is
    shorter than the longest task, nor than the work divided by the workers.
    """
    bound = max(*works, sum(works) / workers)
    return {"efficiency": bound / makespan, "seconds": makespan, "bound": bound}
