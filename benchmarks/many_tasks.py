"""W1: how many tasks per second, submitted one by one, in bulk, and by a task system.

Every clock starts when the workers are up: one task has been run before.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

from benchmarks.plain_noop import noop
from benchmarks.processes import running_nodes

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    from benchmarks.workloads import Setting
    from concurro import LocalCluster

SUBMITTED = 10_000
IN_BULK = 200_000
BY_A_SYSTEM = 200_000
BY_A_SLOW_PEER = 20_000
WINDOW = 2_000
"""Tasks that a peer has in flight where a task system would be pulled under credit."""


def _rate(count: int, work: Callable[[], int]) -> dict[str, float]:
    """Return tasks per second; `work` returns how many results it saw."""
    started = time.perf_counter()
    seen = work()
    seconds = time.perf_counter() - started
    if seen != count:
        message = f"{seen} results of {count} tasks"
        raise AssertionError(message)
    return {"rate": count / seconds, "seconds": seconds}


def _submit_all(executor: Executor, count: int) -> int:
    futures = [executor.submit(noop, number) for number in range(count)]
    return sum(future.result() == number for number, future in enumerate(futures))


def submit_to_cluster(setting: Setting) -> dict[str, float]:
    """Submit each task to the executor of a cluster."""
    from concurro import LocalCluster  # noqa: PLC0415 - peers must not pay for it

    return _submit_to(LocalCluster(workers=setting.workers), setting)


def submit_with_a_journal(setting: Setting) -> dict[str, float]:
    """Submit each task to a cluster whose master keeps a journal."""
    from concurro import LocalCluster  # noqa: PLC0415 - as above

    with tempfile.TemporaryDirectory() as folder:
        return _submit_to(LocalCluster(workers=setting.workers, config=_journalled(folder)), setting)


def _journalled(folder: str) -> dict[str, Any]:
    return {"master": {"journal": f"{folder}/journal"}}


def _submit_to(cluster: LocalCluster, setting: Setting) -> dict[str, float]:
    count = setting.count or SUBMITTED
    with cluster, cluster.executor() as executor:
        executor.submit(noop, 0).result()
        return _rate(count, lambda: _submit_all(executor, count))


def submit_to_ppe(setting: Setting) -> dict[str, float]:
    """Submit each task to a ProcessPoolExecutor."""
    count = setting.count or SUBMITTED
    with ProcessPoolExecutor(setting.workers) as executor:
        executor.submit(noop, 0).result()
        return _rate(count, lambda: _submit_all(executor, count))


def submit_to_pool(setting: Setting) -> dict[str, float]:
    """Submit each task to a multiprocessing.Pool."""
    count = setting.count or SUBMITTED
    with multiprocessing.Pool(setting.workers) as pool:
        pool.apply(noop, (0,))

        def work() -> int:
            answers = [pool.apply_async(noop, (number,)) for number in range(count)]
            return sum(answer.get() == number for number, answer in enumerate(answers))

        return _rate(count, work)


def _chunk(count: int, workers: int) -> int:
    return max(1, count // (workers * 4))


def map_on_cluster(setting: Setting) -> dict[str, float]:
    """Map over the executor of a cluster."""
    from concurro import LocalCluster  # noqa: PLC0415 - peers must not pay for it

    count = setting.count or IN_BULK
    with LocalCluster(workers=setting.workers) as cluster, cluster.executor() as executor:
        executor.submit(noop, 0).result()
        chunk = _chunk(count, setting.workers)
        return _rate(count, lambda: sum(1 for _ in executor.map(noop, range(count), chunksize=chunk)))


def map_on_ppe(setting: Setting) -> dict[str, float]:
    """Map over a ProcessPoolExecutor, in chunks."""
    with ProcessPoolExecutor(setting.workers) as executor:
        return _map_in_chunks(executor, setting)


def map_on_loky(setting: Setting) -> dict[str, float]:
    """Map over loky's executor, in chunks."""
    from loky import ProcessPoolExecutor as LokyExecutor  # noqa: PLC0415 - of the extra `bench`

    with LokyExecutor(setting.workers) as executor:
        return _map_in_chunks(executor, setting)


def _map_in_chunks(executor: Any, setting: Setting) -> dict[str, float]:
    count = setting.count or IN_BULK
    executor.submit(noop, 0).result()
    chunk = _chunk(count, setting.workers)
    return _rate(count, lambda: sum(1 for _ in executor.map(noop, range(count), chunksize=chunk)))


def map_on_pool(setting: Setting) -> dict[str, float]:
    """Map over a multiprocessing.Pool, in chunks."""
    count = setting.count or IN_BULK
    with multiprocessing.Pool(setting.workers) as pool:
        pool.apply(noop, (0,))
        return _rate(count, lambda: len(pool.map(noop, range(count), _chunk(count, setting.workers))))


def run_system(setting: Setting) -> dict[str, float]:
    """Run a task system on a cluster."""
    from concurro import LocalCluster  # noqa: PLC0415 - peers must not pay for it

    return _run_system_on(LocalCluster(workers=setting.workers), setting)


def run_system_with_a_journal(setting: Setting) -> dict[str, float]:
    """Run a task system on a cluster whose master keeps a journal."""
    from concurro import LocalCluster  # noqa: PLC0415 - as above

    with tempfile.TemporaryDirectory() as folder:
        return _run_system_on(LocalCluster(workers=setting.workers, config=_journalled(folder)), setting)


def _run_system_on(cluster: LocalCluster, setting: Setting) -> dict[str, float]:
    from benchmarks.noop import NoopSystem  # noqa: PLC0415 - peers must not pay for it

    count = setting.count or BY_A_SYSTEM
    with cluster:
        cluster.run(NoopSystem(10))
        return _rate(count, lambda: cluster.run(NoopSystem(count)))


def submit_over_tcp(setting: Setting) -> dict[str, float]:
    """Submit each task to a master with one slave, over TCP with sessions and keys."""
    return _submit_to_nodes(setting, unix=False)


def submit_over_unix(setting: Setting) -> dict[str, float]:
    """Submit each task to the same processes over AF_UNIX."""
    return _submit_to_nodes(setting, unix=True)


def run_system_over_tcp(setting: Setting) -> dict[str, float]:
    """Run a task system on a master with one slave, over TCP with sessions and keys."""
    return _run_system_on_nodes(setting, unix=False)


def run_system_over_unix(setting: Setting) -> dict[str, float]:
    """Run a task system on the same processes over AF_UNIX."""
    return _run_system_on_nodes(setting, unix=True)


def _submit_to_nodes(setting: Setting, *, unix: bool) -> dict[str, float]:
    from concurro import ApplicationNode  # noqa: PLC0415 - peers must not pay for it

    count = setting.count or SUBMITTED
    with (
        running_nodes(setting.workers, unix=unix) as master_url,
        ApplicationNode(master_url) as application,
        application.executor() as executor,
    ):
        executor.submit(noop, 0).result()
        return _rate(count, lambda: _submit_all(executor, count))


def _run_system_on_nodes(setting: Setting, *, unix: bool) -> dict[str, float]:
    from benchmarks.noop import NoopSystem  # noqa: PLC0415 - peers must not pay for it
    from concurro import ApplicationNode  # noqa: PLC0415

    count = setting.count or BY_A_SYSTEM
    with running_nodes(setting.workers, unix=unix) as master_url, ApplicationNode(master_url) as application:
        application.run(NoopSystem(10))
        return _rate(count, lambda: application.run(NoopSystem(count)))


def see_each_finish_on_ppe(setting: Setting) -> dict[str, float]:
    """Keep a window of tasks in a ProcessPoolExecutor; see each result by itself."""
    count = setting.count or BY_A_SLOW_PEER
    with ProcessPoolExecutor(setting.workers) as executor:
        executor.submit(noop, 0).result()

        def work() -> int:
            window: deque[Future[int]] = deque()
            seen = 0
            for number in range(count):
                window.append(executor.submit(noop, number))
                if len(window) == WINDOW:
                    window.popleft().result()
                    seen += 1
            return seen + sum(1 for future in window if future.result() >= 0)

        return _rate(count, work)


def see_each_finish_on_pool(setting: Setting) -> dict[str, float]:
    """Take each result of a multiprocessing.Pool as it comes, no chunks."""
    count = setting.count or BY_A_SYSTEM
    with multiprocessing.Pool(setting.workers) as pool:
        pool.apply(noop, (0,))
        return _rate(count, lambda: sum(1 for _ in pool.imap_unordered(noop, range(count))))
