"""W1: how many tasks per second, submitted one by one, in bulk, and by a task system.

Every clock starts when the workers are up and have run a task, and ends with the last result in
the application. That of a task system includes its submission, its pickle, `gather_result` and
the answer's way back.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from benchmarks.clocks import rate
from benchmarks.plain_noop import noop

if TYPE_CHECKING:
    from benchmarks.pools.pool import Pool
    from benchmarks.workload import Setting
    from concurro import LocalCluster

SUBMITTED = 10_000
IN_BULK = 200_000
BY_A_SYSTEM = 200_000
BY_A_PEER = 20_000
BY_A_SLOW_PEER = 2_000
"""A slow peer is measured with fewer tasks: as many would give the same rate, and take minutes."""


def submit(setting: Setting, pool: Pool) -> dict[str, float]:
    """Submit each task by itself, then take the results in order."""
    count = setting.count or SUBMITTED
    return rate(count, lambda: _submit_all(pool, count))


def submit_fewer(setting: Setting, pool: Pool) -> dict[str, float]:
    """Submit as many as a slow peer can in some seconds."""
    count = setting.count or BY_A_SLOW_PEER
    return rate(count, lambda: _submit_all(pool, count))


def _submit_all(pool: Pool, count: int) -> int:
    answers = [pool.submit(noop, number) for number in range(count)]
    return sum(result == number for number, result in enumerate(pool.results(answers)))


def bulk(setting: Setting, pool: Pool) -> dict[str, float]:
    """Map over many arguments."""
    count = setting.count or IN_BULK
    return rate(count, lambda: sum(1 for _ in pool.map(noop, range(count))))


def see_fewer_finish(setting: Setting, pool: Pool) -> dict[str, float]:
    """See as many results as a slow peer has in some seconds."""
    count = setting.count or BY_A_SLOW_PEER
    return rate(count, lambda: sum(1 for _ in pool.each_finished(noop, range(count))))


def see_each_finish(setting: Setting, pool: Pool) -> dict[str, float]:
    """See each result by itself, tasks being in flight all the time."""
    count = setting.count or BY_A_PEER
    return rate(count, lambda: sum(1 for _ in pool.each_finished(noop, range(count))))


def see_each_finish_longer(setting: Setting, pool: Pool) -> dict[str, float]:
    """See as many results as a task system does."""
    count = setting.count or BY_A_SYSTEM
    return rate(count, lambda: sum(1 for _ in pool.each_finished(noop, range(count))))


def run_system(setting: Setting, pool: Any) -> dict[str, float]:
    """Run a task system."""
    return _run_system_on(pool, setting)


def submit_with_a_journal(setting: Setting) -> dict[str, float]:
    """Submit each task to a cluster whose master keeps a journal."""
    with tempfile.TemporaryDirectory() as folder, _journalled(setting, folder) as cluster, cluster.executor() as ours:
        ours.submit(noop, 0).result()
        count = setting.count or SUBMITTED

        def work() -> int:
            futures = [ours.submit(noop, number) for number in range(count)]
            return sum(future.result() == number for number, future in enumerate(futures))

        return rate(count, work)


def run_system_with_a_journal(setting: Setting) -> dict[str, float]:
    """Run a task system on a cluster whose master keeps a journal."""
    with tempfile.TemporaryDirectory() as folder, _journalled(setting, folder) as cluster:
        return _run_system_on(cluster, setting)


def _journalled(setting: Setting, folder: str) -> LocalCluster:
    from concurro import LocalCluster  # noqa: PLC0415 - peers must not pay for it

    return LocalCluster(workers=setting.workers, config={"master": {"journal": f"{folder}/journal"}})


def _run_system_on(cluster: Any, setting: Setting) -> dict[str, float]:
    from benchmarks.noop import NoopSystem  # noqa: PLC0415 - peers must not pay for it

    count = setting.count or BY_A_SYSTEM
    cluster.run(NoopSystem(10))
    return rate(count, lambda: int(cluster.run(NoopSystem(count))))
