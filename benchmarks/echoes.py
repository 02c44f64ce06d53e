"""W3: float64 arrays to a task and back, each with a content of its own.

`rate` is of arrays that are all submitted and then taken in order; `single` of one after the
other. A MiB counts once, although it travels there and back.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.clocks import check_equal, processor_seconds
from benchmarks.plain_work import echo

if TYPE_CHECKING:
    from benchmarks.pools.pool import Pool
    from benchmarks.workload import Setting

MIB = 1024 * 1024
SMALL, SMALL_COUNT = 1, 100
LARGE, LARGE_COUNT = 64, 8


def small(setting: Setting, pool: Pool) -> dict[str, float]:
    """Echo arrays of 1 MiB."""
    return _echo_all(pool, SMALL, setting.count or SMALL_COUNT)


def large(setting: Setting, pool: Pool) -> dict[str, float]:
    """Echo arrays of 64 MiB."""
    return _echo_all(pool, LARGE, setting.count or LARGE_COUNT)


def arrays_of(mebibytes: int, count: int, first: float) -> list[Any]:
    """Return arrays that differ in every value."""
    length = mebibytes * MIB // 8
    return [np.arange(number * length, (number + 1) * length) + first for number in range(count)]


def _echo_all(pool: Pool, mebibytes: int, count: int) -> dict[str, float]:
    for array in arrays_of(mebibytes, 2, 0.25):
        pool.result(pool.submit(echo, array))
    arrays = arrays_of(mebibytes, count, 0.5)
    processors = processor_seconds()
    started = time.perf_counter()
    answers = [pool.submit(echo, array) for array in arrays]
    for array, result in zip(arrays, pool.results(answers), strict=True):
        _check(array, result)
    seconds = time.perf_counter() - started
    used = processor_seconds() - processors
    del answers
    singles = arrays_of(mebibytes, max(1, count // 4), 0.75)
    started = time.perf_counter()
    for array in singles:
        _check(array, pool.result(pool.submit(echo, array)))
    single = len(singles) * mebibytes / (time.perf_counter() - started)
    total = count * mebibytes
    return {"rate": total / seconds, "single": single, "seconds": seconds, "cpu_us_MiB": used / total * 1e6}


def _check(array: Any, result: Any) -> None:
    """Compare what is quick to compare: a value of each page."""
    check_equal(result.shape, array.shape, "shape")
    check_equal(float(result[::512].sum()), float(array[::512].sum()), "values")
