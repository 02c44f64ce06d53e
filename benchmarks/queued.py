"""W8: tasks that are queued before any runs: how long, and how many bytes each takes where.

Every worker is occupied until all are queued and nobody's memory changes any more. Bytes are
those of the unique set size (USS): what a process would give back if it ended now.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.clocks import check_equal
from benchmarks.plain_noop import noop
from benchmarks.plain_work import wait_for

if TYPE_CHECKING:
    from benchmarks.pools.pool import Pool
    from benchmarks.workload import Setting

QUEUED = 100_000
BY_A_SLOW_PEER = 5_000
LOOK_PERIOD = 0.25
SETTLED = 0.002
"""Memory that changes by less than this part between two looks has settled."""

PATIENCE = 60.0


def queue_many(setting: Setting, pool: Pool) -> dict[str, float]:
    """Queue 100 000 tasks."""
    return _queue(setting.count or QUEUED, pool)


def queue_fewer(setting: Setting, pool: Pool) -> dict[str, float]:
    """Queue as many as a slow peer can in some seconds."""
    return _queue(setting.count or BY_A_SLOW_PEER, pool)


def _queue(count: int, pool: Pool) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        gate = Path(folder) / "gate"
        blockers = [pool.submit(wait_for, str(gate)) for _ in range(pool.workers)]
        before = _settled_sizes()
        started = time.perf_counter()
        answers = [pool.submit(noop, number) for number in range(count)]
        submitted = time.perf_counter() - started
        after = _settled_sizes()
        gate.touch()
        started = time.perf_counter()
        seen = sum(1 for _ in pool.results(answers))
        drained = time.perf_counter() - started
        check_equal(seen + len(list(pool.results(blockers))), count + pool.workers, "results")
    me = psutil.Process().pid
    grown = {pid: (size - before.get(pid, 0)) / count for pid, size in after.items()}
    master = getattr(getattr(pool, "cluster", None), "master_pid", None)
    metrics = {
        "bytes": sum(grown.values()),
        "application": grown[me],
        "others": sum(grown.values()) - grown[me],
        "queued_s": submitted,
        "drained_s": drained,
    }
    return metrics | ({"master": grown[master]} if master in grown else {})


def _settled_sizes() -> dict[int, int]:
    """Return the size of each process [B], once they do not change."""
    deadline = time.monotonic() + PATIENCE
    sizes = _sizes()
    while time.monotonic() < deadline:
        time.sleep(LOOK_PERIOD)
        last, sizes = sizes, _sizes()
        if abs(sum(sizes.values()) - sum(last.values())) < SETTLED * sum(last.values()):
            return sizes
    message = f"memory still changes after {PATIENCE:.0f} s"
    raise AssertionError(message)


def _sizes() -> dict[int, int]:
    me = psutil.Process()
    sizes: dict[int, Any] = {}
    for process in [me, *me.children(recursive=True)]:
        try:
            sizes[process.pid] = process.memory_full_info().uss
        except psutil.Error:  # it has just ended
            continue
    return sizes
