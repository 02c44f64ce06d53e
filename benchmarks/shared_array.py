"""W4: many tasks that all read one array of 10 MB.

The clock starts with the array in the application's memory, nowhere else, and workers that are
up; whatever a pool does to hand it over counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.clocks import check_equal, timed
from benchmarks.plain_work import PARTS

if TYPE_CHECKING:
    from benchmarks.pools.pool import Pool
    from benchmarks.workload import Setting

READERS = 1_000
LENGTH = 10_000_000 // 8


def read(setting: Setting, pool: Pool) -> dict[str, float]:
    """Let each task read a part of it, in the pool's usual way."""
    count = setting.count or READERS
    array = _array()
    parts: list[float] = []
    metrics = timed(count, lambda: len(_filled(parts, pool.read_parts(array, count))))
    _check(array, sum(parts), count)
    return metrics


def read_in_system(setting: Setting, pool: Any) -> dict[str, float]:
    """Let the tasks of a system read an array that the system holds."""
    from benchmarks.shared_array_system import ReadingSystem  # noqa: PLC0415 - peers must not pay for it

    count = setting.count or READERS
    array = _array()
    totals: list[float] = []
    metrics = timed(count, lambda: _noted(totals, pool.run(ReadingSystem(array, count))))
    _check(array, totals[0], count)
    return metrics


def read_by_closure(setting: Setting, pool: Pool) -> dict[str, float]:
    """Submit closures that hold the array."""
    count = setting.count or READERS
    array = _array()
    parts: list[float] = []

    def read_part(number: int) -> float:
        return float(array[number % PARTS :: PARTS].sum())

    def work() -> int:
        answers = [pool.submit(read_part, number) for number in range(count)]
        return len(_filled(parts, pool.results(answers)))

    metrics = timed(count, work)
    _check(array, sum(parts), count)
    return metrics


def _array() -> Any:
    return np.arange(LENGTH, dtype=np.float64)


def _filled(parts: list[float], results: Any) -> list[float]:
    parts.extend(results)
    return parts


def _noted(totals: list[float], answer: tuple[int, float]) -> int:
    count, total = answer
    totals.append(total)
    return count


def _check(array: Any, total: float, count: int) -> None:
    expected = sum(float(array[number % PARTS :: PARTS].sum()) for number in range(count))
    check_equal(abs(total - expected) < 1e-6 * expected, True, f"sum {total} of {expected}")  # noqa: FBT003 - compared
