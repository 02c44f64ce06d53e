"""Clocks of a measurement: of the wall, and of the processors."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable


def rate(count: int, work: Callable[[], int]) -> dict[str, float]:
    """Return tasks per second, and what a task costs in all our processes.

    Args:
        count: Tasks.
        work: Returns how many results it saw.

    Raises:
        AssertionError: They were not so many.
    """
    metrics = timed(count, work)
    return {"rate": count / metrics["seconds"], **metrics}


def timed(count: int, work: Callable[[], int]) -> dict[str, float]:
    """Return seconds, and microseconds of processors per task: user and system, this process and those below it.

    Raises:
        AssertionError: There were not `count` results.
    """
    processors = processor_seconds()
    started = time.perf_counter()
    seen = work()
    seconds = time.perf_counter() - started
    used = processor_seconds() - processors
    check_equal(seen, count, "results")
    return {"seconds": seconds, "cpu_us": used / count * 1e6}


def processor_seconds() -> float:
    """Return what this process and all below it have used of the processors, those included that have ended [s]."""
    me = psutil.Process()
    total = 0.0
    for process in [me, *me.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.Error:  # it has just ended
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def check_equal(seen: object, expected: object, what: str) -> None:
    """Stop a measurement of something else than what it claims.

    Raises:
        AssertionError: What was seen is not what was expected.
    """
    if seen != expected:
        message = f"{what}: {seen}, not {expected}"
        raise AssertionError(message)
