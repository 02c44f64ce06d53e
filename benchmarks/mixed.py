"""W13: tasks of 10 us and of 1 s in one system, against the best possible makespan.

The bound is made of what the tasks measured inside themselves, in the same run. The bare
fork takes the same tasks in the same order, one after the other, from a pipe that its
processes share: what is possible without any scheduler.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from typing import TYPE_CHECKING

from benchmarks.mixed_work import SHORTS, durations, efficiency, work

if TYPE_CHECKING:
    from benchmarks.workload import Setting

DOUBLE = struct.Struct("d")
PIPE_SIZE = 1024 * 1024


def long_last(setting: Setting) -> dict[str, float]:
    """Run it on a cluster, the long tasks last."""
    return _on_cluster("last", setting)


def long_first(setting: Setting) -> dict[str, float]:
    """Run it on a cluster, the long tasks first."""
    return _on_cluster("first", setting)


def shuffled(setting: Setting) -> dict[str, float]:
    """Run it on a cluster, in a random order."""
    return _on_cluster("random", setting)


def fork_long_last(setting: Setting) -> dict[str, float]:
    """Run it in bare processes, the long tasks last."""
    return _on_bare_fork("last", setting)


def fork_long_first(setting: Setting) -> dict[str, float]:
    """Run it in bare processes, the long tasks first."""
    return _on_bare_fork("first", setting)


def fork_shuffled(setting: Setting) -> dict[str, float]:
    """Run it in bare processes, in a random order."""
    return _on_bare_fork("random", setting)


def _on_cluster(order: str, setting: Setting) -> dict[str, float]:
    from benchmarks.mixed_system import MixedSystem  # noqa: PLC0415 - the fork must not pay for it
    from concurro import LocalCluster  # noqa: PLC0415

    mixed = durations(order, setting.count or SHORTS)
    with LocalCluster(workers=setting.workers) as cluster:
        cluster.run(MixedSystem([0.0] * 10))
        works, makespan = cluster.run(MixedSystem(mixed))
    return efficiency(works, setting.workers, makespan)


def _on_bare_fork(order: str, setting: Setting) -> dict[str, float]:
    mixed = durations(order, setting.count or SHORTS)
    tasks, feed = os.pipe()
    fcntl.fcntl(feed, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    readers = []
    started = time.monotonic()
    for _ in range(setting.workers):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.close(feed)
            _take_and_work(tasks, writer)
        os.close(writer)
        readers.append(reader)
    with os.fdopen(feed, "wb") as stream:
        stream.write(b"".join(map(DOUBLE.pack, mixed)))
    works: list[float] = []
    for reader in readers:
        with os.fdopen(reader, "rb") as stream:
            works += [seconds for (seconds,) in DOUBLE.iter_unpack(stream.read())]
    makespan = time.monotonic() - started
    for _ in readers:
        os.wait()
    os.close(tasks)
    if len(works) != len(mixed):
        message = f"{len(works)} results of {len(mixed)} tasks"
        raise AssertionError(message)
    return efficiency(works, setting.workers, makespan)


def _take_and_work(tasks: int, writer: int) -> None:
    works = []
    while task := os.read(tasks, DOUBLE.size):
        works.append(work(DOUBLE.unpack(task)[0]))
    with os.fdopen(writer, "wb") as stream:
        stream.write(b"".join(map(DOUBLE.pack, works)))
    os._exit(0)
