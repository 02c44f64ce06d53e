"""Memory under loads that must not need any: each process stays flat, however long they are."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from benchmarks.clocks import check_equal
from benchmarks.memory_watch import MemoryWatch
from benchmarks.plain_work import echo, read_part

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.workload import Setting

MILLION = 1_000_000
GIGABYTE = 10**9
MOVED = 10
"""Gigabytes that travel to tasks."""

ECHOED = 64
READ = 10_000_000
"""Sizes of arrays: of echoed ones [MiB], of shared ones [B]."""

READERS = 2
IN_FLIGHT = 4
SYSTEMS, TASKS_OF_A_SYSTEM = 50, 20_000


def lazy(setting: Setting, pool: Any) -> dict[str, float]:
    """Run a system that generates its tasks lazily."""
    from benchmarks.noop import NoopSystem  # noqa: PLC0415 - only here

    count = setting.count or MILLION
    return _watched(count, lambda: int(pool.run(NoopSystem(count))))


def reduced(setting: Setting, pool: Any) -> dict[str, float]:
    """Run a system that reduces results of 1 000 bytes each."""
    from benchmarks.reducing_system import RESULT_SIZE, ReducingSystem  # noqa: PLC0415 - only here

    count = setting.count or MILLION
    return _watched(count, lambda: int(pool.run(ReducingSystem(count))) // RESULT_SIZE)


def echoed(setting: Setting, pool: Any) -> dict[str, float]:
    """Echo arrays of 64 MiB, some at a time, until 10 GB went there and back."""
    import numpy as np  # noqa: PLC0415 - of the extra `bench`

    length = ECHOED * 1024 * 1024 // 8
    count = setting.count or -(-MOVED * GIGABYTE // (length * 8))
    array = np.empty(length)

    def send(number: int) -> Any:
        array[:] = number
        return pool.submit(echo, array.copy())

    def work() -> int:
        waiting: deque[Any] = deque()
        right = 0
        for number in range(count):
            if len(waiting) == IN_FLIGHT:
                right += float(waiting.popleft().result()[-1]) == number - IN_FLIGHT
            waiting.append(send(number))
        return right + sum(float(answer.result()[0]) >= 0 for answer in waiting)

    return _watched(count, work)


def shared(setting: Setting, pool: Any) -> dict[str, float]:
    """Let two tasks each read arrays of 10 MB, one array after the other, 10 GB in all."""
    import numpy as np  # noqa: PLC0415 - of the extra `bench`

    arrays = setting.count or MOVED * GIGABYTE // READ

    def work() -> int:
        waiting: deque[tuple[int, list[Any]]] = deque()
        right = 0
        for number in range(arrays):
            if len(waiting) == IN_FLIGHT:
                right += _read_right(*waiting.popleft())
            array = np.full(READ // 8, float(number))
            waiting.append((number, [pool.submit(read_part, array, part) for part in range(READERS)]))
        return right + sum(_read_right(*answers) for answers in waiting)

    return _watched(arrays, work)


def systems(setting: Setting, pool: Any) -> dict[str, float]:
    """Run 50 systems of 20 000 tasks, one after the other."""
    from benchmarks.noop import NoopSystem  # noqa: PLC0415 - only here

    count = setting.count or TASKS_OF_A_SYSTEM
    pool.run(NoopSystem(count))
    return _watched(SYSTEMS, lambda: sum(int(pool.run(NoopSystem(count))) == count for _ in range(SYSTEMS)))


def _read_right(number: int, answers: list[Any]) -> bool:
    per_part = READ // 8 // 1000
    return all(float(answer.result()) == number * per_part for answer in answers)


def _watched(count: int, work: Callable[[], int]) -> dict[str, float]:
    with MemoryWatch() as watch:
        started = time.perf_counter()
        check_equal(work(), count, "results")
        seconds = time.perf_counter() - started
    return {**watch.report(), "rate": count / seconds, "seconds": seconds}
