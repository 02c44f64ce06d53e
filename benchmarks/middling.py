"""W3 below 1 MiB: float64 arrays of 80 kB and 400 kB, as arguments or as results.

Each has a content of its own. All tasks are submitted, then their results are taken in order, and
dropped one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.clocks import check_equal, rate
from benchmarks.plain_work import first_and_last, make_array

if TYPE_CHECKING:
    from benchmarks.pools.pool import Pool
    from benchmarks.workload import Setting

SMALL, SMALL_COUNT = 10_000, 1_000
LARGE, LARGE_COUNT = 50_000, 400
"""Values of an array, and how many arrays."""


def arguments_of_80_kb(setting: Setting, pool: Pool) -> dict[str, float]:
    """Give tasks arrays of 80 kB."""
    return _give(pool, SMALL, setting.count or SMALL_COUNT)


def arguments_of_400_kb(setting: Setting, pool: Pool) -> dict[str, float]:
    """Give tasks arrays of 400 kB."""
    return _give(pool, LARGE, setting.count or LARGE_COUNT)


def results_of_80_kb(setting: Setting, pool: Pool) -> dict[str, float]:
    """Get arrays of 80 kB from tasks."""
    return _get(pool, SMALL, setting.count or SMALL_COUNT)


def results_of_400_kb(setting: Setting, pool: Pool) -> dict[str, float]:
    """Get arrays of 400 kB from tasks."""
    return _get(pool, LARGE, setting.count or LARGE_COUNT)


def _give(pool: Pool, length: int, count: int) -> dict[str, float]:
    arrays: list[Any] = [np.arange(float(length)) + number for number in range(count + 2)]
    for array in arrays[:2]:
        pool.result(pool.submit(first_and_last, array))

    def work() -> int:
        answers = [pool.submit(first_and_last, array) for array in arrays[2:]]
        for array, ends in zip(arrays[2:], pool.results(answers), strict=True):
            check_equal(ends, (array[0], array[-1]), "ends")
        return len(answers)

    return rate(count, work)


def _get(pool: Pool, length: int, count: int) -> dict[str, float]:
    for number in range(2):
        pool.result(pool.submit(make_array, length, number))

    def work() -> int:
        answers: list[Any] = [pool.submit(make_array, length, number) for number in range(count)]
        answers.reverse()
        number = 0
        while answers:
            array = pool.result(answers.pop())
            check_equal((array[0], array[-1]), (number, number + length - 1), "ends")
            number += 1
        return number

    return rate(count, work)
