"""W2: how long one task takes, there and back, when nothing else runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.plain_noop import noop

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.pools.pool import Pool
    from benchmarks.workload import Setting

ROUND_TRIPS = 500
WARM_UP = 50


def percentiles(round_trip: Callable[[int], object], setting: Setting) -> dict[str, float]:
    """Return the median and the 99th percentile of a round trip [us]."""
    for number in range(WARM_UP):
        round_trip(number)
    times = []
    for number in range(setting.count or ROUND_TRIPS):
        started = time.perf_counter()
        round_trip(number)
        times.append((time.perf_counter() - started) * 1e6)
    times.sort()
    return {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}


def ask(setting: Setting, pool: Pool) -> dict[str, float]:
    """Submit a task, wait for its result; again."""
    return percentiles(lambda number: pool.result(pool.submit(noop, number)), setting)
