"""W2: how long one task takes, there and back, when nothing else runs."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.plain_noop import noop
from benchmarks.processes import running_nodes

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.workloads import Setting

ROUND_TRIPS = 500
WARM_UP = 50


def _percentiles(round_trip: Callable[[int], int], setting: Setting) -> dict[str, float]:
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


def on_cluster(setting: Setting) -> dict[str, float]:
    """Ask an embedded cluster."""
    from concurro import LocalCluster  # noqa: PLC0415 - peers must not pay for it

    with LocalCluster(workers=setting.workers) as cluster, cluster.executor() as executor:
        return _percentiles(lambda number: executor.submit(noop, number).result(), setting)


def over_tcp(setting: Setting) -> dict[str, float]:
    """Ask a master with one slave, all in processes of their own, over TCP."""
    from concurro import ApplicationNode  # noqa: PLC0415 - peers must not pay for it

    with (
        running_nodes(setting.workers) as master_url,
        ApplicationNode(master_url) as application,
        application.executor() as executor,
    ):
        return _percentiles(lambda number: executor.submit(noop, number).result(), setting)


def on_ppe(setting: Setting) -> dict[str, float]:
    """Ask a ProcessPoolExecutor."""
    with ProcessPoolExecutor(setting.workers) as executor:
        return _percentiles(lambda number: executor.submit(noop, number).result(), setting)


def on_pool(setting: Setting) -> dict[str, float]:
    """Ask a multiprocessing.Pool."""
    with multiprocessing.Pool(setting.workers) as pool:
        return _percentiles(lambda number: pool.apply_async(noop, (number,)).get(), setting)
