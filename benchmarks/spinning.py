"""W6: 2 000 tasks that spin 1 ms, against a bare fork that does the same.

Spinning ends by the clock, so that a task takes 1 ms whatever else runs. Efficiency is the work
divided by what the workers could do meanwhile.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from benchmarks.clocks import check_equal, timed
from benchmarks.plain_work import spin

if TYPE_CHECKING:
    from benchmarks.pools.pool import Pool
    from benchmarks.workload import Setting

TASKS = 2_000
MILLISECOND = 1e-3


def submit(setting: Setting, pool: Pool) -> dict[str, float]:
    """Submit each by itself."""
    count = setting.count or TASKS

    def work() -> int:
        answers = [pool.submit(spin, MILLISECOND) for _ in range(count)]
        return sum(1 for _ in pool.results(answers))

    return _efficiency(count, setting, timed(count, work))


def each_finished(setting: Setting, pool: Pool) -> dict[str, float]:
    """See each result by itself, for a pool that cannot submit one task."""
    count = setting.count or TASKS
    return _efficiency(
        count, setting, timed(count, lambda: sum(1 for _ in pool.each_finished(spin, [MILLISECOND] * count)))
    )


def run_system(setting: Setting, pool: Any) -> dict[str, float]:
    """Run a task system."""
    from benchmarks.spinning_system import SpinningSystem  # noqa: PLC0415 - peers must not pay for it

    count = setting.count or TASKS
    return _efficiency(count, setting, timed(count, lambda: int(pool.run(SpinningSystem(count, MILLISECOND)))))


def on_bare_fork(setting: Setting) -> dict[str, float]:
    """Fork, let every process do its share, and wait for their ends."""
    count = setting.count or TASKS
    started = time.perf_counter()
    shares = [len(range(share, count, setting.workers)) for share in range(setting.workers)]
    children = [_fork_share(share) for share in shares]
    codes = [os.waitpid(child, 0)[1] for child in children]
    seconds = time.perf_counter() - started
    check_equal(codes, [0] * setting.workers, "exit codes")
    return _efficiency(count, setting, {"seconds": seconds})


def _fork_share(count: int) -> int:
    child = os.fork()
    if child:
        return child
    for _ in range(count):
        spin(MILLISECOND)
    os._exit(0)


def _efficiency(count: int, setting: Setting, metrics: dict[str, float]) -> dict[str, float]:
    return {"efficiency": count * MILLISECOND / setting.workers / metrics["seconds"], **metrics}
